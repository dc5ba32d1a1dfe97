import json
import re
import time

import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.labels import labels_of


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def dialogue(**more):
    turns = [
        turn("system", "Be brief."),
        turn("user", "<audio>What?"),
        turn("assistant", "one", learn=False),
        turn("user", [{"audio": 2}, {"text": "And?"}]),
        turn("assistant", "two"),
    ]
    return {
        "audios": ["wavs/a.wav", {"path": "wavs/c.wav", "start": 0.2, "end": 0.7}],
        "turns": turns,
        **more,
    }


def test_a_dialogue_is_rendered_with_its_spans(write_rows, import_cuts, render_example):
    row = dialogue(id="d1")
    row["audios"][0] = {"path": "wavs/b.wav", "start": 0.1, "end": 0.4}
    (cut,) = import_cuts("dialogues", write_rows([row]), language="en")
    assert cut.id == "d1"
    text, num_samples = render_example(cut)
    assert num_samples == (4_800, 8_000)
    assert [len(wave) for wave in load_waves(cut)] == [4_800, 8_000]
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
        "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nWhat?<|im_end|>\n<|im_start|>assistant\none<|im_end|>\n"
        "<|im_start|>user\nAudio 2: <|audio_bos|><|AUDIO|><|audio_eos|>\nAnd?<|im_end|>\n"
        "<|im_start|>assistant\ntwo<|im_end|>"
    )
    assert [each.get("learn", True) for each in labels_of(cut)["conversation"]] == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_text_only_dialogues_need_no_audio(write_rows, import_cuts):
    (cut,) = import_cuts(
        "dialogues", write_rows([{"turns": [turn("user", "1 + 1?"), turn("assistant", "2")]}])
    )
    assert not cut.has_recording


def test_rejected_answers_and_audios_make_pairs(write_rows, import_cuts):
    answer, audios, both = dialogue(), dialogue(), dialogue()
    for row in (answer, both):
        row["turns"][-1]["rejected"] = "three"
    for row in (audios, both):
        row["rejected_audios"] = ["wavs/b.wav", {"path": "wavs/c.wav", "start": 0.3, "end": 0.7}]
    cuts = import_cuts("dialogues", write_rows([answer, audios, both]))
    rejected = [labels_of(cut)["rejected"] for cut in cuts]
    assert rejected[0] == "three"
    assert rejected[1] == labels_of(cuts[1])["conversation"]
    assert rejected[2][-1]["content"] == [{"text": "three"}]
    names = [sorted(name for name in cut.custom if name.startswith("rejected")) for cut in cuts]
    assert names == [[], ["rejected_audio_1", "rejected_audio_2"], ["rejected_audio_1", "rejected_audio_2"]]
    assert cuts[1].custom["rejected_audio_2"].duration == pytest.approx(0.4)


def test_cuts_of_other_cut_sets_are_referred_to_by_id(write_rows, import_cuts):
    clips = [
        {"audio_filepath": "wavs/c.wav", "offset": 0.1, "duration": 0.5, "text": "hello"},
        {"audio_filepath": "wavs/a.wav", "duration": 0.4, "text": "you"},
    ]
    import_cuts("nemo", write_rows(clips, "clips.jsonl"), "clips-train", language="en")
    part, whole = (f"mine/clips-train/clips-train-{number:06d}" for number in (1, 2))
    row, span = dialogue(), dialogue()
    row["audios"] = [{"cut": part}, {"cut": whole}]
    span["audios"] = [{"cut": whole}, {"cut": part, "start": 0.1, "end": 0.3}]
    first, second = import_cuts("dialogues", write_rows([row, span]))
    assert [len(wave) for wave in load_waves(first)] == [8_000, 6_400]
    assert [len(wave) for wave in load_waves(second)] == [6_400, 3_200]


def test_tool_turns_are_refused_by_turn_or_dropped_and_counted(write_rows, import_cuts):
    row = dialogue()
    row["turns"][4:4] = [turn("assistant", None, tool_calls=[{"id": 1}]), turn("tool", "42")]
    path = write_rows([row])
    with pytest.raises(
        DataError, match=r"rows\.jsonl:1: turn 5 calls a tool.*\n.*rows\.jsonl:1: turn 6 calls"
    ):
        import_cuts("dialogues", path)
    (cut,) = import_cuts("dialogues", path, tools="drop")
    assert len(labels_of(cut)["conversation"]) == 5
    assert "mine: 2 tool turns of 1 conversations were dropped" in import_cuts.lines


@pytest.mark.parametrize("place", [0, 1])
def test_a_span_past_the_end_of_its_file_is_refused(write_rows, import_cuts, tmp_path, place):
    row = dialogue()
    row["audios"][place] = {"path": "wavs/b.wav", "start": 0.2, "end": 2.0}
    with pytest.raises(
        DataError,
        match=r"rows\.jsonl:2: the (clip|span) lasts from 0\.20 .* 2\.00 s, but .*b\.wav only 0\.60 s",
    ):
        import_cuts("dialogues", write_rows([dialogue(), row]))
    assert not (tmp_path / "data" / "mine" / "all-train.jsonl").exists()


def order(row):
    row["turns"][3]["role"] = "assistant"


def unreferenced(row):
    row["audios"].append("wavs/b.wav")


def missing_file(row):
    row["audios"][1] = "wavs/gone.wav"


def missing_number(row):
    row["turns"][3]["content"][0]["audio"] = 3


def equal(row):
    row["turns"][4]["rejected"] = "two"


def tool(row):
    row["turns"][2]["role"] = "tool"


FAULTS = {
    order: "turn 4: the assistant's turn stands where the user's is expected",
    unreferenced: "audio 3 is never referenced",
    missing_file: "turn 4: audio 2: audio .*gone.wav is missing",
    missing_number: "turn 4: audio 3 is missing: the row has 2 audios",
    equal: "turn 5: the rejected answer equals the chosen one",
    tool: "turn 3 calls a tool or is a tool's",
}


def test_every_fault_of_a_manifest_of_10_000_lines_is_reported_in_one_pass(write_rows, import_cuts, tmp_path):
    rows, line_of = [dialogue() for _ in range(10_000)], {}
    for number, (spoil, fault) in enumerate(list(FAULTS.items()) * 30):
        line = 50 * (number + 1)
        line_of[line] = fault
        spoil(rows[line - 1])
    equal(rows[9_999])
    tool(rows[9_999])
    path = write_rows(rows)
    start = time.process_time()
    with pytest.raises(DataError, match=r"^181 lines cannot be imported") as raised:
        import_cuts("dialogues", path)
    assert time.process_time() - start < 20
    shown = str(raised.value).splitlines()[1:]
    for line, fault in [*line_of.items(), (10_000, FAULTS[equal]), (10_000, FAULTS[tool])]:
        assert any(re.search(rf"rows\.jsonl:{line}: {fault}", text) for text in shown), (line, fault)
    named = {int(text.split("rows.jsonl:")[1].split(":")[0]) for text in shown}
    assert named == {*line_of, 10_000}
    assert not (tmp_path / "data").exists()
    assert json.loads(path.read_text().splitlines()[0]) == dialogue()
