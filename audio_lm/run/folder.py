"""What a run leaves behind, and where.

recipe.yaml                  the composed recipe; recipe.yaml.1 ... what it was before a resume with other settings
tokens.json                  the tokens that the model has beside words
tokenizer/                   when it was trained for this run; sealed by a MANIFEST.json
stages/<stage>/checkpoints/  step-00000120/ ..., to go on from; each has a MANIFEST.json
stages/<stage>/model/        the weights at the end, one safetensors file per part
stages/<stage>/status.json   step, data position, finished or not, checksums of model/
predictions/<name>.jsonl     one line per clip; benchmarks.json what each benchmark was
scores.json                  of the last evaluation
mlflow.txt                   tracking URI and run ids
run.log                      settings, groups of parameters, messages and warnings of every start
exit_reason.json             why it ended; lease.json (and its lock), attempts.json who trains and how often
heartbeats/, errors/         what a rank is at, and what one died of
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from audio_lm.common.errors import CheckpointError, RecipeError, UserError
from audio_lm.common.files import (
    is_sealed_text,
    read_table,
    report_unreadable,
    sealed_text,
    text_fault,
    write_bytes,
    write_json,
    write_text,
)
from audio_lm.common.runtime import is_main
from audio_lm.common.seals import FILE as SEALS
from audio_lm.common.seals import FileSeal, fault_of, folder_fault, seals_of
from audio_lm.config.load import RECIPE, Composed, changed_settings, kept_recipe
from audio_lm.config.schema import SEGMENT, Recipe
from audio_lm.prompts.vocabulary import MARKUP_TOKENS

MOST_NAMED = 8
MOST_RUNS = MOST_CHANGED = 3  # named where a resume finds no run of its settings
OF_ONE_START = ("resume", "only")
STATUS = "status.json"
MODEL_SEALS = "model"  # in it: size and checksum of every file of ``model/``


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The composed recipe."""
        return self.path / RECIPE

    @property
    def tokenizer(self) -> Path:
        """The tokenizer trained for this run."""
        return self.path / "tokenizer"

    @property
    def predictions(self) -> Path:
        """Answers, one file a benchmark."""
        return self.path / "predictions"

    @property
    def scores(self) -> Path:
        """Of the last evaluation."""
        return self.path / "scores.json"

    def stage(self, name: str) -> Path:
        """Folder of a stage."""
        return self.path / "stages" / name

    @property
    def tokens(self) -> Path:
        """Tokens that the model has beside words, in the order of their ids."""
        return self.path / "tokens.json"

    def model(self, name: str) -> Path:
        """Weights at the end of a stage."""
        return self.stage(name) / "model"

    def checkpoints(self, name: str) -> Path:
        """What a stage can go on from."""
        return self.stage(name) / "checkpoints"

    def status(self, name: str) -> dict[str, Any]:
        """How far a stage is; empty before its first checkpoint."""
        return read_table(self.stage(name) / STATUS)

    def model_fault(self, name: str) -> str | None:
        """What is wrong with the weights that a stage has left, every checksum looked at; None when nothing is.

        Of stages that ended before weights were sealed nothing is known.
        """
        if not self.model(name).is_dir():
            return "it is not there"
        seals = self.status(name).get(MODEL_SEALS, {})
        files = {file: FileSeal(**seal) for file, seal in seals.items()}
        return fault_of(self.model(name), files, files)

    def check_model(self, name: str) -> None:
        """Refuse weights that are not those that a stage has left.

        Raises:
            CheckpointError: names the file.
        """
        if fault := self.model_fault(name):
            raise CheckpointError(
                f"{self.model(name)}: {fault}; resume=auto writes it again from the stage's last checkpoint"
            )

    def mark_finished(self, name: str, steps: int) -> None:
        """Remember that a stage has ended, and what its weights are."""
        if is_main():
            seals = {file: seal._asdict() for file, seal in seals_of(self.model(name)).items()}
            ended = {"step": steps, "steps": steps, "finished": True, MODEL_SEALS: seals}
            write_json(self.stage(name) / STATUS, self.status(name) | ended)

    def mark_unfinished(self, name: str) -> None:
        """Have a later start write the weights of a stage again."""
        if is_main():
            write_json(self.stage(name) / STATUS, self.status(name) | {"finished": False})

    def kept_tokenizer(self) -> Path | None:
        """The tokenizer trained for this run; none where there is none that holds, and it is to be made again.

        One from before tokenizers were sealed is taken as it is.
        """
        fault = folder_fault(self.tokenizer)
        if fault is None or (self.tokenizer.is_dir() and not (self.tokenizer / SEALS).exists()):
            return self.tokenizer
        if self.tokenizer.exists():
            report_unreadable(self.tokenizer, fault)
        return None

    def mark_evaluated(self, name: str) -> None:
        """Remember that a stage's benchmarks were asked; a later start asks those without answers or defined anew."""
        if is_main():
            write_json(self.stage(name) / STATUS, self.status(name) | {"evaluated": True})

    def is_evaluated(self, name: str) -> bool:
        """True when a stage's benchmarks have been evaluated."""
        status = self.status(name)
        return bool(status.get("evaluated", status.get("judged")))  # the key of an earlier release

    def progress(self, recipe: Recipe) -> list[int]:
        """What a later start need not do again: stages finished and judged, answers kept, the step of the checkpoint."""
        statuses = [self.status(name) for name in recipe.stages]
        return [
            sum(bool(status.get("finished")) for status in statuses),
            sum(self.is_evaluated(name) for name in recipe.stages),
            sum(1 for _ in self.predictions.rglob("*.jsonl")),
            next((status.get("step", 0) for status in statuses if status and not status.get("finished")), 0),
        ]

    def is_finished(self, name: str) -> bool:
        """Whether a stage ran to its end and left its weights."""
        return bool(self.status(name).get("finished")) and self.model(name).is_dir()


def folder_for(composed: Composed, out: Path | None = None) -> RunFolder:
    """Where a recipe's run lies: its name and signature, unless the caller chose."""
    return RunFolder(composed.run_path(out))


def check_writable(folder: RunFolder) -> None:
    """Refuse a folder that cannot be written, without leaving anything there.

    Raises:
        UserError: names the folder that would have to be writable.
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
    """The tokens that a run's model has beside words; none where nothing was begun, or nothing is left to read.

    A run without the file comes from a release whose models had all tokens.
    """
    if not folder.recipe.is_file():
        return None
    if not folder.tokens.is_file():
        return list(MARKUP_TOKENS)
    tokens = read_table(folder.tokens).get("tokens")
    # Where the file is damaged they follow from the recipe.
    return [str(token) for token in tokens] if isinstance(tokens, list) and tokens else None


def open_folder(folder: RunFolder, composed: Composed, tokens: Sequence[str] = tuple(MARKUP_TOKENS)) -> None:
    """Make the folder of a fresh run, or take up that of a resumed one.

    A run of the same recipe that is there already is moved aside, never written over. The recipe of a resumed run
    is replaced where any setting has changed, and the old one kept beside it.

    Args:
        tokens: that the model has beside words.

    Raises:
        RecipeError: the folder holds a run of another recipe.
    """
    is_stale = bool(recipe_fault(folder, composed))
    if folder.path.exists() and any(folder.path.iterdir()):
        if not check_resumable(folder, composed):
            move_aside(folder.path)
        elif folder.recipe.is_file() and not is_stale and _lasting(_recipe_in(folder)) != _lasting(composed):
            write_bytes(next_free(folder.recipe), folder.recipe.read_bytes())
            is_stale = True
    folder.path.mkdir(parents=True, exist_ok=True)
    if is_stale or not folder.recipe.exists():
        write_json(
            folder.tokens, {"tokens": list(tokens)}
        )  # first: a recipe without it is of an older release
        write_text(folder.recipe, sealed_text(composed.text))


def recipe_fault(folder: RunFolder, composed: Composed) -> str:
    """Why a run's recipe cannot be believed; empty when it can, or is not there.

    One that was cut off has no checksum, as those of older releases; it is believed where it is the recipe's own.
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
    return "it has no checksum and is not the recipe that was given" if is_other and has_checkpoints else ""


def next_free(path: Path) -> Path:
    """The path with the next free number behind it."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return aside


def move_aside(path: Path) -> None:
    """Give a file or folder the next free number, so that its place can be taken."""
    path.rename(next_free(path))


def check_resumable(folder: RunFolder, composed: Composed) -> bool:
    """Whether a run goes on in this folder.

    Raises:
        RecipeError: it holds a run of another recipe, or none to append a segment to; names what is another.
    """
    recipe = composed.recipe
    if not (recipe.is_resumed or recipe.only):
        return False
    if fault := recipe_fault(folder, composed):
        report_unreadable(folder.recipe, f"{fault}; what the checkpoints say of it is compared instead")
        return True
    if not folder.recipe.is_file():
        if recipe.resume == SEGMENT:
            raise RecipeError(
                f"resume={SEGMENT}: {folder.path} holds no run to go on with; name its folder with --out, "
                f"for another mixture is another signature"
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
            f"{composed.signature}: {named} changed; put it back, choose another folder with --out, or, where only "
            f"mixtures of unfinished stages changed, declare it with resume={SEGMENT}"
        )
    return True


def _recipe_in(folder: RunFolder) -> Composed:
    """The recipe of a run as its folder has it, to be compared alone."""
    return kept_recipe(folder.recipe)


def _lasting(composed: Composed) -> dict[str, Any]:
    """Settings of a recipe, less those of one start."""
    return {key: value for key, value in composed.tree.items() if key not in OF_ONE_START}


def note_on_others(composed: Composed, folder: RunFolder, out: Path | None) -> list[str]:
    """A line on runs of the same name where a resume finds none with its settings."""
    if out is not None or folder.path.exists() or not composed.recipe.is_resumed:
        return []
    others = [
        f"{run} ({', '.join(changed[:MOST_CHANGED])}{', ...' if len(changed) > MOST_CHANGED else ''} changed)"
        for run, changed in islice(composed.earlier_runs(), MOST_RUNS)
    ]
    return [f"{folder.path} starts at step 0; other runs of this name: {'; '.join(others)}"] if others else []


def stages_to_run(recipe: Recipe, folder: RunFolder) -> list[str]:
    """The stages this start is for, in order.

    Raises:
        RecipeError: a stage that is not there was asked for.
        CheckpointError: the stage before the first one left no weights.
    """
    names = list(recipe.stages)
    if strangers := [name for name in recipe.only if name not in names]:
        raise RecipeError(f"stages {strangers} are not in recipe {recipe.name!r}; it has {names}")
    chosen = [name for name in names if not recipe.only or name in recipe.only]
    before = names[: names.index(chosen[0])]
    if before and recipe.only and not folder.model(before[-1]).is_dir():
        raise CheckpointError(
            f"stage {chosen[0]!r} starts from what stage {before[-1]!r} left, but {folder.model(before[-1])} is not there; "
            f"run that stage first"
        )
    if before and recipe.only:
        folder.check_model(before[-1])
    return chosen
