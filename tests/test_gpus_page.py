"""docs/gpus.md: the table of memory has the figures of its commands."""

import re
import shlex
from pathlib import Path

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.preview.estimate import estimate_stages

PAGE = (Path(__file__).parents[1] / "docs" / "gpus.md").read_text()
ROW = re.compile(r"^\| [\d.]+ B \| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
ROWS = list(zip(ROW.findall(PAGE), re.findall(r"^audio-lm plan (.*)$", PAGE, re.MULTILINE), strict=True))


@pytest.mark.parametrize(("row", "command"), ROWS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_row_has_the_figures_of_its_command(row, command):
    hardware, pack_tokens, encoder, language_model = row
    name, *overrides = shlex.split(command)
    assert f"use.hardware={hardware}" in overrides
    assert {f"stages.{stage}.pack_tokens={pack_tokens}" for stage in ("pretrain", "sft")} <= {*overrides}
    memory = {
        stage.name: stage.memory_gib["total"]
        for stage in estimate_stages(load_recipe(name, overrides).recipe)
    }
    assert [f"{memory['pretrain']:.0f}", f"{memory['sft']:.0f}"] == [encoder, language_model]


def test_there_are_rows():
    assert len(ROWS) >= 9
