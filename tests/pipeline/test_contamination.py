import json
from dataclasses import replace
from pathlib import Path

import pytest

from audio_lm.common.errors import DataError
from audio_lm.config.load import load_recipe
from audio_lm.pipeline import contamination
from audio_lm.pipeline.contamination import find_contamination


@pytest.fixture
def with_benchmark(small):
    """Function that gives the small recipe other benchmarks."""

    def change(**benchmarks):
        evaluation = small.evaluation
        changed = {
            name: replace(evaluation.benchmarks["events"], **fields) for name, fields in benchmarks.items()
        }
        return replace(small, evaluation=replace(evaluation, benchmarks=changed))

    return change


def test_nothing_is_found_in_the_synthetic_corpus(small):
    report = find_contamination(small)
    assert [each.benchmark for each in report.benchmarks] == ["events", "dialogues"]
    assert list(report.lines()) == [
        "contamination: none found in 8 clips of 2 benchmarks; 0 of their references are long enough to compare texts"
    ]


def test_training_data_as_a_benchmark_is_found_whole(with_benchmark):
    recipe = with_benchmark(seen={"source": "synthetic/events-train"}, own={})
    seen, own = find_contamination(recipe).benchmarks
    assert [clip.kind for clip in seen.clips] == ["equal audio"] * 12
    assert all(clip.id == clip.training_id for clip in seen.clips)
    assert own.clips == []
    (line,) = find_contamination(recipe).lines()
    assert (
        "benchmark seen: 12 of 12 clips of synthetic/events-train are in the training data (12 by equal audio)"
    ) in line
    assert line.endswith("all of them are listed with --json")


def test_data_of_a_later_stage_does_not_count(with_benchmark):
    source = {"source": "synthetic/dialogues-validation", "task": "chat", "prompt": "chatml"}
    recipe = with_benchmark(early=source, late=source | {"stage": "chat"})
    chat = recipe.stages["chat"]
    mixture = replace(chat.mixture, sources={"chat": [source["source"]]})
    recipe = replace(recipe, stages=recipe.stages | {"chat": replace(chat, mixture=mixture)})
    early, late = find_contamination(recipe).benchmarks
    assert (len(early.clips), len(late.clips)) == (0, 3)


def test_a_dialogue_about_the_audio_of_another_task_is_found(with_benchmark):
    (found,) = find_contamination(with_benchmark(repeated={"source": "synthetic/dialogues-train"})).benchmarks
    assert {clip.training_source for clip in found.clips} <= {
        "synthetic/events-train",
        "synthetic/notes-train",
    }
    assert len(found.clips) == 12


def test_shared_speakers_are_named_and_a_closed_set_has_another_sentence(with_benchmark, tmp_path):
    recipe = with_benchmark(voices={"source": "synthetic/voices-test"})
    data = Path(recipe.data_dir) / "synthetic"
    tables = [json.loads(line) for line in (data / "events-test.jsonl").read_text().splitlines()]
    training = [json.loads(line) for line in (data / "events-train.jsonl").read_text().splitlines()]
    for number, table in enumerate(tables):
        table["supervisions"][0]["speaker"] = f"anna{number}"
    for number, table in enumerate(training):
        table["supervisions"][0]["speaker"] = f"anna{number % 3}"
    for name, some in (("voices-test", tables), ("voices-train", training)):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(table) + "\n" for table in some))
    sources = {"sec": ["synthetic/voices-train"]}
    mixture = replace(recipe.stages["pretrain"].mixture, sources=sources, weights={"sec": 1.0})
    stages = {"pretrain": replace(recipe.stages["pretrain"], mixture=mixture)}
    (line,) = find_contamination(replace(recipe, stages=stages)).lines()
    assert "3 of 4 speakers (anna0, anna1, anna2) of synthetic/voices-test, with 3 of its clips" in line
    (data / "voices-test.jsonl").write_text("".join(json.dumps(table) + "\n" for table in tables[:3]))
    (line,) = find_contamination(replace(recipe, stages=stages)).lines()
    assert "all 3 speakers of synthetic/voices-test" in line


def test_absent_cut_sets_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (line,) = find_contamination(load_recipe("qwen_audio").recipe).lines()
    assert line.startswith("contamination: not compared, because not prepared: ")
    assert " more" in line


def test_a_cut_set_that_cannot_be_read_is_named(with_benchmark, monkeypatch):
    def refused(*_, **__):
        raise DataError("line 3 is invalid; repair it")

    monkeypatch.setattr(contamination, "compile_source", refused)
    (line,) = find_contamination(with_benchmark(own={})).lines()
    assert line.endswith(
        "synthetic/events-test was not compared with the training data: line 3 is invalid; repair it"
    )
