import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.pairs import pair_of
from audio_lm.prompts.conversation import Text, join_text, markup
from audio_lm.prompts.render import render_chat


def turn(role, *content, **more):
    parts = [{"audio": part} if isinstance(part, int) else {"text": part} for part in content]
    return {"role": role, "content": parts, **more}


FIRST = [turn("user", 1, "What is it?"), turn("assistant", "A horn.")]
SECOND = [turn("user", "How often?"), turn("assistant", "Twice.")]


def learned(conversation, rejected, *, has_clips=False):
    """Learned text of both conversations."""
    labels = {"conversation": conversation, "rejected": rejected}
    pair = pair_of(labels, render_chat(conversation), is_chat=True, has_clips=has_clips)
    return tuple(join_text(pieces, only_learned=True) for pieces in pair)


def test_a_rejected_text_replaces_the_last_answer():
    assert learned([*FIRST, *SECOND], "Once.") == ("Twice.<|im_end|>", "Once.<|im_end|>")


def test_questions_and_clips_stay_the_same():
    labels = {"conversation": [*FIRST, *SECOND], "rejected": "Once."}
    chosen, rejected = pair_of(labels, [], is_chat=True, has_clips=False)
    assert join_text(chosen).replace("Twice", "Once") == join_text(rejected)


def test_only_answers_from_the_first_difference_on_are_learned():
    other = [FIRST[0], turn("assistant", "A drum."), *SECOND]
    expected = "A horn.<|im_end|>Twice.<|im_end|>", "A drum.<|im_end|>Twice.<|im_end|>"
    assert learned([*FIRST, *SECOND], other) == expected


def test_with_other_clips_the_last_answer_is_learned_twice():
    conversation = [*FIRST, *SECOND]
    assert learned(conversation, conversation, has_clips=True) == ("Twice.<|im_end|>",) * 2


def test_an_answer_without_loss_is_learned_where_it_is_the_preferred_one():
    quiet = [FIRST[0], {**FIRST[1], "learn": False}]
    assert learned(quiet, "A drum.") == ("A horn.<|im_end|>", "A drum.<|im_end|>")


@pytest.mark.parametrize(
    ("rejected", "message"),
    [
        (None, "needs the label 'rejected'"),
        ("A horn.", "equals the chosen one"),
        (FIRST, "equals the chosen one"),
        ([FIRST[0]], "without an answer"),
    ],
)
def test_a_pair_that_cannot_be_learned_from_is_refused(rejected, message):
    with pytest.raises(DataError, match=message):
        learned(FIRST, rejected)


def test_the_answer_to_a_task_is_replaced():
    chosen = [Text("Transcribe: "), Text("one", is_learned=True), markup("<|endoftext|>", is_learned=True)]
    pair = pair_of({"rejected": "two"}, chosen, is_chat=False, has_clips=False)
    assert [join_text(pieces) for pieces in pair] == [
        "Transcribe: one<|endoftext|>",
        "Transcribe: two<|endoftext|>",
    ]
    for wrong, message in (("one", "equals"), (3, "expected a text")):
        with pytest.raises(DataError, match=message):
            pair_of({"rejected": wrong}, chosen, is_chat=False, has_clips=False)
