import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.labels import labels_of


def message(role, content):
    return {"role": role, "content": content}


QUESTION = message("user", "<audio>How many words?")


def both(text):
    return [QUESTION, message("assistant", text)]


@pytest.mark.parametrize(
    "row",
    [
        {
            "prompt": [QUESTION],
            "chosen": [message("assistant", "two")],
            "rejected": [message("assistant", "three")],
        },
        {"prompt": "<audio>How many words?", "chosen": "two", "rejected": "three"},
        {"chosen": both("two"), "rejected": both("three")},
    ],
    ids=["explicit prompt", "texts", "implicit prompt"],
)
def test_a_preference_has_a_rejected_answer(write_rows, import_cuts, render_example, row):
    (cut,) = import_cuts("trl", write_rows([row | {"audios": ["wavs/a.wav"]}]))
    assert labels_of(cut)["rejected"] == "three"
    text, num_samples = render_example(cut)
    assert num_samples == (6_400,)
    assert text.endswith("<|audio_eos|>\nHow many words?<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>")


@pytest.mark.parametrize("row", [{"messages": both("two")}, {"prompt": [QUESTION], "completion": "two"}])
def test_other_rows_are_conversations(write_rows, import_cuts, row):
    (cut,) = import_cuts("trl", write_rows([row | {"audios": ["wavs/a.wav"]}]))
    assert "rejected" not in labels_of(cut)
    assert labels_of(cut)["conversation"][-1]["content"] == [{"text": "two"}]


def test_audio_may_be_in_the_messages_and_others_in_the_rejected_ones(write_rows, import_cuts):
    def question(path):
        return message("user", [{"type": "audio", "audio": path}, {"type": "text", "text": "?"}])

    row = {
        "chosen": [question("wavs/a.wav"), message("assistant", "two")],
        "rejected": [question("wavs/c.wav"), message("assistant", "two")],
    }
    (cut,) = import_cuts("trl", write_rows([row]))
    assert cut.custom["rejected_audio_1"].duration == pytest.approx(0.8)
    assert isinstance(labels_of(cut)["rejected"], list)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "?", "completion": "x", "label": True}, "KTO"),
        ({"prompt": "?"}, "expected prompt and completion"),
        ({"prompt": "?", "chosen": "x", "rejected": "x"}, "equals the chosen one"),
        ({"prompt": "?", "chosen": "x", "rejected": None}, "'rejected' is None"),
        ({"prompt": [message("tool", "?")], "chosen": "x", "rejected": "y"}, "turn 1 calls a tool"),
    ],
)
def test_the_error_names_a_row_that_cannot_be_trained_on(write_rows, import_cuts, row, reason):
    good = {"prompt": "<audio>?", "chosen": "x", "rejected": "y", "audios": ["wavs/a.wav"]}
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{reason}"):
        import_cuts("trl", write_rows([good, row]))
