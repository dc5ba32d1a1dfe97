import json
import os
import shutil
import signal
import time

import pytest

from audio_lm.common.env import rank
from audio_lm.common.errors import DataError
from audio_lm.evaluation.answer_log import AnswerLog, partial_files
from audio_lm.evaluation.definitions import read_definitions
from audio_lm.evaluation.predict import read_predictions
from audio_lm.pipeline import benchmark_jobs
from audio_lm.prompts.stamp_order import IncreasingStamps
from audio_lm.run.evaluate import evaluate
from audio_lm.run.folder import RunFolder
from tests.forked import on_ranks

NAME = "controlled"
BENCHMARK = (
    "evaluation.benchmarks.controlled={source: synthetic/events-test, task: sec, metrics: [acc], prompt: tags, stage: pretrain,"
    " max_new_tokens: 4, controls: [silence, swapped]}"
)
CLOSED = BENCHMARK.replace("controlled", "closed").replace("[acc]", "[acc, auroc, ece]").replace(
    "max_new_tokens: 4", "max_new_tokens: 16, closed: true"
)  # fmt: skip


@pytest.fixture
def copy(whole_run, tmp_path, monkeypatch):
    """Copy of a finished run; every prompt is a pack of its own."""
    monkeypatch.setattr(benchmark_jobs, "MAX_PACK_PROMPTS", 1)
    shutil.copytree(whole_run.path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def run_again(folder, count=1, *, kill_after=None, again=False):
    """Evaluate in ``count`` forked ranks; each is killed at its n-th pack."""

    def work(number):
        append, left = AnswerLog.append, kill_after

        def count_down(log, pack, answers):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left = None if left is None else left - 1
            append(log, pack, answers)

        AnswerLog.append = count_down
        try:
            return evaluate(folder.path, overrides=[BENCHMARK], again=again)
        finally:
            AnswerLog.append = append

    return on_ranks(count, work, may_die=kill_after is not None)


def answers(folder):
    """Lines of all files of answers to the benchmark."""
    paths = [folder.predictions / control / f"{NAME}.jsonl" for control in ("", "silence", "swapped")]
    return [path.read_text() for path in paths]


def test_answers_scores_and_controls_are_kept(copy, console):
    scores = evaluate(copy.path, console, overrides=[BENCHMARK])
    main, silent, swapped = ([*map(json.loads, text.splitlines())] for text in answers(copy))
    ids = [line["id"] for line in main]
    assert len(set(ids)) == 4
    assert [line["id"] for line in silent] == [line["id"] for line in swapped] == ids
    assert [line["references"] for line in swapped] == [line["references"] for line in main]
    assert {f"{NAME}/acc", f"silence/{NAME}/acc", f"swapped/{NAME}/acc"} <= scores.keys()
    definition = read_definitions(copy.predictions)[NAME]
    assert definition.stamp.keys() == {"model", "data", "decoding", "code"}
    assert definition.speed > 0
    assert "x real time" in console.export_text()
    assert partial_files(copy.predictions, NAME) == []


def test_whole_answers_are_kept_and_those_of_another_model_are_refused_by_name(copy, console, monkeypatch):
    evaluate(copy.path, console, overrides=[BENCHMARK])
    before = answers(copy)
    monkeypatch.setattr(AnswerLog, "append", None)  # nothing is answered
    evaluate(copy.path, console, overrides=[BENCHMARK])
    assert answers(copy) == before
    assert "kept, answered before" in console.export_text()
    status = copy.stage("pretrain") / "status.json"
    table = json.loads(status.read_text())
    monkeypatch.setattr(RunFolder, "model_digest", lambda folder, stage: "other weights")
    with pytest.raises(
        DataError, match=r"controlled\.jsonl holds answers .* another model .* evaluate with --again"
    ):
        evaluate(copy.path, console, overrides=[BENCHMARK])
    assert answers(copy) == before
    assert table == json.loads(status.read_text())


def test_again_replaces_answers_of_another_model(copy, console, monkeypatch):
    evaluate(copy.path, console, overrides=[BENCHMARK])
    monkeypatch.setattr(RunFolder, "model_digest", lambda folder, stage: "other weights")
    evaluate(copy.path, console, overrides=[BENCHMARK], again=True)
    stamps = {json.loads(line)["stamp"] for text in answers(copy) for line in text.splitlines()}
    assert len(stamps) == 1


def test_closed_answers_have_probabilities_that_are_scored_without_a_model(copy, console):
    scores = evaluate(copy.path, console, overrides=[CLOSED])
    assert {"closed/acc", "closed/auroc", "closed/ece", "silence/closed/auroc"} <= scores.keys()
    for prediction in read_predictions(copy.predictions / "closed.jsonl"):
        assert prediction.answer in prediction.allowed
        assert len(prediction.logprobs) == len(prediction.allowed) > 1
        assert max(prediction.logprobs) < 0


def test_ordered_stamps_constrain_every_token_and_belong_to_the_stamp(copy, console):
    ordered = BENCHMARK.replace("max_new_tokens: 4", "max_new_tokens: 8, ordered_stamps: true")
    seen = []

    def constrain(constraint, logits, token_ids):
        seen.append(list(token_ids))
        return logits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IncreasingStamps, "constrain", constrain)
        evaluate(copy.path, console, overrides=[ordered])
    assert len(seen) > 4, "every token of every answer is constrained"
    with pytest.raises(DataError, match="other settings of the benchmark"):
        evaluate(copy.path, console, overrides=[BENCHMARK])


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_ranks_gives_the_same_files(copy, count):
    run_again(copy)
    one = answers(copy)
    shutil.rmtree(copy.predictions)
    results = run_again(copy, count)
    assert answers(copy) == one
    assert results[0].keys() >= {f"{NAME}/acc", f"swapped/{NAME}/acc"}


def test_the_answers_of_all_ranks_are_there_until_the_last_rank_has_read_them(copy, monkeypatch):
    answered = AnswerLog.answered

    def late(log):
        if rank():
            time.sleep(0.5)
        return answered(log)

    monkeypatch.setattr(AnswerLog, "answered", late)
    first, second = run_again(copy, 2)
    assert first
    assert second is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed_at", "counts"), [(0, (1, 1)), (3, (1, 1)), (1, (2, 2)), (2, (2, 1)), (2, (1, 2))]
)
def test_after_sigkill_every_clip_is_answered_once_and_the_scores_are_the_same(copy, killed_at, counts):
    run_again(copy)
    undisturbed, scores = answers(copy), json.loads(copy.scores.read_text())
    shutil.rmtree(copy.predictions)
    first, second = counts
    assert None in run_again(copy, first, kill_after=killed_at), "it was killed"
    kept = partial_files(copy.predictions, NAME)
    assert not (copy.predictions / f"{NAME}.jsonl").exists()
    packs = sum(b'"pack"' in line for path in kept for line in path.read_bytes().splitlines())
    assert packs == killed_at * first
    run_again(copy, second)
    assert answers(copy) == undisturbed
    assert json.loads(copy.scores.read_text()) == scores
    assert partial_files(copy.predictions, NAME) == []


def test_a_killed_evaluation_goes_on_without_answering_a_clip_twice(copy):
    assert run_again(copy, kill_after=2) == [None]
    answered = []

    def work(number):
        append = AnswerLog.append

        def note(log, pack, answers):
            answered.append(pack)
            append(log, pack, answers)

        AnswerLog.append = note
        evaluate(copy.path, overrides=[BENCHMARK])
        return answered

    (again,) = on_ranks(1, work)
    assert again
    assert 0 not in again
    assert 1 not in again


def test_the_files_of_all_ranks_are_read_before_the_first_rank_may_delete_them(copy, monkeypatch):
    read = AnswerLog.answered
    run_again(copy)
    one = answers(copy)
    shutil.rmtree(copy.predictions)

    def slow(log):
        if log.path.name.endswith(".partial-1.jsonl"):
            time.sleep(1.5)
        return read(log)

    monkeypatch.setattr(AnswerLog, "answered", slow)
    results = run_again(copy, 2)
    assert None not in results
    assert answers(copy) == one
