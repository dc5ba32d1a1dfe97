"""A run with a guard and the base as a baseline: what is evaluated, and the tables."""

import io
import json

import pytest
from rich.console import Console

from audio_lm.config.load import load_recipe
from audio_lm.run.scores import report
from audio_lm.run.train import train
from tests.in_process_sync import InProcessSync
from tests.pairs import CUT_SET, write_pairs
from tests.run.observed_run import disable_watchdog

RECIPE = """
use: {{model: tiny, hardware: cpu}}
data_dir: {data}
tracking: {{uri: "sqlite:///{store}", num_listening_clips: 0}}
stages:
  chat:
    prompt: chatml
    mixture: {{sources: {{chat: [synthetic/dialogues-train]}}, weights: {{chat: 1}}}}
    parts: {{projector: {{lr: 1e-3}}, language_model: {{lr: 1e-3}}, encoder: {{lr: null}}, new_tokens: {{lr: null}}}}
    steps: 1
    pack_tokens: 300
  prefer:
    prompt: chatml
    objective: dpo
    spec_augment: null
    mixture: {{sources: {{chat: [{pairs}]}}, weights: {{chat: 1}}}}
    parts: {{projector: {{lr: 1e-3}}, language_model: {{lr: 1e-3}}, encoder: {{lr: null}}, new_tokens: {{lr: null}}}}
    steps: 1
    pack_tokens: 600
guard: {{benchmarks: [dialogues], text: synthetic/dialogues-test}}
evaluation:
  baselines: [base]
  benchmarks:
    dialogues: {{source: synthetic/dialogues-test, task: chat, metrics: [acc], prompt: chatml, stage: chat, max_new_tokens: 3}}
    later: {{source: synthetic/dialogues-test, task: chat, metrics: [acc], prompt: chatml, stage: prefer, max_new_tokens: 3}}
"""


@pytest.mark.slow
def test_later_stages_and_the_base_are_evaluated(small, tmp_path, monkeypatch):
    monkeypatch.setattr("audio_lm.tracking.run.SyncProcess", InProcessSync)
    disable_watchdog()
    write_pairs(small.data_dir, tmp_path / "data")
    path = tmp_path / "guarded.yaml"
    path.write_text(RECIPE.format(data=tmp_path / "data", store=tmp_path / "mlflow.db", pairs=CUT_SET))
    folder = train(load_recipe(path), out=tmp_path / "run", console=Console(quiet=True))
    text = "text/synthetic/dialogues-test/perplexity"
    assert set(json.loads(folder.scores.read_text())) == {
        *("dialogues/acc", "later/acc", "base/dialogues/acc", "base/later/acc"),
        *("guard/base/dialogues/acc", "guard/prefer/dialogues/acc"),
        *(f"guard/{model}/{text}" for model in ("base", "chat", "prefer")),
    }
    output = io.StringIO()
    report(tmp_path / "run", Console(file=output, width=300))
    rows = [line.split()[0] for line in output.getvalue().split("guard (")[1].splitlines()[2:5]]
    assert rows == ["base", "chat", "prefer"]
