import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import Row
from audio_lm.corpora.imports.ms_swift_rows import messages_of
from audio_lm.data.manifest.labels import labels_of


def turns(*texts, system=None):
    roles = ("user", "assistant")
    found = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    return ([{"role": "system", "content": system}] if system else []) + found


SHAPES = {
    "messages": {"messages": turns("<audio>Q", "A")},
    "messages and system": {"system": "S", "messages": turns("<audio>Q", "A")},
    "from and value": {
        "conversations": [{"from": "human", "value": "<audio>Q"}, {"from": "gpt", "value": "A"}],
        "system": "S",
    },
    "sharegpt": {"system": "S", "conversation": [{"human": "<audio>Q", "assistant": "A"}]},
    "query and response": {"query": "<audio>Q", "response": "A"},
    "history": {"system": "S", "query": "<audio>Q", "response": "A", "history": [["<audio>P", "B"]]},
    "alpaca": {"instruction": "I", "input": "<audio>Q", "output": "A"},
    "prompt and completion": {"prompt": "<audio>Q", "completion": "A"},
    "question and answers": {"question": "<audio>Q", "answers": ["A", "C"]},
}
MESSAGES = {
    "messages": turns("<audio>Q", "A"),
    "messages and system": turns("<audio>Q", "A", system="S"),
    "from and value": turns("<audio>Q", "A", system="S"),
    "sharegpt": turns("<audio>Q", "A", system="S"),
    "query and response": turns("<audio>Q", "A"),
    "history": turns("<audio>P", "B", "<audio>Q", "A", system="S"),
    "alpaca": turns("I\n<audio>Q", "A"),
    "prompt and completion": turns("<audio>Q", "A"),
    "question and answers": turns("<audio>Q", "A"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_becomes_the_messages_that_ms_swift_makes(shape):
    assert messages_of(Row(SHAPES[shape])) == MESSAGES[shape]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_imported_with_all_its_columns(shape, write_rows, import_cuts):
    num_clips = 2 if shape == "history" else 1
    path = write_rows([{**SHAPES[shape], "audios": ["wavs/a.wav"] * num_clips}])
    (cut,) = import_cuts("ms-swift", path)
    conversation = labels_of(cut)["conversation"]
    assert conversation[-1]["content"] == [{"text": "A"}]
    assert sum("audio" in part for turn in conversation for part in turn["content"]) == num_clips
    assert not [line for line in import_cuts.lines if "not read" in line]


def test_rejected_answers_belong_to_every_shape(write_rows, import_cuts):
    path = write_rows(
        [{"query": "<audio>Q", "response": "A", "rejected_response": "B", "audios": "wavs/a.wav"}]
    )
    (cut,) = import_cuts("ms-swift", path)
    assert labels_of(cut)["rejected"] == "B"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"audios": ["a.wav"]}, "none of messages, conversation"),
        ({"messages": turns("Q", "A"), "conversations": turns("Q", "A")}, "remove the other"),
        ({"messages": []}, "expected a list of turns"),
        ({"prompt": "Q", "question": "P", "answer": "A"}, "query may be 'prompt' or 'question'"),
        ({"query": "Q", "answer": "A", "text": "B"}, "response may be 'answer' or 'text'"),
        ({"query": "Q", "response": "A", "history": "P"}, "expected a list of"),
        ({"conversation": [{"human": "Q"}]}, "expected one of assistant, gpt, bot"),
        ({"instruction": ["I"], "input": "", "output": "A"}, "expected texts"),
    ],
)
def test_a_row_of_no_shape_is_refused(row, reason):
    with pytest.raises(DataError, match=reason):
        messages_of(Row(row))
