import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.labels import labels_of

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
    """Function that writes ``dataset_info.json`` and the file it describes, and returns the path of the file."""

    def write(rows, name="clips.json", **entry):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
        (folder / "dataset_info.json").write_text(
            json.dumps({"mine": {**ENTRY, "columns": COLUMNS, **entry}})
        )
        return path

    return write


def turn(speaker, text):
    return {"from": speaker, "value": text}


TURNS = [turn("human", "<audio>What do you hear?"), turn("gpt", "one two")]


def test_a_conversation_has_the_turns_of_the_file(write, import_cuts, render_example):
    row = {"conversations": TURNS, "audios": ["wavs/c.wav"], "prompt": "Be brief."}
    (cut,) = import_cuts("llama-factory", write([row], columns={**COLUMNS, "system": "prompt"}))
    assert render_example(cut) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nAudio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
        "What do you hear?<|im_end|>\n<|im_start|>assistant\none two<|im_end|>",
        (12_800,),
    )


def test_tags_and_columns_of_the_entry_apply_and_audio_is_relative_to_its_folder(
    write, import_cuts, render_example
):
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
    (cut,) = import_cuts("llama-factory", path)
    text, num_samples = render_example(cut)
    assert num_samples == (6_400,)
    assert text.endswith(
        "What's that sound?<|im_end|>\n<|im_start|>assistant\nIt is the sound of glass shattering.<|im_end|>"
    )


def test_chosen_ends_the_conversation_and_rejected_is_a_label(write, import_cuts, render_example):
    row = {
        "conversations": TURNS[:1],
        "chosen": turn("gpt", "one"),
        "rejected": turn("gpt", "two"),
        "audios": ["wavs/a.wav"],
    }
    columns = {**COLUMNS, "chosen": "chosen", "rejected": "rejected"}
    (cut,) = import_cuts("llama-factory", write([row], ranking=True, columns=columns))
    assert labels_of(cut)["rejected"] == "two"
    assert render_example(cut)[0].endswith("<|im_start|>assistant\none<|im_end|>")


def test_the_error_names_the_line_of_every_bad_row(write, import_cuts):
    good = {"conversations": TURNS, "audios": ["wavs/a.wav"]}
    rows = [
        good,
        good | {"audios": []},
        good | {"conversations": [turn("observation", "x")]},
        good | {"conversations": []},
    ]
    with pytest.raises(DataError, match=r"3 lines cannot be imported") as caught:
        import_cuts("llama-factory", write(rows))
    first, second, third = str(caught.value).splitlines()[1:]
    lines = write(rows).read_text().splitlines()
    for sentence, reason in (
        (first, "1 placeholders for audio"),
        (second, "turn 1 calls a tool or is a tool's"),
        (third, "expected a list of turns"),
    ):
        assert reason in sentence
        assert lines[int(sentence.split(":")[1]) - 1].strip() == "{", sentence


def test_the_error_for_a_file_without_an_entry_shows_one(write, import_cuts):
    path = write([{"conversations": TURNS, "audios": ["wavs/a.wav"]}], file_name="other.json")
    with pytest.raises(DataError, match=r'"file_name": "clips.json", "formatting": "sharegpt"'):
        import_cuts("llama-factory", path)


def test_the_subset_selects_among_entries_for_one_file(write, import_cuts, folder):
    path = write([{"conversations": TURNS, "audios": ["wavs/a.wav"]}])
    entries = {
        "bad": {**ENTRY, "columns": {"messages": "nowhere"}},
        "good": {**ENTRY, "columns": COLUMNS},
    }
    (folder / "dataset_info.json").write_text(json.dumps(entries))
    with pytest.raises(DataError, match=r"\['bad', 'good'\] all describe"):
        import_cuts("llama-factory", path)
    assert len(import_cuts("llama-factory", path, "good-train")) == 1


@pytest.mark.parametrize(
    ("entry", "reason"),
    [({"formatting": "alpaca"}, "'alpaca'"), ({"ranking": True}, "without the columns chosen and rejected")],
)
def test_an_entry_of_another_kind_is_refused(write, import_cuts, entry, reason):
    with pytest.raises(DataError, match=reason):
        import_cuts("llama-factory", write([{"conversations": TURNS}], **entry))


@pytest.mark.parametrize(("column", "value"), [("kto_tag", False), ("tools", "[...]")])
def test_rows_rated_bad_or_with_tools_are_refused(write, import_cuts, column, value):
    row = {"conversations": TURNS, "audios": ["wavs/a.wav"], column: value}
    with pytest.raises(DataError, match=r"clips.json:2: .*remove"):
        import_cuts("llama-factory", write([row], columns={**COLUMNS, column: column}))
