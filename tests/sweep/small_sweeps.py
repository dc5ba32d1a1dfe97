"""Recipes and sweep files of three tasks whose data is absent: sizes are stated as facts, so that planning is fast."""

RECIPE = """
use: {{model: tiny, hardware: cpu}}
model: {{load: null}}
stages:
  pretrain:
    prompt: tags
    mixture:
      sources: {{sec: [my/events-train], mna: [my/notes-train], mgr: [my/melodies-train], asc: [my/scenes-train]}}
      weights: {{sec: 2, mna: 1, mgr: 1, asc: 1}}
      facts:
        my/events-train: {{hours: 10, clips: 12000}}
        my/notes-train: {{hours: 10, clips: 12000}}
        my/melodies-train: {{hours: 1, clips: 1200}}
        my/scenes-train: {{hours: 10, clips: 12000}}
    validation:
      sources: {{sec: [my/events-validation], mna: [my/notes-validation]}}
      weights: {{sec: 1, mna: 1}}
    parts:
      encoder: {{lr: 1e-3}}
      projector: {{lr: 1e-3}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: null}}
    steps: {steps}
    pack_tokens: 2000
evaluation:
  benchmarks:
    events: {{source: my/events-test, task: sec, metrics: [acc], prompt: tags, stage: pretrain}}
"""

SWEEP = """
recipe: base.yaml
vary:
  shares:
    stage: pretrain
    over: [sec, mna, mgr]
metrics:
  val_loss/sec: {direction: min}
  val_loss/mna: {direction: min}
  events/acc: {direction: max}
"""


def write_recipe(folder, name="base", *, steps=100, **changes):
    """Write a recipe; ``changes`` replaces a text by another."""
    text = RECIPE.format(steps=steps)
    for old, new in changes.get("replace", {}).items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def write_sweep(folder, more="", *, replace=None, name="small"):
    """Write a sweep file and its base recipe.

    Args:
        more: settings that are added to the file.
        replace: old text -> new text.
    """
    if not (folder / "base.yaml").exists():
        write_recipe(folder)
    text = SWEEP + more
    for old, new in (replace or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path
