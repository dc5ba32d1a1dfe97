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


def test_a_vocabulary_is_made_once_for_all_ranks_and_again_for_other_texts(
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


def test_rows_for_tags_are_made_where_a_stage_asks_in_tags(small, small_sources):
    def in_words(one):
        return replace(one, prompt="natural")

    stages = {name: in_words(stage) for name, stage in small.stages.items()}
    benchmarks = {name: in_words(one) for name, one in small.evaluation.benchmarks.items()}
    evaluation = replace(small.evaluation, benchmarks=benchmarks)
    words = replace(small, stages=stages, evaluation=evaluation)
    assert build_vocabulary(words, small_sources).new_tokens == ()
    for recipe in (small, replace(words, stages=small.stages)):
        assert "<|event|>" in build_vocabulary(recipe, small_sources).new_tokens
    asked_in_tags = replace(words, evaluation=small.evaluation)
    vocabulary = build_vocabulary(asked_in_tags, small_sources)
    assert vocabulary.new_tokens == (), "an evaluation decides no vocabulary"
    with pytest.raises(RecipeError, match=r"benchmark 'events'.*<\|event\|>"):
        check_tags(asked_in_tags, vocabulary)
