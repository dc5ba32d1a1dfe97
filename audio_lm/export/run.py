"""Export a stage of a run: as a whole model, or as a LoRA adapter of the model that it started from.

The folder is written next to its final place and then moved there. Everything that can be wrong is found before.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from audio_lm.common.errors import UserError, unknown
from audio_lm.common.protocols import Report
from audio_lm.config.schema import Recipe
from audio_lm.export import adapter, card, script
from audio_lm.export.hugging_face import MAX_SHARD_BYTES, check_free, export_model, new_folder
from audio_lm.export.trained import trained_tasks
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.folder import RunFolder, check_writable
from audio_lm.run.load_model import choose_stage
from audio_lm.run.open import kept_vocabulary, load_mid_stage, open_run

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)B?", flags=re.IGNORECASE)
FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SMALLEST_SHARD = 10**6


@dataclass(frozen=True)
class ExportSettings:
    """Options of an export."""

    stage: str | None = None
    """Stage to export; None takes the last one with weights."""

    step: int | None = None
    """Step of a checkpoint of the stage; None takes the weights at its end."""

    dtype: str = "float32"
    """Precision of the weights; one of ``DTYPES``."""

    max_shard_bytes: int = MAX_SHARD_BYTES
    """Maximum size of a weight file; a larger tensor gets its own file."""

    is_adapter: bool = False
    """Write only the low-rank updates, as an adapter of peft."""

    overwrite: bool = False
    """Replace an earlier export."""

    def __post_init__(self) -> None:
        """Reject an unknown precision and a setting without effect."""
        if self.dtype not in DTYPES:
            raise UserError(unknown("dtype", self.dtype, DTYPES, see="audio-lm export --help"))
        if self.is_adapter and self.max_shard_bytes != MAX_SHARD_BYTES:
            raise UserError(
                "--shard-size has no effect with --adapter, which writes one file; leave one of them out"
            )


def bytes_of(size: str) -> int:
    """Number of bytes of a size such as ``5GB``.

    Raises:
        UserError: it is no size, or below 1 MB.

    >>> bytes_of("5GB"), bytes_of("1.5 mb")
    (5000000000, 1500000)
    """
    match = SIZE.fullmatch(size.strip())
    count = round(float(match[1]) * FACTORS[match[2].upper()]) if match else 0
    if count < SMALLEST_SHARD:
        raise UserError(f"--shard-size {size!r} is no size of 1 MB or more; write it as 5GB or 500MB")
    return count


def export_run(
    run: Path,
    folder: Path,
    settings: ExportSettings | None = None,
    *,
    commands: Collection[str] = (),
    trusts_code: bool = False,
    report: Report = print,
) -> None:
    """Export the model of a stage of a run.

    Args:
        commands: of the command line, which the README of the folder may mention.
        trusts_code: see ``load_recipe``.

    Raises:
        UserError: there is no such run or stage, the folder is in use, or the format has no place for the model.
    """
    settings = settings or ExportSettings()
    recipe, run_folder = open_run(run, trusts_code=trusts_code)
    chosen = _choose_stage(recipe, run_folder, settings)
    check_free(folder, overwrite=settings.overwrite)
    check_writable(RunFolder(folder))
    vocabulary = kept_vocabulary(recipe, run_folder)
    if settings.is_adapter:
        adapter.check_recipe(recipe, vocabulary)
    model = build_audio_lm(recipe, vocabulary)
    if settings.step is None:
        run_folder.check_model(chosen)
        load_weights(model, run_folder.model(chosen))
    else:
        load_mid_stage(model, recipe, run_folder, chosen, settings.step)
    facts = card.read_facts(recipe, run_folder, chosen, step=settings.step, commands=commands)
    kind = _write(model, vocabulary, folder, settings, facts)
    when = "" if settings.step is None else f", step {settings.step}"
    report(f"{folder}: stage {chosen!r}{when} of {run} as {kind}, {settings.dtype}")


def describe_export(run: Path, folder: Path, settings: ExportSettings, *, trusts_code: bool = False) -> str:
    """Sentence about the folder that ``export_run`` would write; the weights are not read.

    Raises:
        UserError: there is no such run or stage, or the folder is in use.
    """
    recipe, run_folder = open_run(run, trusts_code=trusts_code)
    chosen = _choose_stage(recipe, run_folder, settings)
    check_free(folder, overwrite=settings.overwrite)
    kind = "a LoRA adapter" if settings.is_adapter else "a Qwen2-Audio"
    return f"would write {folder}: stage {chosen!r} of {run} as {kind}, {settings.dtype}"


def _choose_stage(recipe: Recipe, folder: RunFolder, settings: ExportSettings) -> str:
    stage, step = settings.stage, settings.step
    if step is not None:
        if stage is None or stage not in recipe.stages:
            remedy = (
                "name it with --stage"
                if stage is None
                else unknown("stage", stage, recipe.stages, see="the recipe")
            )
            raise UserError(f"step {step} needs the name of its stage; {remedy}")
        return stage
    return choose_stage(recipe, folder, stage)


def _write(
    model: AudioLM, vocabulary: Vocabulary, folder: Path, settings: ExportSettings, facts: card.Facts
) -> str:
    """Write the folder; returns the kind of model in it, for a message."""
    tasks = trained_tasks(facts.recipe, facts.stage)
    documents = {"README.md": card.readme(facts, tasks, is_adapter=settings.is_adapter)}
    if settings.is_adapter:
        updates = adapter.updates(model, facts.recipe, DTYPES[settings.dtype])
        with new_folder(folder, documents) as partial:
            adapter.write(updates, facts.recipe, partial)
        return f"a LoRA adapter of {facts.recipe.model.load}"
    documents[script.NAME] = script.run_script(tasks, languages=facts.languages)
    export_model(
        model,
        vocabulary,
        folder,
        dtype=DTYPES[settings.dtype],
        prompt=facts.recipe.stages[facts.stage].prompt,
        max_shard_bytes=settings.max_shard_bytes,
        overwrite=settings.overwrite,
        documents=documents,
    )
    return f"a Qwen2-Audio, {len(vocabulary)} tokens"
