"""Small run of the demo for notebooks: offline, one CPU core, its answers are not worth reading."""

from pathlib import Path

from rich.console import Console

from audio_lm.config.load import ComposedRecipe, load_recipe
from audio_lm.run.folder import RunFolder
from audio_lm.run.train import train

FOLDER = Path("work")
RUN, DATA, STORE = "run", "data", "mlflow.db"
CLIPS = 40  # of each training set
STEPS = 30  # of each stage
HELD_OUT = 24  # clips of each validation set


def example_run(folder: Path = FOLDER, *, console: Console | None = None) -> Path:
    """Folder of the run, which is trained where it is missing or unfinished.

    Args:
        folder: of the run, its data and its tracking.
        console: for a line before the training.

    Raises:
        UserError: the synthetic corpus cannot be made.
    """
    run = RunFolder(folder.absolute() / RUN)
    composed = example_recipe(folder)
    if not run.scores.is_file() or not all(map(run.is_finished, composed.recipe.stages)):
        if console is not None:
            console.print(
                f"training a small run of the demo into {run.path}, once for all notebooks: about a minute"
            )
        train(composed, out=run.path, console=Console(quiet=True))
    return run.path


def example_recipe(folder: Path = FOLDER) -> ComposedRecipe:
    """The demo at the scale ``tiny``, with more clips and steps than a smoke test."""
    overrides = ["use.scale=tiny"]
    small = load_recipe("demo", overrides).recipe
    overrides += [
        f"data_dir={folder.absolute() / DATA}",
        f"tracking.uri=sqlite:///{folder.absolute() / STORE}",
    ]
    overrides += [f"corpora.synthetic.clips.{name}={CLIPS}" for name in small.corpora["synthetic"]["clips"]]
    overrides += [f"corpora.synthetic.validation_clips={HELD_OUT}"]
    for name, stage in small.stages.items():
        overrides += [f"stages.{name}.steps={STEPS}", f"stages.{name}.schedule.warmup_steps=4"]
        if stage.validation.sources:
            overrides += [
                f"stages.{name}.validate_every={STEPS // 3}",
                f"stages.{name}.max_validation_clips={HELD_OUT}",
            ]
    return load_recipe("demo", overrides)
