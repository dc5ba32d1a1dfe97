from dataclasses import replace

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.data.manifest.cuts import texts_of
from audio_lm.pipeline import vocabulary as vocabulary_module
from audio_lm.pipeline.vocabulary import build_vocabulary, check_tags
from audio_lm.prompts.vocabulary import Vocabulary


def test_a_vocabulary_is_the_same_every_time_and_when_loaded(small, small_sources, own_vocabulary, tmp_path):
    assert (
        build_vocabulary(small, small_sources).tokenizer.get_vocab() == own_vocabulary.tokenizer.get_vocab()
    )
    own_vocabulary.tokenizer.save_pretrained(tmp_path / "tokenizer")
    again = build_vocabulary(small, {}, tmp_path / "tokenizer")
    text = "the bell tone"
    assert again.ids(text, is_markup=False) == own_vocabulary.ids(text, is_markup=False)


def test_a_vocabulary_is_trained_once_for_all_ranks_and_again_for_other_texts(
    small, small_sources, tmp_path, monkeypatch
):
    recipe, read = replace(small, data_dir=str(tmp_path)), []
    monkeypatch.setattr(vocabulary_module, "texts_of", lambda cuts: read.append(1) or texts_of(cuts))
    first, again = (build_vocabulary(recipe, small_sources) for _ in range(2))
    assert first.digest == again.digest
    assert len(read) == 1
    larger = replace(recipe.model.tokenizer, vocab_size=recipe.model.tokenizer.vocab_size + 7)
    build_vocabulary(replace(recipe, model=replace(recipe.model, tokenizer=larger)), small_sources)
    assert len(read) == 2
    name, stage = next(iter(small_sources.items()))
    build_vocabulary(recipe, {name: replace(stage, training=stage.training[:1])})
    assert len(read) == 3


def test_a_tag_outside_the_vocabulary_is_refused_with_stage_and_tag(small, own_vocabulary):
    class Poor(Vocabulary):
        pass

    poor = Poor(own_vocabulary.tokenizer, num_base=own_vocabulary.num_base)
    del poor.id_of["<|event|>"]
    check_tags(small, own_vocabulary)
    with pytest.raises(RecipeError, match=r"stage 'pretrain'.*<\|event\|>"):
        check_tags(small, poor)


def test_tags_get_rows_only_if_a_stage_uses_them(small, small_sources):
    def without_tags(config):
        return replace(config, prompt="natural")

    stages = {name: without_tags(stage) for name, stage in small.stages.items()}
    benchmarks = {name: without_tags(benchmark) for name, benchmark in small.evaluation.benchmarks.items()}
    evaluation = replace(small.evaluation, benchmarks=benchmarks)
    natural = replace(small, stages=stages, evaluation=evaluation)
    assert build_vocabulary(natural, small_sources).new_tokens == ()
    for recipe in (small, replace(natural, stages=small.stages)):
        assert "<|event|>" in build_vocabulary(recipe, small_sources).new_tokens
    tags_in_evaluation = replace(natural, evaluation=small.evaluation)
    vocabulary = build_vocabulary(tags_in_evaluation, small_sources)
    assert vocabulary.new_tokens == (), "an evaluation does not change the vocabulary"
    with pytest.raises(RecipeError, match=r"benchmark 'events'.*<\|event\|>"):
        check_tags(tags_in_evaluation, vocabulary)
