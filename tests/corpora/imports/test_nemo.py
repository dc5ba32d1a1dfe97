import pytest

from audio_lm.common.errors import DataError, UserError
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.labels import labels_of


def test_a_manifest_gives_transcripts_of_file_segments(write_rows, import_cuts, render_example):
    rows = [
        {
            "audio_filepath": "wavs/a.wav",
            "duration": 0.4,
            "text": "one two",
            "lang": "en-US",
            "speaker": "s1",
        },
        {"audio_filepath": "wavs/c.wav", "offset": 0.2, "duration": 0.5, "text": "three", "lang": "en"},
        {"audio_filepath": "wavs/b.wav", "text": "one", "lang": "en", "_skipme": 1},
    ]
    first, second = import_cuts("nemo", write_rows(rows, "manifest.json"))
    assert labels_of(first)["language"] == "en"
    assert first.supervisions[0].speaker == "s1"
    assert render_example(first, "asr")[0].endswith("assistant\none two<|im_end|>")
    text, num_samples = render_example(second, "asr")
    assert text.endswith("assistant\nthree<|im_end|>")
    assert num_samples == (8_000,)
    assert second.start == 0.2
    assert len(load_waves(second)[0]) == 8_000
    assert "mine: 1 rows with _skipme were left out" in import_cuts.lines


def test_another_column_may_be_the_transcript(write_rows, import_cuts):
    rows = [{"audio_filepath": "wavs/a.wav", "text": "one two", "pnc_text": "One, two."}]
    (cut,) = import_cuts("nemo", write_rows(rows), columns={"pnc_text": "text"}, language="en")
    assert cut.supervisions[0].text == "One, two."
    with pytest.raises(DataError, match=r"no row has \['gone'\]"):
        import_cuts("nemo", write_rows(rows), "other-train", columns={"gone": "caption"})
    with pytest.raises(UserError, match="label 'places', which is reserved"):
        import_cuts("nemo", write_rows(rows), "other-train", columns={"pnc_text": "places"})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"audio_filepath": None}, "expected the path of one file"),
        ({"duration": 9.0}, "lasts from 0.00 s to 9.00 s"),
        ({"duration": "long"}, "duration is 'long'"),
        ({"offset": 0.4}, "only 0.40 s"),
        ({"offset": -1}, "offset is -1"),
    ],
)
def test_the_error_for_a_bad_line_of_a_manifest_names_it(write_rows, import_cuts, changed, reason):
    row = {"audio_filepath": "wavs/a.wav", "duration": 0.4, "text": "one", "lang": "en"}
    with pytest.raises(DataError, match=rf"rows.jsonl:2: .*{reason}"):
        import_cuts("nemo", write_rows([row, row | changed]))


def test_the_sound_of_a_share_gpt_row_fills_all_its_placeholders(write_rows, import_cuts, render_example):
    row = {
        "id": "talk-1",
        "sound": "wavs/c.wav",
        "conversations": [
            {"from": "human", "value": "<sound>What do you hear?"},
            {"from": "gpt", "value": "one"},
            {"from": "human", "value": "Again: <speech>"},
            {"from": "gpt", "value": "two"},
        ],
    }
    (cut,) = import_cuts("nemo-share-gpt", write_rows([row]))
    text, num_samples = render_example(cut)
    assert cut.id == "talk-1"
    assert num_samples == (12_800, 12_800)
    assert text.count("<|AUDIO|>") == 2
    assert "<|audio_eos|>\nWhat do you hear?<|im_end|>\n<|im_start|>assistant\none<|im_end|>" in text
    assert (
        "Again: Audio 2: <|audio_bos|><|AUDIO|><|audio_eos|>\n<|im_end|>\n<|im_start|>assistant\ntwo" in text
    )


def test_an_escaped_placeholder_of_share_gpt_is_text(write_rows, import_cuts, render_example):
    turns = [{"from": "human", "value": r"Is \<speech> one? <sound>"}, {"from": "gpt", "value": "one"}]
    (cut,) = import_cuts("nemo-share-gpt", write_rows([{"sound": "wavs/a.wav", "conversations": turns}]))
    assert (
        "user\nIs <speech> one? Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n<|im_end|>"
        in render_example(cut)[0]
    )


def test_turns_of_text_and_audio_become_one_turn_per_role(write_rows, import_cuts, render_example):
    row = {
        "id": "convo_1",
        "conversations": [
            {"value": "Can you help with this?", "from": "User", "type": "text"},
            {"value": "wavs/a.wav", "from": "User", "type": "audio", "duration": 0.4},
            {"value": "Please.", "from": "User", "type": "text"},
            {"value": "Of course!", "from": "Assistant", "type": "text"},
        ],
    }
    (cut,) = import_cuts("nemo-share-gpt", write_rows([row]))
    text, num_samples = render_example(cut)
    assert num_samples == (6_400,)
    assert text.endswith(
        "Can you help with this? Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nPlease.<|im_end|>\n"
        "<|im_start|>assistant\nOf course!<|im_end|>"
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"conversations": "x"}, "expected a list of turns"),
        ({"sound": None}, "1 placeholders for audio .* 0 audio files"),
        (
            {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "x"}]},
            "no turn has a place",
        ),
        ({"conversations": [{"from": "bot", "value": "<sound>"}]}, "from 'bot'"),
        ({"conversations": [{"from": "observation", "value": "<sound>"}]}, "turn 1 calls a tool or is"),
        ({"tools": [{"name": "off"}]}, "'tools' describes"),
        (
            {"conversations": [{"from": "gpt", "value": "x", "tool_calls": [{"id": 1}]}]},
            "turn 1 calls a tool",
        ),
        (
            {"conversations": [{"type": "audio", "from": "Assistant", "value": "wavs/a.wav"}]},
            "alternating user",
        ),
    ],
)
def test_the_error_for_a_bad_conversation_names_its_line(write_rows, import_cuts, changed, reason):
    turns = [{"from": "human", "value": "<sound>?"}, {"from": "gpt", "value": "one"}]
    row = {"sound": "wavs/a.wav", "conversations": turns}
    with pytest.raises(DataError, match=rf"rows.jsonl:2: .*{reason}"):
        import_cuts("nemo-share-gpt", write_rows([row, row | changed]))
