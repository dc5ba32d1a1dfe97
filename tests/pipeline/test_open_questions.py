from dataclasses import replace

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.predict import Prediction
from audio_lm.pipeline.benchmark_data import benchmark_cuts
from audio_lm.pipeline.open_questions import open_questions, question_of


def test_a_dialogue_is_a_question_without_markup(small):
    benchmark = small.evaluation.benchmarks["dialogues"]
    cut = benchmark_cuts(small, benchmark)[0]
    prediction = Prediction(cut.id, "chat", ("a <|0.10|>dog",), "<|AUDIO|>a cat")
    (question,) = open_questions(small, "dialogues", benchmark, [prediction])
    assert question.id == cut.id
    assert question.question
    assert "<|" not in question.question
    assert (question.reference, question.answer, question.description) == ("a dog", "a cat", None)


def test_a_question_in_words_replaces_that_of_the_task(small):
    benchmark = replace(small.evaluation.benchmarks["events"], prompt="natural")
    cut = benchmark_cuts(small, benchmark)[0]
    assert question_of(small, benchmark, cut).strip()
    own = replace(benchmark, question="Which machine is it?")
    assert question_of(small, own, cut) == "Which machine is it?"


def test_answers_to_other_clips_are_refused(small):
    benchmark = small.evaluation.benchmarks["dialogues"]
    with pytest.raises(
        DataError, match="1 answers are of clips that 'synthetic/dialogues-test' does not have"
    ):
        open_questions(small, "dialogues", benchmark, [Prediction("gone", "chat", ("a",), "b")])
