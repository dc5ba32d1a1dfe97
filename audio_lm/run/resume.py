"""A stage goes on where it stopped: in the order that was begun, or with a segment that was declared since.

What changes an order is refused by name unless it was declared, and even then
only a mixture may change: weights, caps, schedules, sources that come or go.
Rows that were heard stay as they were; more data is a source of its own. What is
said always begins with one of four words: exact, same batches, same order, or refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from audio_lm.checkpoints.discovery import (
    Checkpoint,
    Search,
    find_checkpoint,
    newest_valid,
    remove_unfinished,
)
from audio_lm.checkpoints.manifest import CheckpointManifest
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.state import content_fault, progress_of
from audio_lm.common.errors import CheckpointError, DataError, UserError
from audio_lm.common.files import write_json
from audio_lm.common.runtime import is_main, world_size
from audio_lm.config.load import Composed, deciding_settings
from audio_lm.config.renamed_keys import new_key
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import SEGMENT, Recipe, StageConfig
from audio_lm.data.audio.fingerprints import AudioState, compared, digests_of, state_of
from audio_lm.data.manifest.lazy_cuts import LoadedSource, Rows
from audio_lm.data.mixture.schedule import TEMPLATES, Cursor, Segment, differences, segments_of
from audio_lm.data.mixture.segments import History, next_begin
from audio_lm.pipeline.plan_stage import (
    StagePlan,
    check_order,
    compiled,
    digest_of,
    filter_by_length,
    name_of,
    plan_with_history,
    rules_of,
)
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.folder import STATUS, RunFolder, recipe_fault

SOURCE = "source "
FREE = ("shares", "window")  # of a fingerprint, what a segment may change
MOST_NAMED = 6
SUMMED_OTHERWISE = {
    "ranks",
    "sharding",
    "frozen",
}  # of an environment, what changes the order of sums and no more
MAY_BE_DECLARED = re.compile(r"corpora\.|stages\.[^.]+\.mixture\.")  # of a recipe; plans say whether it was


@dataclass(frozen=True)
class ResumePoint:
    """How a stage goes on, or begins."""

    checkpoint: Checkpoint | None
    """None where it begins."""

    status: Mapping[str, Any]
    """What was counted up to there."""

    planned: StagePlan
    cursor: Cursor
    declared_segments: list[dict[str, Any]]
    """Step and words of every segment that was appended."""

    message: str
    """For the console."""

    audio: Mapping[str, str]
    """What the audio files of every source are like, as far as this rank looks."""


def find_resume_points(composed: Composed, folder: RunFolder, console: Console) -> dict[str, Checkpoint]:
    """The checkpoints that stages go on from; all ranks look at them together, and say which they passed over.

    Raises:
        CheckpointError: a stage has checkpoints and none of them holds, or none that this program reads.
    """
    recipe = composed.recipe
    if not recipe.is_resumed:
        return {}
    found, group = {}, Group()
    is_recipe_lost = any(group.all_gather_object(bool(recipe_fault(folder, composed))))
    for name in recipe.stages:
        if folder.is_finished(name) and not _is_spoilt(folder, name, group, console):
            if is_recipe_lost:
                _check_finished(composed, name, folder)
            continue
        one = find_checkpoint(folder.checkpoints(name), group, _content_fault)
        if (last := _newest(one, name, folder, console)) is not None:
            found[name] = last
        group.all_gather_object(None)  # nobody looks any more at what the first rank changes now
        if is_main():
            remove_unfinished(folder.checkpoints(name), one.passed_over)
    return found


def _newest(one: Search, name: str, folder: RunFolder, console: Console) -> Checkpoint | None:
    for path, why in one.passed_over:
        console.print(f"{name}: {path.name} is passed over, {why}", soft_wrap=True)
    if one.found is None and one.passed_over:
        raise CheckpointError(
            f"refused because no checkpoint in {folder.checkpoints(name)} holds -- put one back, or begin the stage "
            f"anew with resume=never"
        )
    return one.found


def _check_finished(composed: Composed, name: str, folder: RunFolder) -> None:
    """Refuse to take a stage of another recipe for one that has ended, as its last checkpoint knows."""
    last = newest_valid(folder.checkpoints(name))
    if last is not None:
        with refusal_prefix():
            _check_same_training(composed, name, last, progress_of(last))


def _content_fault(path: Path, manifest: CheckpointManifest) -> str | None:
    return content_fault(
        path,
        manifest,
        facts=("stage", "environment"),
        progress=("settings", "cursor", "order", "plan", "declared", "loss_sums"),
    )


def _is_spoilt(folder: RunFolder, name: str, group: Group, console: Console) -> bool:
    """Whether the weights of a stage that has ended are not those it left; its last checkpoint then writes them again.

    Raises:
        CheckpointError: they are not, and there is no checkpoint.
    """
    (fault, *_) = group.all_gather_object(folder.model_fault(name) if is_main() else None)
    if fault is None:
        return False
    if find_checkpoint(folder.checkpoints(name), group, _content_fault).found is None:
        with refusal_prefix():
            folder.check_model(name)
    console.print(f"{name}: {folder.model(name)} is written again, {fault}", soft_wrap=True)
    group.all_gather_object(None)  # nobody looks any more
    folder.mark_unfinished(name)
    group.all_gather_object(None)
    return True


@contextmanager
def refusal_prefix() -> Iterator[None]:
    """What is wrong with going on is said as a refusal."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"refused because {error}") from error


def resolve_resume(
    composed: Composed,
    name: str,
    fresh: StagePlan,
    checkpoint: Checkpoint,
    left: Mapping[str, Any],
    vocabulary: Vocabulary,
) -> ResumePoint:
    """The plan that a stage goes on with.

    Args:
        name: of the stage.
        fresh: what the recipe would begin with now.
        left: the stage's ``status.json``.

    Raises:
        CheckpointError: the checkpoint is of another stage or another recipe; names what is another.
        DataError: other clips would follow than were begun with or declared; names what changed.
    """
    recipe = composed.recipe
    progress = progress_of(checkpoint)
    _check_same_training(composed, name, checkpoint, progress)
    status = progress | _declared_since(checkpoint, left)
    stage, cursor = recipe.stages[name], Cursor(*progress["cursor"])
    known, now, declared = _renamed(status["order"], fresh), dict(fresh.fingerprint), list(status["declared"])
    if not any(key.startswith(TEMPLATES) for key in known):  # an order of old, which does not say
        now = {key: value for key, value in now.items() if not key.startswith(TEMPLATES)}
    is_changed = known != now
    if recipe.resume == SEGMENT:
        known, now = _undeclarable(known, now), _undeclarable(now, known)
    check_order(known, now, stage=name)
    history, before = _before(recipe, name, fresh, History.of_json(status["plan"]), vocabulary)
    audio = audio_states(before.loaded)
    kept = progress.get("audio")
    unlike = compared(kept if isinstance(kept, dict) else None, audio) if is_main() else ""
    how = _how_equal(checkpoint.manifest.facts["environment"], environment_of(recipe), unlike)
    if not is_changed:
        message = f"{name}: continues from step {cursor.step}, {how}"
        return ResumePoint(checkpoint, status, before, cursor, declared, message, digests_of(audio))
    begin = next_begin(before.plan, cursor, fresh.history.names, history)
    if begin.step >= stage.steps:
        raise DataError(
            f"stage {name!r} ends at step {stage.steps}, and packs are dealt up to step {begin.step}; "
            f"what has changed would never be heard: put it back, and go on with resume=auto"
        )
    rules = rules_of(stage)
    segments, end = segments_of(stage.mixture, fresh.leaves, rules, steps=stage.steps, begin=begin)
    longer = history.appended(fresh.history.names, fresh.history.digests, segments, num_positions=end)
    what = _difference(longer, history.segment_at(begin.position - 1), segments[0].position)
    message = (
        f"{name}: continues from step {cursor.step}; from step {begin.step} on {what}; until there {how}"
    )
    declared = [*(one for one in declared if one["step"] < begin.step), {"step": begin.step, "what": what}]
    along = _along(recipe, stage, fresh, longer, vocabulary)
    return ResumePoint(
        checkpoint, status, along, cursor, declared, message, digests_of(audio_states(along.loaded))
    )


def _before(
    recipe: Recipe, name: str, fresh: StagePlan, kept: History, vocabulary: Vocabulary
) -> tuple[History, StagePlan]:
    """A history and its plan, with the digests of this release.

    Raises:
        DataError: rows of the history have changed; names their source.
    """
    plan = _along(recipe, recipe.stages[name], fresh, kept, vocabulary)
    history = replace(kept, digests=tuple(map(_same_rows, kept.digests, plan.loaded)))
    check_order(
        {SOURCE + leaf: digest for leaf, digest in zip(history.names, history.digests, strict=True)},
        {SOURCE + name_of(leaf): digest_of(leaf) for leaf in plan.loaded},
        stage=name,
    )
    return history, replace(plan, history=history)


def audio_states(loaded: Sequence[LoadedSource]) -> dict[str, AudioState]:
    """What the audio files of every source are like now; the first rank looks."""
    folders = {leaf.source: leaf.rows.index.folder for leaf in loaded if is_main()}
    return {source: state_of(folder) for source, folder in folders.items()}


def settings_of_run(composed: Composed) -> dict[str, Any]:
    """What decides the result and no segment can change, flat."""
    settings = deciding_settings(composed.tree)
    return {key: value for key, value in settings.items() if not MAY_BE_DECLARED.match(key)}


def _check_same_training(
    composed: Composed, name: str, checkpoint: Checkpoint, progress: Mapping[str, Any]
) -> None:
    facts = checkpoint.manifest.facts
    if facts["stage"] != name:
        raise CheckpointError(
            f"{checkpoint.path} is of stage {facts['stage']!r} and not {name!r} -- a stage goes on with its own, and begins "
            f"with the weights of the one before it -- take the checkpoint away"
        )
    settings = {new_key(key): value for key, value in progress["settings"].items()}
    before = {key: value for key, value in settings.items() if affects_result(key)}
    if changed := differences(before, settings_of_run(composed)):
        named = ", ".join(changed[:MOST_NAMED]) + (", ..." if len(changed) > MOST_NAMED else "")
        raise CheckpointError(
            f"{checkpoint.path} is of another recipe: {named} changed -- put it back, or choose another folder with --out"
        )


def _declared_since(checkpoint: Checkpoint, left: Mapping[str, Any]) -> dict[str, Any]:
    """The order as it was declared after a checkpoint and before the next one."""
    if any(one["step"] >= checkpoint.step for one in left.get("declared", ())):
        return {key: left[key] for key in ("order", "plan", "declared")}
    return {}


def environment_of(recipe: Recipe) -> dict[str, str]:
    """What the last bit of a sum depends on, beside the recipe."""
    hardware = asdict(recipe.hardware)
    threads = hardware.pop("num_threads") or torch.get_num_threads()
    settings = {
        key: str(value) for key, value in hardware.items() if key not in ("devices", "nodes", "num_workers")
    }
    settings["precision"] = "bf16" if recipe.hardware.is_half else "32"
    is_gpu = recipe.hardware.accelerator == "gpu" and torch.cuda.is_available()
    device = torch.cuda.get_device_name() if is_gpu else torch.backends.cpu.get_cpu_capability()
    repeats = not is_gpu or torch.are_deterministic_algorithms_enabled()
    return {
        **settings,
        "ranks": str(world_size()),
        "threads": str(threads),
        "torch": torch.__version__,
        "device": device,
        "deterministic": str(repeats),
    }


def _how_equal(before: Mapping[str, str], now: Mapping[str, str], unlike: str) -> str:
    """What can be promised: exact, the same batches, or the same order, and why no more.

    Args:
        unlike: what may have changed in the audio files; empty when nothing has.
    """
    changed = [f"{key} was {before.get(key)} and is {now.get(key)}" for key in differences(before, now)]
    if unlike:
        return f"same order; {', '.join([unlike, *changed])}"
    if not changed and now["deterministic"] == "True":
        return "exact: the same packs follow, and bit for bit the same losses"
    why = ", ".join(changed) or "algorithms are not deterministic"
    is_close = set(differences(before, now)) <= SUMMED_OTHERWISE and now["precision"] == "32"
    losses = (
        "losses equal to about 1e-6, not bit for bit" if is_close else "losses are not the same bit for bit"
    )
    return f"same batches: the same packs follow; {losses}, for {why}"


def save_declared_segments(
    folder: Path, status: Mapping[str, Any], planned: StagePlan, declared: Sequence[Any]
) -> None:
    """Write a segment down before anything of it is heard."""
    write_json(folder / STATUS, {**status, **order_of(planned, declared)})


def order_of(planned: StagePlan, declared: Sequence[Any]) -> dict[str, Any]:
    """What ``status.json`` says of a stage's order."""
    return {"order": planned.fingerprint, "plan": planned.history.as_json(), "declared": [*declared]}


def _renamed(known: Mapping[str, str], planned: StagePlan) -> dict[str, str]:
    """A fingerprint whose sources have the digests of this release where their rows are the same."""
    leaf_of = {SOURCE + name_of(leaf): leaf for leaf in planned.loaded}
    return {key: _same_rows(value, leaf_of[key]) if key in leaf_of else value for key, value in known.items()}


def _same_rows(saved: str, leaf: LoadedSource) -> str:
    """The digest of a leaf where the saved one is that of an earlier release for the same rows."""
    return digest_of(leaf) if saved and leaf.rows.index.digest_of_file.startswith(saved) else saved


def _undeclarable(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Of a fingerprint what a segment may not change."""
    return {
        key: value
        for key, value in one.items()
        if key not in FREE and (not key.startswith((SOURCE, TEMPLATES)) or key in other)
    }


def _along(
    recipe: Recipe, stage: StageConfig, fresh: StagePlan, history: History, vocabulary: Vocabulary
) -> StagePlan:
    """The plan of a history, its leaves found in the recipe or, when they are heard no more, on disk."""
    there = {
        name_of(leaf): (leaf, lengths) for leaf, lengths in zip(fresh.loaded, fresh.lengths, strict=True)
    }
    fitting = [
        there.get(name) or filter_by_length(recipe, stage, _left_out(recipe, stage, name), vocabulary)
        for name in history.names
    ]
    return plan_with_history(recipe, stage, fitting, fresh.fingerprint, history)


def _left_out(recipe: Recipe, stage: StageConfig, name: str) -> LoadedSource:
    task, _, source = name.partition(" ")
    return LoadedSource(task, source, Rows(compiled(recipe, stage, source)))


def _difference(history: History, before: Segment, position: int) -> str:
    """Shares of the clips before and after, of the leaves whose share is another."""
    after = history.segment_at(position)
    shares_before = [share / sum(before.shares) for share in before.shares]
    shares_before += [0.0] * (len(after.shares) - len(shares_before))
    shares_after = [share / sum(after.shares) for share in after.shares]
    changed = [
        f"{name} {100 * old:.1f} -> {100 * new:.1f} %"
        for name, old, new in zip(history.names, shares_before, shares_after, strict=True)
        if abs(old - new) >= 0.0005
    ]
    more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
    return ", ".join(islice(changed, MOST_NAMED)) + more if changed else "the schedule is another"
