from dataclasses import replace

from audio_lm.pipeline.tokenizer_cache import cached_vocabulary, trained_tokenizer_folder
from audio_lm.pipeline.vocabulary import build_vocabulary


def test_a_cached_vocabulary_is_the_one_that_is_trained_with(small, small_sources, own_vocabulary):
    cached = cached_vocabulary(small, small_sources)
    assert cached is not None
    assert cached.digest == own_vocabulary.digest
    assert cached.id_of == own_vocabulary.id_of
    assert (cached.num_base, cached.tokens) == (own_vocabulary.num_base, own_vocabulary.tokens)


def test_a_damaged_or_missing_cache_gives_none(small, small_sources, tmp_path):
    recipe = replace(small, cache_dir=str(tmp_path))
    assert cached_vocabulary(recipe, small_sources) is None
    build_vocabulary(recipe, small_sources)
    assert cached_vocabulary(recipe, small_sources) is not None
    (trained_tokenizer_folder(recipe, small_sources) / "tokenizer.json").write_text("{}")
    assert cached_vocabulary(recipe, small_sources) is None


def test_a_loaded_part_has_a_tokenizer_or_a_table_of_its_own(small, small_sources, own_vocabulary):
    model = small.model
    for part in ("tokenizer", "language_model"):
        loaded = replace(model, **{part: replace(getattr(model, part), load="a/hub-name")})
        assert cached_vocabulary(replace(small, model=loaded), small_sources) is None
