import pytest
import yaml

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.data.config import MixtureConfig, SourceFacts, TemperatureConfig
from audio_lm.sweep.report.mixture_file import MARK, write_mixture
from tests.sweep.small_sweeps import write_recipe

MIXTURE = MixtureConfig(
    sources={"sec": ["my/events-train"], "mna": ["my/notes-train"]},
    weights={"sec": 0.6123, "mna": 0.3877},
    temperature=TemperatureConfig(tasks=2.0),
    facts={"my/events-train": SourceFacts(10, 1000)},
)


def test_a_mixture_has_its_origin_as_comments_and_no_defaults(tmp_path):
    path = tmp_path / "mixture" / "best.yaml"
    write_mixture(MIXTURE, path, ["Best of the sweep demo:\nsec 61 %."])
    text = path.read_text()
    assert text.startswith(f"{MARK}\n# Best of the sweep demo: sec 61 %.\n")
    assert set(yaml.safe_load(text)) == {"sources", "weights", "temperature", "facts"}


def test_a_recipe_trains_with_the_mixture_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixture(MIXTURE, tmp_path / "conf" / "mixture" / "best.yaml", [])
    recipe = write_recipe(tmp_path)
    stage = load_recipe(recipe, ["stages.pretrain.mixture=best"]).recipe.stages["pretrain"]
    assert stage.mixture == MIXTURE


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("sources: {}\n")
    with pytest.raises(UserError, match="not written by a sweep"):
        write_mixture(MIXTURE, path, [])
    assert path.read_text() == "sources: {}\n"
    write_mixture(MIXTURE, tmp_path / "own.yaml", ["first"])
    write_mixture(MIXTURE, tmp_path / "own.yaml", ["second"])
    assert "second" in (tmp_path / "own.yaml").read_text()
