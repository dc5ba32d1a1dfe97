import pytest

from audio_lm.asking import benchmark_packs, check_benchmarks, heard_clips, rendered_examples
from audio_lm.build import build_audio_lm, build_vocabulary, cuts_of, prepare_corpora
from audio_lm.compose import load_recipe
from audio_lm.evaluation.predict import Prediction


@pytest.fixture(scope="module")
def recipe(small_recipe):
    recipe = load_recipe(small_recipe).recipe
    prepare_corpora(recipe, lambda line: None)
    return recipe


@pytest.fixture(scope="module")
def cuts(recipe):
    return {name: cuts_of(recipe, stage) for name, stage in recipe.stages.items()}


@pytest.fixture(scope="module")
def own_vocabulary(recipe, cuts):
    return build_vocabulary(recipe, cuts)


def test_every_question_of_a_benchmark_is_asked_once_without_its_answer(recipe, own_vocabulary):
    check_benchmarks(recipe)
    asked = []
    for pack, questions in benchmark_packs(recipe, recipe.evaluation.benchmarks["events"], own_vocabulary):
        assert tuple(question.cut_id for question in questions) == pack.cut_ids
        asked += questions
    assert len(asked) == 4
    assert all(question.reference for question in asked)


def test_rendered_examples_show_every_task_and_what_is_learned(recipe):
    examples = list(rendered_examples(recipe, num_per_task=1))
    assert {(example.stage, example.task) for example in examples} == {
        ("pretrain", "sec"),
        ("pretrain", "mna"),
        ("chat", "chat"),
    }
    for example in examples:
        assert any(is_learned for _, is_learned in example.pieces)
        assert any("clip 1" in text for text, _ in example.pieces)
        assert 0 < example.num_audio_tokens < example.num_tokens


def test_clips_to_listen_to_have_sound_spectrogram_and_both_answers(recipe, own_vocabulary):
    model = build_audio_lm(recipe, own_vocabulary)
    predictions = [Prediction("x", "sec", "beep", "bell") for _ in range(4)]
    clips = heard_clips(recipe, "events", predictions, model, own_vocabulary)
    assert len(clips) == recipe.tracking.num_listening_clips
    assert all(len(clip.wave) and clip.log_mel.shape[1] == 80 and clip.answer == "bell" for clip in clips)
