"""Answers per second: the same prompts and tokens in transformers, and the arithmetic of the figures."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from audio_lm.common.errors import UserError
from audio_lm.export import speed
from audio_lm.export.speed import GenerateSettings, PeerAnswers, bench_generate, format_generate

FEW = GenerateSettings(clips=3, max_new_tokens=4, rounds=1, max_seconds=1.4)


@pytest.fixture(scope="module")
def figures():
    return bench_generate(None, FEW)


def test_every_answer_is_that_of_transformers_at_every_batch_size(figures):
    assert (figures.answers, figures.answers_equal) == (3, 3)
    assert 0 < figures.tokens <= 3 * 4
    assert figures.mean_clip_s == pytest.approx(1.2)
    assert figures.prompt_tokens > 25 * 1.2, "the tokens of the clip are part of the prompt"


def test_the_ratios_are_those_of_the_times(figures):
    for size, theirs in figures.theirs_per_s.items():
        assert figures.ratios[size] == pytest.approx(figures.answers_per_s / theirs)
        assert figures.ratios_in_packs[size] == pytest.approx(figures.answers_per_s_in_packs[size] / theirs)
    lines = format_generate(figures)
    assert "equal tokens: 3 of 3 answers" in lines[1]
    assert len(lines) == 2 + len(speed.PEER_BATCHES)


def test_another_answer_of_transformers_is_counted(monkeypatch):
    def other(self, texts, jobs):
        return [[(ids[0] + 1) % 256, *ids[1:]] for ids in answer(self, texts, jobs)]

    answer = PeerAnswers.answer
    monkeypatch.setattr(PeerAnswers, "answer", other)
    assert bench_generate(None, replace(FEW, clips=1)).answers_equal == 0


def test_medians_are_of_the_ratios_of_each_round():
    job = SimpleNamespace(example=[0] * 10)
    jobs = SimpleNamespace(jobs={"a": job, "b": job}, num_seconds=3.0)
    times = {("ours", size): [1.0, 2.0, 1.0] for size in (0, 1, 8)}
    times |= {("theirs", size): [8.0, 8.0, 6.0] for size in (1, 8)}
    figures = speed._figures(jobs, {"a": [1, 2], "b": [3]}, 2, times)
    assert figures.answers_per_s == 2.0
    assert figures.theirs_per_s == {1: 0.25, 8: 0.25}
    assert figures.ratios == {1: 6.0, 8: 6.0}
    assert (figures.tokens, figures.mean_clip_s, figures.prompt_tokens) == (3, 1.5, 10)


def test_answers_to_different_prompts_are_not_compared(monkeypatch):
    class Other(PeerAnswers):
        """Transformers with a processor that adds a token."""

        def _inputs(self, texts, jobs):
            return super()._inputs([f"{text} zero" for text in texts], jobs)

    monkeypatch.setattr(speed, "PeerAnswers", Other)
    with pytest.raises(RuntimeError, match="answers to different prompts are not compared"):
        bench_generate(None, replace(FEW, clips=1))


def test_a_stage_needs_a_run():
    with pytest.raises(UserError, match="--stage chat has no effect"):
        bench_generate(None, replace(FEW, stage="chat"))


def test_a_run_without_the_cut_set_is_an_error(whole_run):
    with pytest.raises(UserError, match="fsdd/none-test"):
        bench_generate(str(whole_run.path), replace(FEW, source="fsdd/none-test"))
