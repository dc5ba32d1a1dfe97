import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, SupervisionSegment

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.published.base import CutSetWriter
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.manifest.cuts import read_cuts
from audio_lm.data.manifest.labels import labels_of
from audio_lm.evaluation.config import BenchmarkConfig, EvaluationConfig
from audio_lm.pipeline.benchmark_data import (
    check_benchmarks,
    choices_in_question,
    subset_of,
    training_majority,
)
from audio_lm.pipeline.benchmark_jobs import MAIN, BenchmarkJobs


def test_every_question_of_a_benchmark_is_a_prompt_without_its_answer(small, own_vocabulary):
    check_benchmarks(small)
    examples = examples_of(small, small.evaluation.benchmarks["events"], own_vocabulary)
    assert len(examples) == 4
    assert all(example.references[0] for example in examples)


def test_a_missing_package_of_a_metric_is_reported_with_its_benchmark(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "meeteval.wer.matching.mimo_matching", None)
    events = small.evaluation.benchmarks["events"]
    evaluation = replace(small.evaluation, benchmarks={"events": replace(events, metrics=["wer", "orcwer"])})
    with pytest.raises(UserError, match=r"benchmark 'events': ORC-WER needs the package 'meeteval'"):
        check_benchmarks(replace(small, evaluation=evaluation))


def test_a_missing_tokenizer_of_japanese_is_reported_with_its_benchmark(
    small, own_vocabulary, tmp_path, monkeypatch
):
    writer = CutWriter(tmp_path / "made", tmp_path / "made")
    labels = {"language": "en", "text": "one", "translation": "いち", "target_language": "ja"}
    writer.add("speech-test", np.ones(8000, dtype=np.float32), labels)
    writer.close()
    benchmark = BenchmarkConfig(
        source="made/speech-test", task="s2tt", metrics=["bleu"], prompt="tags", stage="pretrain"
    )
    evaluation = replace(small.evaluation, benchmarks={"japanese": benchmark})
    monkeypatch.setitem(sys.modules, "MeCab", None)
    for name in [name for name in sys.modules if name.startswith("sacrebleu.tokenizers.tokenizer_ja")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"benchmark 'japanese': BLEU in 'ja' needs.*'audio-lm\[eval\]'"):
        check_benchmarks(replace(small, data_dir=str(tmp_path), evaluation=evaluation))


def test_the_language_of_a_translation_is_the_target_language(small, own_vocabulary, tmp_path):
    writer = CutWriter(tmp_path / "made", tmp_path / "made")
    labels = {"language": "en", "text": "one", "translation": "eins", "target_language": "de"}
    writer.add("speech-test", np.ones(8000, dtype=np.float32), labels)
    writer.close()
    recipe = replace(small, data_dir=str(tmp_path))
    languages = []
    for task in ("s2tt", "asr"):
        benchmark = BenchmarkConfig(
            source="made/speech-test", task=task, metrics=["bleu"], prompt="tags", stage="pretrain"
        )
        languages += [example.language for example in examples_of(recipe, benchmark, own_vocabulary)]
    assert languages == ["de", "en"]


@pytest.fixture
def captioned(small, tmp_path):
    """A recipe over a cut-set of two clips with three captions each."""
    folder = tmp_path / "made"
    folder.mkdir()
    writer = CutSetWriter(folder, "made")
    for clip in "ab":
        soundfile.write(folder / f"{clip}.wav", np.ones(8000, dtype=np.float32), 16_000)
    for number in range(3):
        for clip in "ab":
            writer.add(
                "speech-test",
                f"{clip}-{number}",
                folder / f"{clip}.wav",
                {"caption": f"caption {clip}{number}"},
            )
    writer.close(lambda line: None)

    def make(**settings):
        given = {"task": "aac", "metrics": ["cider_d", "rouge_l"], "prompt": "tags", "stage": "pretrain"}
        benchmark = BenchmarkConfig(source="made/speech-test", **{**given, **settings})
        return replace(
            small, data_dir=str(tmp_path), evaluation=EvaluationConfig({"captions": benchmark})
        ), benchmark

    return make


def examples_of(recipe, benchmark, vocabulary):
    return [question for _, question in BenchmarkJobs(recipe, benchmark, vocabulary).questions[MAIN]]


def test_a_clip_with_several_captions_is_one_example(captioned, own_vocabulary):
    examples = examples_of(*captioned(), own_vocabulary)
    assert {example.cut_id: example.references for example in examples} == {
        "a-0": ("caption a0", "caption a1", "caption a2"),
        "b-0": ("caption b0", "caption b1", "caption b2"),
    }
    assert [example.cut_id for example in examples_of(*captioned(max_clips=1), own_vocabulary)] == ["a-0"]


def test_metrics_of_one_reference_use_every_caption_and_cannot_be_mixed_with_others(
    captioned, own_vocabulary
):
    recipe, benchmark = captioned(metrics=["acc"])
    check_benchmarks(recipe)
    assert [len(example.references) for example in examples_of(recipe, benchmark, own_vocabulary)] == [1] * 6
    with pytest.raises(DataError, match=r"benchmark 'captions'.*'a-0', 'a-1', 'a-2'.*\['acc'\]"):
        check_benchmarks(captioned(metrics=["cider_d", "acc"])[0])


def test_the_language_of_a_cut_becomes_a_code(small, own_vocabulary, tmp_path):
    writer = CutWriter(tmp_path / "made", tmp_path / "made")
    labels = {"language": "English", "text": "one", "translation": "eins", "target_language": "zh-CN"}
    writer.add("speech-test", np.ones(8000, dtype=np.float32), labels)
    writer.close()
    for task, language in (("s2tt", "zh"), ("asr", "en")):
        benchmark = BenchmarkConfig(
            source="made/speech-test", task=task, metrics=["bleu"], prompt="tags", stage="pretrain"
        )
        (example,) = examples_of(replace(small, data_dir=str(tmp_path)), benchmark, own_vocabulary)
        assert example.language == language


def test_the_majority_is_counted_in_the_training_data_of_the_stage(small, own_vocabulary):
    events = small.evaluation.benchmarks["events"]
    found = training_majority(small, events, own_vocabulary)
    labels = Counter(
        ", ".join(labels_of(cut)["events"])
        for cut in read_cuts(Path(small.data_dir), "synthetic/events-train")
    )
    assert (found.origin, found.total) == ("training data", 12)
    assert found.count == labels[found.answer] == max(labels.values())
    assert training_majority(small, replace(events, task="asr"), own_vocabulary) is None, (
        "no stage has the task"
    )
    gone = replace(small, data_dir="/nowhere")
    assert training_majority(gone, events, own_vocabulary) is None, "the data are no longer here"


def test_a_prediction_names_speaker_and_audio(small, own_vocabulary):
    examples = examples_of(small, small.evaluation.benchmarks["dialogues"], own_vocabulary)
    cuts = {cut.id: cut for cut in read_cuts(Path(small.data_dir), "synthetic/dialogues-test")}
    for example in examples:
        cut = cuts[example.cut_id]
        assert example.audio.path == cut.recording.sources[0].source
        part = (None, None) if example.audio.start is None else (round(cut.start, 4), round(cut.duration, 4))
        assert (example.audio.start, example.audio.duration) == part


def test_clips_without_the_labels_of_their_task_are_refused_before_a_model_is_built(small):
    events = replace(small.evaluation.benchmarks["events"], task="sgc")
    wrong = replace(small, evaluation=EvaluationConfig({"genders": events}))
    with pytest.raises(DataError, match=r"benchmark 'genders': cut 'events-test.*: no label 'gender'"):
        check_benchmarks(wrong)


def test_choices_are_the_lettered_lines_of_a_question():
    def choices(question):
        supervision = SupervisionSegment("a", "a", 0.0, 1.0, custom={"question": question})
        return choices_in_question(MonoCut("a", 0.0, 1.0, 0, supervisions=[supervision]))

    assert choices("Who?\nA. man\nB. woman") == ("man", "woman")
    assert choices("Who speaks?") is None


def test_a_cut_set_with_an_id_twice_and_a_benchmark_without_a_computable_metric_are_refused(
    small, tmp_path, monkeypatch
):
    writer = CutWriter(tmp_path / "made", tmp_path / "made")
    for _ in range(2):
        writer.add("words-test", np.zeros(4_000, dtype=np.float32), {"language": "en", "text": "one"})
    writer.close()
    path = tmp_path / "made" / "words-test.jsonl"
    first = path.read_text().splitlines()[0]
    path.write_text(f"{first}\n{first}\n")

    def recipe(task, metrics):
        benchmark = BenchmarkConfig(
            source="made/words-test", task=task, metrics=metrics, prompt="tags", stage="pretrain"
        )
        return replace(small, data_dir=str(tmp_path), evaluation=EvaluationConfig({"words": benchmark}))

    with pytest.raises(DataError, match=r"^benchmark 'words': cut .*: 1 ids occur twice in the cut-set"):
        check_benchmarks(recipe("asr", ["wer"]))
    path.write_text(f"{first}\n")
    check_benchmarks(recipe("asr", ["wer", "spice"]))
    monkeypatch.delenv("AUDIO_LM_SPICE", raising=False)
    with pytest.raises(
        UserError, match=r"^benchmark 'words': none of its metrics can be computed: AUDIO_LM_SPICE"
    ):
        check_benchmarks(recipe("asr", ["spice"]))


def test_a_subset_depends_on_the_ids_only_and_a_larger_one_contains_it():
    questions = [[SimpleNamespace(id=f"clip {number}")] for number in range(30)]

    def ids(some, count):
        return [cuts[0].id for cuts in subset_of(some, count)]

    for count in (1, 7, 30):
        chosen = ids(questions, count)
        assert len(set(chosen)) == count
        assert ids(questions[::-1], count) == chosen[::-1]
        assert set(ids(questions, count - 1)) < set(chosen)
        rest = [cuts for cuts in questions if cuts[0].id in chosen]
        assert ids(rest, count) == chosen, "the others do not count"
    assert len(subset_of(questions, 99)) == 30
