from dataclasses import replace

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.model.decoder.closed import allowed_tokens, score_answers
from audio_lm.model.decoder.generate import greedy_decode
from audio_lm.pipeline.benchmark_data import benchmark_questions
from audio_lm.pipeline.benchmark_jobs import BenchmarkJobs
from audio_lm.pipeline.closed_answers import ClosedSet, choices_in
from audio_lm.pipeline.model import build_audio_lm


@pytest.fixture
def events(small):
    return replace(small.evaluation.benchmarks["events"], closed=True, max_new_tokens=16)


def closed_set(small, benchmark, vocabulary):
    cuts = [cuts[0] for cuts in benchmark_questions(small, benchmark)]
    return ClosedSet(small, benchmark, vocabulary, cuts)


def test_allowed_answers_are_the_references_with_the_tokens_of_training(small, own_vocabulary, events):
    allowed = closed_set(small, events, own_vocabulary).of(None)
    assert list(allowed.texts) == sorted(set(allowed.texts))
    for text, path in zip(allowed.texts, allowed.tree.paths, strict=True):
        assert path[-1] == own_vocabulary.end_id
        assert own_vocabulary.text(path[:-1]) == text


def test_named_answers_and_the_choices_of_a_question_replace_them(small, own_vocabulary, events):
    named = closed_set(small, replace(events, allowed=["beep", "bell tone"]), own_vocabulary)
    assert named.of(None).texts == named.of(("A. x", "B. y")).texts == ("beep", "bell tone")
    assert closed_set(small, events, own_vocabulary).of(("A. x", "B. y")).texts == ("A. x", "B. y")
    assert choices_in({"question": "Who?\nA. man\nB. woman"}) == ("A. man", "B. woman")
    assert choices_in({"question": "Who?"}) is choices_in({}) is None


def test_answers_that_a_limit_makes_equal_are_refused(small, own_vocabulary, events):
    short = replace(events, allowed=["beep one", "beep two"], max_new_tokens=1)
    with pytest.raises(
        RecipeError, match="cannot be distinguished by their first 1 tokens; raise max_new_tokens"
    ):
        closed_set(small, short, own_vocabulary).of(None)


@pytest.mark.parametrize("control", ["", "silence"])
def test_the_best_label_is_that_of_constrained_greedy_decoding(small, own_vocabulary, events, control):
    config: BenchmarkConfig = replace(events, controls=["silence"])
    jobs = BenchmarkJobs(small, config, own_vocabulary)
    keys = list(dict.fromkeys(key for key, _ in jobs.questions[control]))
    allowed = [jobs.allowed(key) for key in keys]
    model = build_audio_lm(small, own_vocabulary).eval()
    trees = [answers.tree for answers in allowed]
    found = score_answers(model, jobs.collate(keys), trees)
    generated = greedy_decode(
        model, jobs.collate(keys), end_ids={own_vocabulary.end_id}, max_new_tokens=16,
        allowed=allowed_tokens(trees, own_vocabulary.end_id),
    )  # fmt: skip
    best = [answers.texts[one.best] for answers, one in zip(allowed, found, strict=True)]
    assert best == [own_vocabulary.text(ids) for ids in generated]
