import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.cuts import labels_of

ENTRY = {"file_name": "clips.json", "formatting": "sharegpt"}
COLUMNS = {"messages": "conversations", "audios": "audios"}
OPENAI = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


@pytest.fixture
def write(folder):
    """Write ``dataset_info.json`` and the file it describes; gives the path of the file."""

    def write(rows, name="clips.json", **entry):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
        (folder / "dataset_info.json").write_text(
            json.dumps({"mine": {**ENTRY, "columns": COLUMNS, **entry}})
        )
        return path

    return write


def said(speaker, text):
    return {"from": speaker, "value": text}


ASKED = [said("human", "<audio>What do you hear?"), said("gpt", "one two")]


def test_a_conversation_says_what_the_file_said(write, imported, told):
    row = {"conversations": ASKED, "audios": ["wavs/c.wav"], "prompt": "Be brief."}
    (cut,) = imported("llama-factory", write([row], columns={**COLUMNS, "system": "prompt"}))
    assert told(cut) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nAudio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
        "What do you hear?<|im_end|>\n<|im_start|>assistant\none two<|im_end|>",
        (12_800,),
    )


def test_tags_and_columns_of_the_entry_are_heeded_and_audio_starts_from_its_folder(write, imported, told):
    turns = [
        {"content": "<audio>What's that sound?", "role": "user"},
        {"content": "It is the sound of glass shattering.", "role": "assistant"},
    ]
    path = write(
        [{"messages": turns, "audios": ["wavs/a.wav"]}],
        "inner/clips.json",
        file_name="inner/clips.json",
        columns={"messages": "messages", "audios": "audios"},
        tags=OPENAI,
    )
    (cut,) = imported("llama-factory", path)
    text, num_samples = told(cut)
    assert num_samples == (6_400,)
    assert text.endswith(
        "What's that sound?<|im_end|>\n<|im_start|>assistant\nIt is the sound of glass shattering.<|im_end|>"
    )


def test_chosen_ends_the_conversation_and_rejected_stands_beside_it(write, imported, told):
    row = {
        "conversations": ASKED[:1],
        "chosen": said("gpt", "one"),
        "rejected": said("gpt", "two"),
        "audios": ["wavs/a.wav"],
    }
    columns = {**COLUMNS, "chosen": "chosen", "rejected": "rejected"}
    (cut,) = imported("llama-factory", write([row], ranking=True, columns=columns))
    assert labels_of(cut)["rejected"] == "two"
    assert told(cut)[0].endswith("<|im_start|>assistant\none<|im_end|>")


def test_every_bad_row_is_named_with_its_line(write, imported):
    good = {"conversations": ASKED, "audios": ["wavs/a.wav"]}
    rows = [
        good,
        good | {"audios": []},
        good | {"conversations": [said("observation", "x")]},
        good | {"conversations": []},
    ]
    with pytest.raises(DataError, match=r"3 lines cannot be imported") as caught:
        imported("llama-factory", write(rows))
    first, second, third = str(caught.value).splitlines()[1:]
    lines = write(rows).read_text().splitlines()
    for sentence, reason in (
        (first, "1 placeholders for audio"),
        (second, "'observation'"),
        (third, "expected a list of turns"),
    ):
        assert reason in sentence
        assert lines[int(sentence.split(":")[1]) - 1].strip() == "{", sentence


def test_a_file_without_an_entry_is_told_how_to_write_one(write, imported):
    path = write([{"conversations": ASKED, "audios": ["wavs/a.wav"]}], file_name="other.json")
    with pytest.raises(DataError, match=r'"file_name": "clips.json", "formatting": "sharegpt"'):
        imported("llama-factory", path)


def test_the_subset_chooses_among_entries_for_one_file(write, imported, folder):
    path = write([{"conversations": ASKED, "audios": ["wavs/a.wav"]}])
    entries = {
        "bad": {**ENTRY, "columns": {"messages": "nowhere"}},
        "good": {**ENTRY, "columns": COLUMNS},
    }
    (folder / "dataset_info.json").write_text(json.dumps(entries))
    with pytest.raises(DataError, match=r"\['bad', 'good'\] all describe"):
        imported("llama-factory", path)
    assert len(imported("llama-factory", path, "good-train")) == 1


@pytest.mark.parametrize(
    ("entry", "reason"),
    [({"formatting": "alpaca"}, "'alpaca'"), ({"ranking": True}, "without the columns chosen and rejected")],
)
def test_an_entry_of_another_kind_is_refused(write, imported, entry, reason):
    with pytest.raises(DataError, match=reason):
        imported("llama-factory", write([{"conversations": ASKED}], **entry))


@pytest.mark.parametrize(("column", "value"), [("kto_tag", False), ("tools", "[...]")])
def test_rows_rated_bad_or_with_tools_are_refused(write, imported, column, value):
    row = {"conversations": ASKED, "audios": ["wavs/a.wav"], column: value}
    with pytest.raises(DataError, match=r"clips.json:2: .*remove"):
        imported("llama-factory", write([row], columns={**COLUMNS, column: column}))
