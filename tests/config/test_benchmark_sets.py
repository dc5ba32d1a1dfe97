"""Sets of benchmarks in conf/benchmarks: they load with the recipe of their system, and their published scores too."""

import pytest
import yaml

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.config.resources import resource_folder
from audio_lm.corpora.registry import CORPORA
from audio_lm.metrics.registry import METRICS

SETS = {
    "qwen_audio": ("qwen_audio", 25),
    "qwen2_audio": ("qwen2_audio", 21),
    "airbench": ("qwen2_audio", 19),
    "airbench_chat": ("qwen2_audio", 5),
    "multiple_choice": ("qwen2_audio", 3),
}
OWN = {"industrial_srwt"}  # a set that is not public


@pytest.mark.parametrize(("name", "recipe", "count"), [(name, *values) for name, values in SETS.items()])
def test_sets_load_with_their_published_scores(name, recipe, count):
    table = yaml.safe_load((resource_folder("conf") / "benchmarks" / f"{name}.yaml").read_text())
    loaded = load_recipe(recipe, [f"use.benchmarks={name}"]).recipe
    assert loaded.evaluation.benchmarks.keys() == table["benchmarks"].keys()
    assert len(table["benchmarks"]) == count
    assert loaded.published == table.get("published", {})
    for benchmark, scores in loaded.published.items():
        assert scores.keys() <= set(loaded.evaluation.benchmarks[benchmark].metrics), benchmark


@pytest.mark.parametrize("name", SETS)
def test_every_row_has_a_corpus_and_metrics(name):
    table = yaml.safe_load((resource_folder("conf") / "benchmarks" / f"{name}.yaml").read_text())
    for benchmark in table["benchmarks"].values():
        assert benchmark["source"].split("/")[0] in CORPORA.keys() | OWN
        assert set(benchmark["metrics"]) <= METRICS.keys()


def test_published_scores_of_a_recipe_win_over_those_of_its_benchmarks():
    changed = load_recipe("qwen2_audio", ["use.benchmarks=qwen2_audio", "published.meld.acc=0.6"]).recipe
    assert changed.published["meld"] == {"acc": 0.6}
    assert changed.published["fleurs_zh"] == {"wer_qwen2_audio": 0.075}


WITHOUT_COMPARABLE = {"mmau_pro_closed", "airbench_chat_speech_and_sound", "airbench_chat_speech_and_music"}
"""Rows whose publisher gives a number only for several of them together."""


@pytest.mark.parametrize("name", SETS)
def test_every_row_has_a_published_score_and_every_set_its_source(name):
    text = (resource_folder("conf") / "benchmarks" / f"{name}.yaml").read_text()
    table = yaml.safe_load(text)
    assert table["benchmarks"].keys() - table["published"].keys() <= WITHOUT_COMPARABLE
    comment = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    assert "Source: " in comment
    assert "arXiv:" in comment.split("Source: ")[1]


def test_chinese_and_cantonese_rows_have_the_clean_error_rate_of_their_script():
    for name in ("qwen_audio", "qwen2_audio"):
        table = yaml.safe_load((resource_folder("conf") / "benchmarks" / f"{name}.yaml").read_text())
        for benchmark, row in table["benchmarks"].items():
            is_chinese = row["source"].startswith("aishell") or benchmark.endswith(("_zh", "_yue"))
            if row["task"] == "asr":
                assert ("wer_wetext" in row["metrics"]) == is_chinese, benchmark


def test_several_sets_are_named_with_commas_between_them():
    both = load_recipe("qwen2_audio", ["use.benchmarks=qwen2_audio, airbench_chat"]).recipe
    assert len(both.evaluation.benchmarks) == SETS["qwen2_audio"][1] + SETS["airbench_chat"][1]
    assert both.published["airbench_chat_sound"] == {"judge_score": 6.99}
    assert both.published["meld"] == {"acc": 0.553}
    with pytest.raises(
        RecipeError, match=r"unknown benchmarks 'airbench_chta'\. Did you mean 'airbench_chat'"
    ):
        load_recipe("qwen2_audio", ["use.benchmarks=qwen2_audio,airbench_chta"])
