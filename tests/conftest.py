"""Tiny fixtures for all tests: cuts with audio, a vocabulary, a model."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from audio_lm.common.rng import random_for
from audio_lm.fault_tolerance.processes import end_data_workers
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig

# Imported where they are used: the tests of a GPU run without the libraries of audio, of recipes and of tracking.
if TYPE_CHECKING:
    from lhotse.cut import Cut

    from audio_lm.config.schema import Recipe
    from audio_lm.pipeline.plan_stage import StageSources
    from audio_lm.prompts.vocabulary import Vocabulary
    from audio_lm.run.folder import RunFolder

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.pop("PYTHONUNBUFFERED", None)  # it would hide a missing flush in a child process

TINY = ModelConfig(
    encoder=EncoderConfig(num_mels=80, width=32, num_layers=2, num_heads=2, mlp_width=64),
    language_model=LanguageModelConfig(
        architecture="qwen2",
        settings={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 2048,
        },
    ),
)
WAVLM = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
}
"""Settings of a tiny speech encoder of transformers."""

SMALL_RECIPE = """
use: {{model: tiny, hardware: cpu}}
data_dir: {data}
tracking: {{uri: "sqlite:///{store}", num_listening_clips: 2}}
corpora:
  synthetic:
    clips: {{events: 12, notes: 12, dialogues: 12}}
    validation_clips: 3
    test_clips: 4
    word_copies: 1
stages:
  pretrain:
    prompt: tags
    mixture:
      sources: {{sec: [synthetic/events-train], mna: [synthetic/notes-train]}}
      weights: {{sec: 1, mna: 1}}
    validation:
      sources: {{sec: [synthetic/events-validation]}}
      weights: {{sec: 1}}
    validate_every: 3
    parts:
      encoder: {{lr: 1e-3}}
      projector: {{lr: 1e-3}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: null}}
    steps: 6
    pack_tokens: 300
  chat:
    prompt: chatml
    mixture:
      sources: {{chat: [synthetic/dialogues-train]}}
      weights: {{chat: 1}}
    parts:
      encoder: {{lr: null}}
      projector: {{lr: null}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: 1e-3}}
    steps: 3
    pack_tokens: 300
evaluation:
  baselines: [untrained]
  benchmarks:
    events: {{source: synthetic/events-test, task: sec, metrics: [acc], prompt: tags, stage: pretrain, max_new_tokens: 4}}
    dialogues: {{source: synthetic/dialogues-test, task: chat, metrics: [acc], prompt: chatml, stage: chat, max_new_tokens: 4}}
published:
  events: {{acc: 0.9}}
"""
CutMaker = Callable[..., "list[Cut]"]

if importlib.util.find_spec("hypothesis"):
    from hypothesis import HealthCheck, settings

    # The time of an example depends on the machine and its load.
    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def vocabulary() -> "Vocabulary":
    """A byte-level vocabulary of a few words, with all markup."""
    from audio_lm.prompts.tokenizer import train_tokenizer
    from audio_lm.prompts.vocabulary import Vocabulary

    tokenizer = train_tokenizer(
        [" one two three", "zero one two three female male", "What do you hear?"] * 4, vocab_size=300
    )
    return Vocabulary(tokenizer, num_base=len(tokenizer))


@pytest.fixture
def make_cuts(tmp_path: Path) -> CutMaker:
    """Function that writes clips of noise with a transcript, and reads them back as cuts."""
    from audio_lm.corpora.synthetic.writing import CutWriter

    def make(count: int, *, seconds: float = 0.4, subset: str = "noise", split: str = "train") -> "list[Cut]":
        writer = CutWriter(tmp_path / "data" / "made", tmp_path / "data" / "made")
        for number in range(count):
            rng = random_for("test", subset, number)
            length = int(16_000 * seconds * (1 + number % 3))
            units = [("one", 0.0, 0.2), ("two", 0.2, 0.4)]
            labels = {"language": "en", "text": "one two", "gender": ("male", "female")[number % 2]}
            writer.add(
                f"{subset}-{split}", rng.normal(0, 0.1, length).astype(np.float32), labels, units=units
            )
        writer.close()
        return writer.cuts(f"{subset}-{split}")

    return make


@pytest.fixture
def make_model(vocabulary: "Vocabulary") -> Callable[[], AudioLM]:
    """Function that builds a model with two layers per part, the same at every call."""

    def make() -> AudioLM:
        torch.manual_seed(0)
        return build_model(TINY, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens))

    return make


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipe of two short stages; all tests share its corpus and MLflow database."""
    folder = tmp_path_factory.mktemp("small")
    path = folder / "small.yaml"
    path.write_text(SMALL_RECIPE.format(data=folder / "data", store=folder / "mlflow.db"))
    return path


@pytest.fixture(scope="session")
def small(small_recipe: Path) -> "Recipe":
    """The small recipe, loaded and with its corpora prepared."""
    from audio_lm.config.load import load_recipe
    from audio_lm.pipeline.corpora import prepare_corpora

    recipe = load_recipe(small_recipe).recipe
    prepare_corpora(recipe, lambda line: None)
    return recipe


@pytest.fixture(scope="session")
def small_sources(small: "Recipe") -> "dict[str, StageSources]":
    """Sources of each stage of the small recipe."""
    from audio_lm.pipeline.plan_stage import compile_stage

    return {name: compile_stage(small, stage) for name, stage in small.stages.items()}


@pytest.fixture(scope="session")
def own_vocabulary(small: "Recipe", small_sources: "dict[str, StageSources]") -> "Vocabulary":
    """Vocabulary that the small recipe trains."""
    from audio_lm.pipeline.vocabulary import build_vocabulary

    return build_vocabulary(small, small_sources)


@pytest.fixture(autouse=True, scope="session")
def quick_sync():
    """Send runs to MLflow in this process, also those of fixtures of a session; ``tests/tracking`` does not."""
    if not importlib.util.find_spec("mlflow"):
        yield
        return
    from audio_lm.tracking import run as tracking_run
    from tests.in_process_sync import InProcessSync

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking_run, "SyncProcess", InProcessSync)
        yield


@pytest.fixture(autouse=True, scope="session")
def data_workers():
    """Kill data workers that tests left running: they ignore SIGTERM, so Python would wait for them at exit."""
    yield
    end_data_workers()


@pytest.fixture(scope="session")
def whole_run(small_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> "RunFolder":
    """A finished run of the small recipe."""
    from rich.console import Console

    from audio_lm.config.load import load_recipe
    from audio_lm.run.train import train

    return train(
        load_recipe(small_recipe), out=tmp_path_factory.mktemp("runs") / "whole", console=Console(quiet=True)
    )


@pytest.fixture
def shown_progress(monkeypatch, capsys):
    """Function that returns the lines of progress so far; a line is shown for every amount of work."""
    for name in ("SECONDS_BEFORE_LINE", "SECONDS_BEFORE_FIRST_LINE"):
        monkeypatch.setattr(f"audio_lm.common.progress.{name}", -1.0)
    return lambda: [line.rpartition("  ")[0] for line in capsys.readouterr().err.splitlines()]


@pytest.fixture
def marker(tmp_path):
    """Path of a file that only an attack creates."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "code of the attack ran"
