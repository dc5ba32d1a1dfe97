import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.cuts import labels_of, load_waves
from audio_lm.data.manifest.index import IndexRules, compile_source


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


ASKED = [turn("user", "<audio>What do you hear?"), turn("assistant", "one two")]


def test_a_conversation_of_two_clips_says_what_the_file_said(write_rows, imported, told):
    row = {
        "messages": [
            turn("system", "Be brief."),
            turn("user", "<audio><audio>Which is longer?"),
            turn("assistant", "two"),
            turn("user", "And now?<audio>"),
            turn("assistant", "three"),
        ],
        "audios": ["wavs/a.wav", "wavs/c.wav", "wavs/b.wav"],
    }
    (cut,) = imported("ms-swift", write_rows([row]), language="en")
    text, num_samples = told(cut)
    assert num_samples == (6_400, 12_800, 9_600)
    assert [len(wave) for wave in load_waves(cut)] == [6_400, 12_800, 9_600]
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
        "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nAudio 2: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
        "Which is longer?<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n<|im_start|>user\n"
        "And now?Audio 3: <|audio_bos|><|AUDIO|><|audio_eos|>\n<|im_end|>\n"
        "<|im_start|>assistant\nthree<|im_end|>"
    )
    assert labels_of(cut)["language"] == "en"
    assert set(labels_of(cut)["honesty"].values()) == {"declared"}


def test_audio_inside_turns_and_audio_without_a_place_are_heard_too(write_rows, imported, told):
    inside = [
        turn("user", [{"type": "audio", "audio": "wavs/a.wav"}, {"type": "text", "text": "What?"}]),
        turn("assistant", "one"),
    ]
    without = [turn("system", "Be brief."), turn("user", "What?"), turn("assistant", "one")]
    first, second = imported(
        "ms-swift", write_rows([{"messages": inside}, {"messages": without, "audio": "wavs/b.wav"}])
    )
    for cut, num_samples in ((first, 6_400), (second, 9_600)):
        text, found = told(cut)
        assert found == (num_samples,)
        assert "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nWhat?<|im_end|>" in text, text


def test_clips_stay_inside_their_turn_and_an_escaped_place_is_a_word(write_rows, imported, told):
    as_text = [turn("user", r"A: <audio> is \<audio>, B: <audio>?"), turn("assistant", r"\<audio>")]
    parts = [
        {"type": "text", "text": r"A: \\"},
        {"type": "audio", "audio": "wavs/a.wav"},
        {"type": "text", "text": "B"},
    ]
    rows = [
        {"messages": as_text, "audios": ["wavs/a.wav", "wavs/b.wav"]},
        {"messages": [turn("user", parts), turn("assistant", "one")]},
    ]
    first, second = imported("ms-swift", write_rows(rows))
    assert told(first)[0].endswith(
        "user\nA: Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n is <audio>, "
        "B: Audio 2: <|audio_bos|><|AUDIO|><|audio_eos|>\n?<|im_end|>\n<|im_start|>assistant\n<audio><|im_end|>"
    )
    assert "user\nA: \\\\Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nB<|im_end|>" in told(second)[0]


def test_a_row_of_text_only_has_no_clip(write_rows, imported, told):
    (cut,) = imported(
        "ms-swift", write_rows([{"messages": [turn("user", "Hi"), turn("assistant", "Hello")]}])
    )
    text, num_samples = told(cut)
    assert num_samples == ()
    assert text.endswith("user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>")


@pytest.mark.parametrize("rejected", ["three", [turn("assistant", "three")]])
def test_a_rejected_answer_is_a_text(write_rows, imported, rejected):
    row = {"messages": ASKED, "audios": ["wavs/a.wav"], "rejected_response": rejected}
    (cut,) = imported("ms-swift", write_rows([row]))
    assert labels_of(cut)["rejected"] == "three"
    assert labels_of(cut)["conversation"][-1]["content"] == [{"text": "one two"}]


def test_rejected_messages_with_the_same_audio_and_question_are_a_text_and_with_others_a_conversation(
    write_rows, imported
):
    def row(question, audio):
        said = [turn("user", f"<audio>{question}"), turn("assistant", "three")]
        rejected = {"rejected_messages": said, "rejected_audios": [audio]}
        return {"messages": ASKED, "audios": ["wavs/a.wav"], **rejected}

    rows = [row("What do you hear?", "wavs/a.wav"), row("Who?", "wavs/a.wav"), row("Who?", "wavs/c.wav")]
    same, asked, heard = imported("ms-swift", write_rows(rows))
    other = [
        {"role": "user", "content": [{"audio": 1}, {"text": "Who?"}]},
        {"role": "assistant", "content": [{"text": "three"}]},
    ]
    assert labels_of(same)["rejected"] == "three"
    assert labels_of(asked)["rejected"] == labels_of(heard)["rejected"] == other
    assert not asked.custom
    assert heard.custom["rejected_audio_1"].load_audio().shape == (1, 12_800)


def test_rejected_audio_alone_is_the_same_conversation_over_another_clip(write_rows, imported, told):
    row = {"messages": ASKED, "audios": ["wavs/a.wav"], "rejected_audios": ["wavs/b.wav"]}
    (cut,) = imported("ms-swift", write_rows([row]))
    assert labels_of(cut)["rejected"] == labels_of(cut)["conversation"]
    assert cut.custom["rejected_audio_1"].duration == 0.6
    assert told(cut)[1] == (6_400,), "the rejected clip is none of the conversation's"


def test_the_index_takes_texts_and_rejected_clips_and_counts_only_what_is_heard(
    write_rows, imported, tmp_path
):
    rows = [
        {"messages": ASKED, "audios": ["wavs/a.wav"], "rejected_audios": ["wavs/b.wav"]},
        {"messages": [turn("user", "Hi"), turn("assistant", "Hello")], "rejected_response": "No"},
    ]
    cuts = imported("ms-swift", write_rows(rows))
    manifest = tmp_path / "data" / "mine" / "all-train.jsonl"
    index = compile_source(manifest, "mine/all-train", IndexRules(), cache=tmp_path / "cache")
    assert len(index) == 2
    assert labels_of(cuts[1])["rejected"] == "No"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"audios": []}, "1 placeholders for audio .* 0 audio files"),
        ({"audios": ["wavs/gone.wav"]}, "gone.wav is missing"),
        ({"audios": ["cat wavs/a.wav |"]}, "commands are not run"),
        ({"audios": ["https://example.org/a.wav"]}, "URLs are not downloaded"),
        ({"audios": {"path": "wavs/a.wav"}}, "expected a list of paths"),
        ({"audios": ["wavs/a.wav"] * 10}, "10 clips"),
        ({"messages": None}, "expected a list of turns"),
        ({"messages": [turn("user", "<audio>?")]}, "without an answer"),
        ({"messages": [turn("tool", "<audio>?"), turn("assistant", "x")]}, "role 'tool'"),
        ({"messages": [*ASKED, *ASKED[1:]]}, "by turns"),
        ({"messages": [ASKED[0], turn("assistant", "one", loss=False)]}, "turn 2 has loss"),
        (
            {"messages": [turn("user", "?"), turn("assistant", "<audio>")]},
            "turn 2 is the assistant's and contains audio",
        ),
        ({"messages": [ASKED[0], turn("assistant", None)]}, "content of turn 2 is None"),
        ({"images": ["a.png"]}, "'images'"),
        ({"tools": '[{"name": "off"}]'}, "'tools' describes or calls tools"),
        (
            {"messages": [ASKED[0], turn("assistant", "I do.", tool_calls=[{"id": 1}])]},
            "'tool_calls' describes",
        ),
        (
            {"messages": [ASKED[0], turn("assistant", None, function_call={"name": "off"})]},
            "'function_call' describes",
        ),
        (
            {"rejected_messages": [ASKED[0], turn("assistant", "x", tool_calls=[{"id": 1}])]},
            "'tool_calls' describes",
        ),
        ({"messages": [*ASKED, turn("tool_call", "{}"), turn("assistant", "x")]}, "role 'tool_call'"),
        ({"label": False}, "KTO"),
        ({"rejected_response": "one two"}, "rejected answer equals the chosen one"),
    ],
)
def test_a_row_that_cannot_be_learned_from_is_named(write_rows, imported, changed, reason, tmp_path):
    good = {"messages": ASKED, "audios": ["wavs/a.wav"]}
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{reason}"):
        imported("ms-swift", write_rows([good, good | changed]))
    assert not (tmp_path / "data").exists()


def test_keys_of_rows_and_turns_that_are_not_read_are_named(write_rows, imported):
    said = [ASKED[0], turn("assistant", "one two", name="Ada", tool_calls=[])]
    imported(
        "ms-swift",
        write_rows([{"messages": said, "audios": ["wavs/a.wav"], "channel": "news", "tools": "[]"}]),
    )
    assert "mine: columns not read: channel (1 rows), messages[].name (1 rows)" in imported.lines


def test_a_list_in_one_line_is_imported_with_ids_of_its_rows(folder, imported):
    rows = [{"messages": ASKED, "audios": [f"wavs/{name}.wav"]} for name in "abc"]
    (folder / "chats.json").write_text(json.dumps(rows))
    cuts = imported("ms-swift", folder / "chats.json")
    assert [cut.id for cut in cuts] == ["all-train-000001", "all-train-000002", "all-train-000003"]
    (folder / "chats.json").write_text(json.dumps([rows[0], {"messages": []}]))
    with pytest.raises(DataError, match=r"chats\.json:1: row 2: 'messages' is \[\]"):
        imported("ms-swift", folder / "chats.json", "other-train")
