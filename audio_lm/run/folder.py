"""Files of a run, in its folder.

recipe.yaml                  composed recipe; recipe.yaml.1 ... are those before a resume with other settings
tokens.json                  tokens that the model has in addition to the tokenizer's
tokenizer/                   tokenizer, if it was trained for this run; sealed by MANIFEST.json
stages/<stage>/checkpoints/  step-00000120/ ..., to resume from; each has a MANIFEST.json
stages/<stage>/model/        weights at the end of the stage, one safetensors file per part
stages/<stage>/status.json   step, data position, finished or not, checksums of model/
exported/<stage>-<hash>/     model as `serve --api` has exported it
predictions/<name>.jsonl     one line per clip; benchmarks.json has the definition of each benchmark
predictions/silence/ ...     answers to the changed questions of each control
scores.json                  scores of the last evaluation
mlflow.txt                   tracking URI and run ids
run.log                      settings, parameter groups, messages and warnings of every start
exit_reason.json             reason of the end; lease.json (with a lock) and attempts.json: the starts of the run
heartbeats/, errors/         progress of each rank, and errors that ended ranks
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from audio_lm.common.env import is_main
from audio_lm.common.errors import CheckpointError, RecipeError, UserError
from audio_lm.common.files import (
    is_sealed_text,
    read_table,
    report_unreadable,
    seal_text,
    text_fault,
    write_bytes,
    write_json,
    write_text,
)
from audio_lm.common.seals import FILE as SEALS
from audio_lm.common.seals import FileSeal, fault_of, folder_fault, seals_of
from audio_lm.config.load import RECIPE, ComposedRecipe, changed_settings, load_kept_recipe
from audio_lm.config.schema import SEGMENT, Recipe
from audio_lm.prompts.vocabulary import MARKUP_TOKENS

MOST_NAMED = 8
SETTINGS_OF_A_START = ("resume", "only")
STATUS = "status.json"
MODEL_SEALS = "model"  # key in it: size and checksum of every file of ``model/``


@dataclass(frozen=True)
class RunFolder:
    """Folder of one run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """File of the composed recipe."""
        return self.path / RECIPE

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer that was trained for this run."""
        return self.path / "tokenizer"

    @property
    def predictions(self) -> Path:
        """Folder of answers, one file per benchmark."""
        return self.path / "predictions"

    @property
    def scores(self) -> Path:
        """File of the scores of the last evaluation."""
        return self.path / "scores.json"

    def stage(self, name: str) -> Path:
        """Folder of a stage."""
        return self.path / "stages" / name

    @property
    def tokens(self) -> Path:
        """File of the added tokens, in the order of their ids."""
        return self.path / "tokens.json"

    def model(self, name: str) -> Path:
        """Folder of the weights at the end of a stage."""
        return self.stage(name) / "model"

    def checkpoints(self, name: str) -> Path:
        """Folder of a stage's checkpoints."""
        return self.stage(name) / "checkpoints"

    def status(self, name: str) -> dict[str, Any]:
        """Progress of a stage; empty before its first checkpoint."""
        return read_table(self.stage(name) / STATUS)

    def model_fault(self, name: str) -> str | None:
        """First fault of the weights of a finished stage, all checksums verified; None if they are intact.

        Weights of an earlier release have no checksums and pass.
        """
        if not self.model(name).is_dir():
            return "it is missing"
        seals = self.status(name).get(MODEL_SEALS, {})
        files = {file: FileSeal(**seal) for file, seal in seals.items()}
        return fault_of(self.model(name), files, files)

    def model_digest(self, name: str) -> str:
        """Digest of the weights of a stage, from their checksums."""
        seals = self.status(name).get(MODEL_SEALS)
        if not seals:  # of an earlier release
            seals = {file: seal._asdict() for file, seal in seals_of(self.model(name)).items()}
        return json.dumps(seals, sort_keys=True)

    def check_model(self, name: str) -> None:
        """Check that the weights of a finished stage are intact.

        Raises:
            CheckpointError: they are not; names the file.
        """
        if fault := self.model_fault(name):
            raise CheckpointError(
                f"{self.model(name)}: {fault}; resume=auto writes it again from the stage's last checkpoint"
            )

    def mark_finished(self, name: str, steps: int) -> None:
        """Record that a stage is finished, with the checksums of its weights."""
        if is_main():
            seals = {file: seal._asdict() for file, seal in seals_of(self.model(name)).items()}
            finished = {"step": steps, "steps": steps, "finished": True, MODEL_SEALS: seals}
            write_json(self.stage(name) / STATUS, self.status(name) | finished)

    def mark_unfinished(self, name: str) -> None:
        """Mark a stage as unfinished, so that a later start writes its weights again."""
        if is_main():
            write_json(self.stage(name) / STATUS, self.status(name) | {"finished": False})

    def kept_tokenizer(self) -> Path | None:
        """Folder of the tokenizer trained for this run; None if it is missing or damaged and must be trained again.

        A tokenizer of an earlier release has no checksums and passes.
        """
        fault = folder_fault(self.tokenizer)
        if fault is None or (self.tokenizer.is_dir() and not (self.tokenizer / SEALS).exists()):
            return self.tokenizer
        if self.tokenizer.exists():
            report_unreadable(self.tokenizer, fault)
        return None

    def mark_evaluated(self, name: str) -> None:
        """Record that a stage's benchmarks were evaluated.

        A later start evaluates only those without answers or with another definition.
        """
        if is_main():
            write_json(self.stage(name) / STATUS, self.status(name) | {"evaluated": True})

    def is_evaluated(self, name: str) -> bool:
        """True if a stage's benchmarks have been evaluated."""
        status = self.status(name)
        return bool(status.get("evaluated", status.get("judged")))  # key of an earlier release

    def progress(self, recipe: Recipe) -> list[int]:
        """Amount of finished work: stages trained, stages evaluated, files of answers, step of the last checkpoint."""
        statuses = [self.status(name) for name in recipe.stages]
        return [
            sum(bool(status.get("finished")) for status in statuses),
            sum(self.is_evaluated(name) for name in recipe.stages),
            sum(1 for _ in self.predictions.rglob("*.jsonl")),
            next((status.get("step", 0) for status in statuses if status and not status.get("finished")), 0),
        ]

    def is_finished(self, name: str) -> bool:
        """True if a stage was trained to its last step and its weights are there."""
        return bool(self.status(name).get("finished")) and self.model(name).is_dir()


def folder_for(composed: ComposedRecipe, out: Path | None = None) -> RunFolder:
    """Run folder of a recipe: named after its name and signature, unless ``out`` is given."""
    return RunFolder(composed.run_path(out))


def check_writable(folder: RunFolder) -> None:
    """Check that a folder can be written, without leaving anything in it.

    Raises:
        UserError: it cannot be; names the folder that has to be writable.
    """
    nearest = folder.path.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    probe = nearest / f".audio-lm-{os.getpid()}"
    try:
        probe.touch()
    except OSError as error:
        raise UserError(
            f"output folder {folder.path}: {nearest} cannot be written ({error.strerror}); choose another with --out"
        ) from error
    probe.unlink()


def kept_tokens(folder: RunFolder) -> list[str] | None:
    """Added tokens of a run's model; None if the run is new or the file is damaged.

    A run without the file is of an earlier release, whose models had all tokens.
    """
    if not folder.recipe.is_file():
        return None
    if not folder.tokens.is_file():
        return list(MARKUP_TOKENS)
    tokens = read_table(folder.tokens).get("tokens")
    # Where the file is damaged, the recipe determines the tokens.
    return [str(token) for token in tokens] if isinstance(tokens, list) and tokens else None


def open_folder(
    folder: RunFolder, composed: ComposedRecipe, tokens: Sequence[str] = tuple(MARKUP_TOKENS)
) -> None:
    """Create the folder of a new run, or prepare that of a resumed one.

    An existing run of the same recipe is moved aside, never overwritten. The recipe of a resumed run is replaced if any
    setting has changed; the old one is kept beside it.

    Args:
        tokens: added tokens of the model.

    Raises:
        RecipeError: the folder holds a run of another recipe.
    """
    is_stale = bool(recipe_fault(folder, composed))
    if folder.path.exists() and any(folder.path.iterdir()):
        if not check_resumable(folder, composed):
            move_aside(folder.path)
        elif (
            folder.recipe.is_file()
            and not is_stale
            and _run_settings(_recipe_in(folder)) != _run_settings(composed)
        ):
            write_bytes(next_free(folder.recipe), folder.recipe.read_bytes())
            is_stale = True
    folder.path.mkdir(parents=True, exist_ok=True)
    if is_stale or not folder.recipe.exists():
        # Before the recipe: a recipe without tokens.json counts as a run of an earlier release.
        write_json(folder.tokens, {"tokens": list(tokens)})
        write_text(folder.recipe, seal_text(composed.text))


def recipe_fault(folder: RunFolder, composed: ComposedRecipe) -> str:
    """Fault of a run's recipe file; empty if it is intact or missing.

    A truncated file has no checksum, and neither has one of an earlier release. Without a checksum, it passes only if it
    equals the given recipe, or if there are no checkpoints.
    """
    if not folder.recipe.is_file():
        return ""
    if (fault := text_fault(folder.recipe)) or is_sealed_text(folder.recipe):
        return fault
    try:
        is_other = bool(changed_settings(_recipe_in(folder), composed))
    except RecipeError:
        is_other = True
    has_checkpoints = any(folder.path.glob("stages/*/checkpoints/step-*"))
    return "it has no checksum and differs from the given recipe" if is_other and has_checkpoints else ""


def next_free(path: Path) -> Path:
    """Path with the next free number with_segments."""
    number = 1
    while (numbered := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return numbered


def move_aside(path: Path) -> None:
    """Rename a file or folder to the next free number."""
    path.rename(next_free(path))


def check_resumable(folder: RunFolder, composed: ComposedRecipe) -> bool:
    """Check whether this start resumes the run of a folder.

    Raises:
        RecipeError: the folder holds a run of another recipe, whose settings are named, or no run to append a
            segment to.
    """
    recipe = composed.recipe
    if not (recipe.is_resumed or recipe.only):
        return False
    if fault := recipe_fault(folder, composed):
        report_unreadable(
            folder.recipe, f"{fault}; the settings in the checkpoints are describe_changes instead"
        )
        return True
    if not folder.recipe.is_file():
        if recipe.resume == SEGMENT:
            raise RecipeError(
                f"resume={SEGMENT}: {folder.path} holds no run to resume; name its folder with --out, because another mixture "
                f"gives another signature"
            )
        return True
    before = _recipe_in(folder)
    changed = changed_settings(before, composed)
    if recipe.resume == SEGMENT:
        running = [name for name in recipe.stages if not folder.is_finished(name)]
        free = ("corpora.", *(f"stages.{name}.mixture." for name in running))
        changed = [key for key in changed if not key.startswith(free)]
    if changed:
        named = ", ".join(changed[:MOST_NAMED]) + (", ..." if len(changed) > MOST_NAMED else "")
        raise RecipeError(
            f"{folder.path} holds a run of another recipe, signature {before.signature} and not "
            f"{composed.signature}: {named} changed; undo the change, choose another folder with --out, or, if only "
            f"mixtures of unfinished stages changed, declare it with resume={SEGMENT}"
        )
    return True


def _recipe_in(folder: RunFolder) -> ComposedRecipe:
    """Recipe in a run folder, only for comparison."""
    return _kept_recipe(folder.recipe, folder.recipe.read_bytes())


@lru_cache(maxsize=1)
def _kept_recipe(path: Path, content: bytes) -> ComposedRecipe:
    """Recipe in a file of this content; kept, because a resumed start compares with it three times."""
    del content
    return load_kept_recipe(path)


def _run_settings(composed: ComposedRecipe) -> dict[str, Any]:
    """Settings of a recipe without those of a single start."""
    return {key: value for key, value in composed.tree.items() if key not in SETTINGS_OF_A_START}


def stages_to_run(recipe: Recipe, folder: RunFolder) -> list[str]:
    """Stages that this start trains, in order.

    Raises:
        RecipeError: ``only`` names a stage that the recipe does not have.
        CheckpointError: the stage before the first one has no weights.
    """
    names = list(recipe.stages)
    if missing := [name for name in recipe.only if name not in names]:
        raise RecipeError(f"stages {missing} are not in recipe {recipe.name!r}; it has {names}")
    chosen = [name for name in names if not recipe.only or name in recipe.only]
    before = names[: names.index(chosen[0])]
    if recipe.stages[chosen[0]].start_from is not None:
        return chosen
    if before and recipe.only and not folder.model(before[-1]).is_dir():
        raise CheckpointError(
            f"stage {chosen[0]!r} starts from the weights of stage {before[-1]!r}, but {folder.model(before[-1])} is missing; "
            f"run that stage first"
        )
    if before and recipe.only:
        folder.check_model(before[-1])
    return chosen
