"""A run with a stage of preference pairs, for the views of notebooks."""

import pytest
from rich.console import Console

from audio_lm.config.load import load_recipe
from audio_lm.run.train import train
from tests.pairs import CUT_SET, write_pairs

PARTS = "{encoder: {lr: null}, projector: {lr: 1e-3}, new_tokens: {lr: 1e-2}, language_model: {lr: 1e-2}}"
RECIPE = f"""
use: {{{{model: tiny, hardware: cpu}}}}
data_dir: {{folder}}/data
tracking: {{{{uri: "sqlite:///{{folder}}/mlflow.db", num_listening_clips: 2}}}}
stages:
  chat:
    prompt: chatml
    mixture: {{{{sources: {{{{chat: [synthetic/dialogues-train]}}}}, weights: {{{{chat: 1}}}}}}}}
    parts: {{parts}}
    steps: 2
    pack_tokens: 900
  prefer:
    prompt: chatml
    objective: dpo
    spec_augment: null
    mixture: {{{{sources: {{{{chat: [{CUT_SET}]}}}}, weights: {{{{chat: 1}}}}}}}}
    validation: {{{{sources: {{{{chat: [{CUT_SET}]}}}}, weights: {{{{chat: 1}}}}}}}}
    max_validation_clips: 8
    validate_every: 6
    parts: {{parts}}
    steps: 12
    pack_tokens: 900
"""


@pytest.fixture(scope="session")
def preference_run(small, tmp_path_factory):
    """Folder of a finished run whose second stage is DPO."""
    folder = tmp_path_factory.mktemp("preference-view")
    write_pairs(small.data_dir, folder / "data")
    recipe = folder / "pairs.yaml"
    recipe.write_text(RECIPE.format(folder=folder, parts=PARTS))
    return train(load_recipe(recipe), out=folder / "run", console=Console(quiet=True)).path
