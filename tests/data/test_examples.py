import pytest

from audio_lm.common.audio_units import frames_in, tokens_in
from audio_lm.common.errors import DataError
from audio_lm.data.examples import ExampleMaker
from audio_lm.tasks.registry import CHAT


def test_an_example_has_a_placeholder_per_audio_token(make_cuts, vocabulary):
    for prompt in ("tags", "natural", "chatml"):
        for cut in make_cuts(3):
            example = ExampleMaker(vocabulary, prompt).example(cut, "asr")
            assert len(example.audio_index) == tokens_in(frames_in(example.num_samples[0])), prompt
            assert any(example.is_learned), prompt


def test_a_missing_label_names_cut_and_task(make_cuts, vocabulary):
    (cut,) = make_cuts(1)
    with pytest.raises(DataError, match=rf"'{cut.id}'.*(keyword|ks)"):
        ExampleMaker(vocabulary, "tags").example(cut, "ks")
    with pytest.raises(DataError, match=r"conversation"):
        ExampleMaker(vocabulary, "chatml").example(cut, CHAT)


def test_an_example_without_answer_is_a_prefix_of_the_example(make_cuts, vocabulary):
    (cut,) = make_cuts(1)
    for prompt in ("tags", "natural", "chatml"):
        whole = ExampleMaker(vocabulary, prompt, is_evaluation=True).example(cut, "asr")
        question = ExampleMaker(vocabulary, prompt, is_evaluation=True, with_answer=False).example(cut, "asr")
        assert whole.token_ids[: len(question)] == question.token_ids, prompt
        assert len(question) < len(whole), prompt


def test_the_choice_selects_the_paraphrase(make_cuts, vocabulary):
    (cut,) = make_cuts(1)
    maker = ExampleMaker(vocabulary, "natural")
    count = maker.num_choices("asr")
    prompts = [tuple(maker.example(cut, "asr", choice=choice).token_ids) for choice in range(2 * count)]
    assert len(set(prompts)) > 1
    assert prompts[:count] == prompts[count:]
    assert ExampleMaker(vocabulary, "tags").num_choices("asr") == 1


@pytest.mark.parametrize("written", ["English", "en-US", "eng"])
def test_a_language_may_be_given_by_any_of_its_names(make_cuts, vocabulary, written):
    first, second = make_cuts(2)
    second.supervisions[0].language = written
    for prompt in ("tags", "natural", "chatml"):
        maker = ExampleMaker(vocabulary, prompt)
        assert maker.pieces(second, "asr", 0) == maker.pieces(first, "asr", 0), prompt


def test_a_language_without_a_tag_is_accepted_in_natural_prompts_and_refused_in_tags(make_cuts, vocabulary):
    (cut,) = make_cuts(1)
    cut.supervisions[0].language = "Portuguese"
    for prompt in ("natural", "chatml"):
        maker = ExampleMaker(vocabulary, prompt)
        for choice in range(maker.num_choices("asr")):
            maker.example(cut, "asr", choice=choice)
        assert maker.reference(cut, "lid") == "Portuguese"
    with pytest.raises(
        DataError, match=rf"cut '{cut.id}': language 'pt' has no tag.*prompt to natural or chatml"
    ):
        ExampleMaker(vocabulary, "tags").example(cut, "asr")
