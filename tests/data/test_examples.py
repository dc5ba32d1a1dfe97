import pytest

from audio_lm.data.examples import CHAT, ExampleMaker
from audio_lm.errors import DataError
from audio_lm.units import frames_in, tokens_in


def test_an_example_has_as_many_places_as_its_clip_has_tokens(make_cuts, vocabulary):
    for prompt in ("tags", "natural", "chatml"):
        for cut in make_cuts(3):
            example = ExampleMaker(vocabulary, prompt, seed=0).example(cut, "asr")
            assert len(example.audio_index) == tokens_in(frames_in(example.num_samples[0])), prompt
            assert any(example.is_learned), prompt


def test_a_missing_label_names_cut_and_task(make_cuts, vocabulary):
    (cut,) = make_cuts(1)
    with pytest.raises(DataError, match=rf"'{cut.id}'.*(keyword|ks)"):
        ExampleMaker(vocabulary, "tags", seed=0).example(cut, "ks")
    with pytest.raises(DataError, match=r"conversation"):
        ExampleMaker(vocabulary, "chatml", seed=0).example(cut, CHAT)


def test_a_question_without_answer_is_how_the_example_begins(make_cuts, vocabulary):
    (cut,) = make_cuts(1)
    for prompt in ("tags", "natural", "chatml"):
        whole = ExampleMaker(vocabulary, prompt, seed=0, is_evaluation=True).example(cut, "asr")
        asked = ExampleMaker(vocabulary, prompt, seed=0, is_evaluation=True, with_answer=False).example(
            cut, "asr"
        )
        assert whole.token_ids[: len(asked)] == asked.token_ids, prompt
        assert len(asked) < len(whole), prompt


def test_the_position_chooses_the_paraphrase(make_cuts, vocabulary):
    (cut,) = make_cuts(1)
    maker = ExampleMaker(vocabulary, "natural", seed=0)
    said = [tuple(maker.example(cut, "asr", position).token_ids) for position in range(20)]
    assert len(set(said)) > 1
    assert said == [tuple(maker.example(cut, "asr", position).token_ids) for position in range(20)]
