"""What the README tells people to type is what the programs take."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from audio_lm.cli.main import app
from audio_lm.config.load import load_recipe
from audio_lm.config.schema import StageConfig
from audio_lm.data.config import MixtureConfig, TemperatureConfig
from audio_lm.data.mixture.weights import piecewise_weights

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^audio-lm .*?(?=\s*#|$)", README, flags=re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists_and_its_overrides_are_read(line):
    _, command, *arguments = shlex.split(line)
    names = {info.name or info.callback.__name__ for info in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    assert command in names
    if command in ("train", "describe", "plan"):
        overrides = [argument for argument in arguments[1:] if not argument.startswith("--")]
        assert load_recipe(arguments[0], overrides).recipe.stages


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)", README, flags=re.MULTILINE))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_the_recipe_that_is_read_line_by_line_is_the_recipe():
    block, _ = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    shown = yaml.safe_load(block)
    demo = yaml.safe_load((ROOT / "recipes" / "demo.yaml").read_text())
    assert shown["use"] == demo["use"]
    for name, stage in shown["stages"].items():
        assert set(stage) <= set(StageConfig.__dataclass_fields__)
        for key, value in stage.items():
            assert demo["stages"][name][key] == value, key


@pytest.mark.parametrize("path", re.findall(r"recipes/\w+\.yaml", README))
def test_every_recipe_it_names_is_there(path):
    assert (ROOT / path).is_file()


def test_the_mixture_on_half_a_page_is_one():
    _, block = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    shown = yaml.safe_load(block)
    mixture = MixtureConfig(**shown | {"temperature": TemperatureConfig(**shown["temperature"])})
    assert set(shown) <= set(MixtureConfig.__dataclass_fields__)
    assert piecewise_weights(mixture, steps=20_000)[-1][1]["mna"] == 1.0
