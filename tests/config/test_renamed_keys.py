import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_kept_recipe, load_recipe
from audio_lm.config.renamed_keys import RENAMED, new_key

OLD = {
    "survival.max_restarts=3": "`survival` is now `fault_tolerance`",
    "+expect.events.acc=0.5": "`expect` is now `published`",
    "evaluation.untrained=true": r"`evaluation.untrained` is now `baselines: \['untrained'\]`",
    "stages.chat.long_clips=drop": "`stages.chat.long_clips` is now `long_audio`",
    "stages.chat.max_bad_share=0.1": "`stages.chat.max_bad_share` is now `max_bad_fraction`",
    "stages.chat.mixture.counts=tokens": "`stages.chat.mixture.counts` is now `weight_by`",
    "stages.chat.mixture.max_passes={all: 3}": "`stages.chat.mixture.max_passes` is now `max_epochs`",
    "stages.pretrain.validation.counts=tokens": "`stages.pretrain.validation.counts` is now `weight_by`",
    "resume=true": "`resume: true` is now `resume: auto`",
    "resume=false": "`resume: false` is now `resume: never`",
    "+published.events.wer_official=0.1": "`published.events.wer_official` is now `wer_qwen_audio`",
    "evaluation.benchmarks.events.metrics=[wer_official]": "'wer_official' is now 'wer_qwen_audio'",
    "stages=[chat]": r"`stages=\[...\]` is now `only=\[...\]`",
}


@pytest.mark.parametrize("override", OLD)
def test_an_old_key_is_refused_with_the_new_one(override, small_recipe):
    with pytest.raises(RecipeError, match=OLD[override]):
        load_recipe(small_recipe, [override])


def test_all_old_keys_of_a_recipe_are_reported_at_once_with_their_lines(small_recipe, tmp_path):
    text = small_recipe.read_text().replace("baselines: [untrained]", "untrained: true")
    path = tmp_path / "old.yaml"
    path.write_text(f"resume: true\nsurvival: {{max_restarts: 2}}\n{text}")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith("3 problems")
    assert f"{path.name}:1: `resume: true`" in message
    assert f"{path.name}:2: `survival`" in message


def test_the_recipe_of_an_earlier_run_is_read_with_its_old_keys(small_recipe, tmp_path):
    now = load_recipe(small_recipe, ["resume=auto"])
    old = (
        now.text.replace("fault_tolerance:", "survival:")
        .replace("published:", "expect:")
        .replace("baselines:\n  - untrained", "untrained: true")
        .replace("long_audio:", "long_clips:")
        .replace("max_bad_fraction:", "max_bad_share:")
        .replace("weight_by:", "counts:")
        .replace("max_epochs:", "max_passes:")
        .replace("resume: auto", "resume: true")
    )
    assert len(set(old.splitlines()) - set(now.text.splitlines())) == 8
    path = tmp_path / "recipe.yaml"
    path.write_text(old)
    kept = load_kept_recipe(path)
    assert kept.recipe == now.recipe
    assert kept.signature == now.signature


def test_all_old_keys_have_a_new_name():
    for old, new in RENAMED.items():
        assert new_key(old.replace("*", "chat")).endswith(new)
    assert new_key("stages.chat.mixture.weights.asr") == "stages.chat.mixture.weights.asr"


def test_the_metrics_of_an_earlier_run_are_read_with_their_old_names(small_recipe, tmp_path):
    metrics = "evaluation.benchmarks.events.metrics=[wer, wer_qwen_audio]"
    now = load_recipe(small_recipe, [metrics, "+published.events.wer_qwen_audio=0.5"])
    old = now.text.replace("wer_qwen_audio", "wer_official")
    assert len(set(old.splitlines()) - set(now.text.splitlines())) == 2
    path = tmp_path / "recipe.yaml"
    path.write_text(old)
    kept = load_kept_recipe(path)
    assert kept.recipe == now.recipe
    assert kept.signature == now.signature
