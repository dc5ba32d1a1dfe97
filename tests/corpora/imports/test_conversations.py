import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.conversations import (
    append_placeholder,
    build_conversation,
    check_text,
    count_placeholders,
    escape_placeholders,
    path_list,
    rejected_label,
)

ANSWER = ("assistant", "one")


def test_each_placeholder_becomes_the_next_clip_in_place():
    turns = [("user", "<a>Listen: <b> and say."), ANSWER, ("user", "<a>"), ("assistant", "two")]
    user, first, again, second = build_conversation(turns, 3, placeholders=("<a>", "<b>"))
    assert user["content"] == [{"audio": 1}, {"text": "Listen: "}, {"audio": 2}, {"text": " and say."}]
    assert again["content"] == [{"audio": 3}]
    assert [first["content"], second["content"]] == [[{"text": "one"}], [{"text": "two"}]]


TRICKY = st.lists(st.sampled_from(["<audio>", "\\", "<", "audio>", " ", "a"])).map("".join)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"say \<audio> to <audio>", [{"text": "say <audio> to "}, {"audio": 1}]),
        (r"\\<audio>", [{"text": "\\"}, {"audio": 1}]),
        (r"\\\<audio><audio>", [{"text": r"\<audio>"}, {"audio": 1}]),
        (r"C:\a <audio>\b", [{"text": "C:\\a "}, {"audio": 1}, {"text": r"\b"}]),
    ],
)
def test_an_escaped_placeholder_is_text(text, content):
    assert build_conversation([("user", text), ANSWER], 1)[0]["content"] == content


@given(TRICKY, TRICKY)
def test_escaping_preserves_any_text_around_a_placeholder(before, after):
    text = append_placeholder(escape_placeholders(before)) + escape_placeholders(after)
    expected = [{"text": before}, {"audio": 1}, {"text": after}]
    turns = [("user", text), ANSWER]
    assert build_conversation(turns, 1)[0]["content"] == [part for part in expected if part != {"text": ""}]
    assert count_placeholders(turns) == 1


@pytest.mark.parametrize(
    ("turns", "num_clips", "reason"),
    [
        ([("user", "?"), ANSWER], 1, "0 placeholders for audio .* 1 audio files"),
        ([], 0, "alternating user"),
        ([ANSWER], 0, "alternating user"),
        ([("user", "?")], 0, "without an answer"),
        ([("user", "?"), ("assistant", "")], 0, "contains nothing"),
        ([("user", "?"), ("assistant", "listen: <audio>")], 1, "contains audio"),
    ],
)
def test_conversations_that_cannot_be_trained_on_are_refused(turns, num_clips, reason):
    with pytest.raises(DataError, match=reason):
        build_conversation(turns, num_clips)


def test_a_rejected_conversation_becomes_a_text_if_only_its_answer_differs():
    chosen = build_conversation([("user", "?"), ANSWER], 0)
    worse = build_conversation([("user", "?"), ("assistant", "two")], 0)
    other = build_conversation([("user", "!"), ANSWER], 0)
    assert rejected_label(chosen, worse, same_clips=True) == "two"
    assert rejected_label(chosen, worse, same_clips=False) == worse
    assert rejected_label(chosen, chosen, same_clips=False) == chosen
    assert rejected_label(chosen, other, same_clips=True) == other
    with pytest.raises(DataError, match="equals the chosen one"):
        rejected_label(chosen, chosen, same_clips=True)


def test_only_texts_and_lists_of_paths_are_accepted():
    assert check_text("a", "it") == "a"
    assert path_list("a", "it") == ["a"]
    assert path_list(None, "it") == []
    with pytest.raises(DataError, match="it is 7"):
        check_text(7, "it")
    with pytest.raises(DataError, match="it is 7"):
        path_list(7, "it")
