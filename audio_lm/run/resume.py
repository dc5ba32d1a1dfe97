"""Resume of a stage: in its data order, or with a segment of another mixture with_segments to that order.

A setting that changes the order is refused by name, unless the change was declared with ``resume=segment``. Even then
only a mixture may change: weights, caps, schedules, added or removed sources. The rows of a source never change; more
data is another source. Every resume reports one of four results: exact, same batches, same order, or refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

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
from audio_lm.common.env import is_main
from audio_lm.common.errors import CheckpointError, DataError, UserError
from audio_lm.common.files import write_json
from audio_lm.config.load import ComposedRecipe, result_settings
from audio_lm.config.renamed_keys import new_key
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import SEGMENT, Recipe, StageConfig
from audio_lm.data.audio.fingerprints import AudioState, describe_changes, digests_of, state_of
from audio_lm.data.manifest.lazy_cuts import LoadedSource, Rows
from audio_lm.data.mixture.schedule import TEMPLATES, Cursor, Segment, differences, segments_of
from audio_lm.data.mixture.segments import SegmentHistory, next_segment_start
from audio_lm.pipeline.plan_stage import (
    StagePlan,
    check_order,
    compile_index,
    digest_of,
    name_of,
    plan_with_history,
    rules_of,
    usable_rows,
)
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.exactness import EXACT, environment_of, promise_of
from audio_lm.run.extendable import extends_another_run, is_continued, may_be_extended
from audio_lm.run.folder import STATUS, RunFolder, recipe_fault

SOURCE = "source "
CHANGED_BY_SEGMENT = ("shares", "window")  # entries of a fingerprint that a segment may change
MOST_NAMED = 6
# Settings that a segment may change; the plan, not the recipe, shows whether one was declared.
MAY_BE_DECLARED = re.compile(r"corpora\.|stages\.[^.]+\.mixture\.")


@dataclass(frozen=True)
class ResumePoint:
    """Point from which a stage is trained: a checkpoint, or its first step."""

    checkpoint: Checkpoint | None
    """None for the first step."""

    status: Mapping[str, Any]
    """Counts and data order up to there."""

    planned: StagePlan
    cursor: Cursor
    declared_segments: list[dict[str, Any]]
    """First step and description of every with_segments segment."""

    message: str
    """For the console."""

    audio: Mapping[str, str]
    """Source -> digest of the state of its audio files; only on the first rank."""


def find_resume_points(
    composed: ComposedRecipe, folder: RunFolder, console: Console
) -> dict[str, Checkpoint]:
    """Newest valid checkpoint of each unfinished stage; a collective. Skipped checkpoints are printed.

    Raises:
        CheckpointError: a stage has checkpoints, but none is valid, or none has a format that this release reads.
    """
    recipe = composed.recipe
    if not recipe.is_resumed:
        return {}
    checkpoints, group = {}, Group()
    is_recipe_lost = any(group.all_gather_object(bool(recipe_fault(folder, composed))))
    for name in recipe.stages:
        if folder.is_finished(name) and not _is_spoilt(folder, name, group, console):
            if is_recipe_lost:
                _check_finished(composed, name, folder)
            continue
        search = find_checkpoint(folder.checkpoints(name), group, content_fault_of)
        if (newest := _newest(search, name, folder, console)) is not None:
            checkpoints[name] = newest
        group.all_gather_object(None)  # no rank reads any more what the first one changes now
        if is_main():
            remove_unfinished(folder.checkpoints(name), search.passed_over)
    return checkpoints


def _newest(search: Search, name: str, folder: RunFolder, console: Console) -> Checkpoint | None:
    for path, fault in search.passed_over:
        console.print(f"{name}: {path.name} is skipped, {fault}", soft_wrap=True)
    if search.found is None and search.passed_over:
        raise CheckpointError(
            f"refused because no checkpoint in {folder.checkpoints(name)} is valid -- restore one, or start the stage "
            f"again with resume=never"
        )
    return search.found


def _check_finished(composed: ComposedRecipe, name: str, folder: RunFolder) -> None:
    """Check with its last checkpoint that a finished stage is of this recipe."""
    newest = newest_valid(folder.checkpoints(name))
    if newest is not None:
        with refusal_prefix():
            _check_same_training(composed, name, newest, progress_of(newest))


def content_fault_of(path: Path, manifest: CheckpointManifest) -> str | None:
    """Fault in the content of a checkpoint of a stage; None if there is none."""
    return content_fault(
        path,
        manifest,
        facts=("stage", "environment"),
        progress=("settings", "cursor", "order", "plan", "declared", "loss_sums"),
    )


def _is_spoilt(folder: RunFolder, name: str, group: Group, console: Console) -> bool:
    """True if the weights of a finished stage are damaged; it is then resumed from its last checkpoint.

    Raises:
        CheckpointError: they are damaged, and there is no valid checkpoint.
    """
    (fault, *_) = group.all_gather_object(folder.model_fault(name) if is_main() else None)
    if fault is None:
        return False
    if find_checkpoint(folder.checkpoints(name), group, content_fault_of).found is None:
        with refusal_prefix():
            folder.check_model(name)
    console.print(f"{name}: {folder.model(name)} is written again, {fault}", soft_wrap=True)
    group.all_gather_object(None)  # no rank reads the status any more
    folder.mark_unfinished(name)
    group.all_gather_object(None)
    return True


@contextmanager
def refusal_prefix() -> Iterator[None]:
    """Context that starts the message of a ``UserError`` with ``refused because``."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"refused because {error}") from error


def resolve_resume(
    composed: ComposedRecipe,
    name: str,
    fresh: StagePlan,
    checkpoint: Checkpoint,
    status: Mapping[str, Any],
    vocabulary: Vocabulary,
) -> ResumePoint:
    """Data order and message with which a stage continues from a checkpoint.

    Args:
        name: of the stage.
        fresh: plan of the recipe as it is now.
        status: content of the stage's ``status.json``.

    Raises:
        CheckpointError: the checkpoint is of another stage or another recipe; names the changed settings.
        DataError: other clips would follow than were planned or declared; names what changed.
    """
    recipe = composed.recipe
    progress = progress_of(checkpoint)
    _check_same_training(composed, name, checkpoint, progress)
    status = progress | _declared_since(checkpoint, status)
    cursor = Cursor(*progress["cursor"])
    known, now = _with_current_digests(status["order"], fresh), dict(fresh.fingerprint)
    declared = list(status["declared"])
    if not any(key.startswith(TEMPLATES) for key in known):  # an order of an earlier release has no templates
        now = {key: value for key, value in now.items() if not key.startswith(TEMPLATES)}
    is_changed, is_extension = known != now, extends_another_run(composed, progress)
    if recipe.resume == SEGMENT or is_extension:
        known, now = _fixed_entries(known, now), _fixed_entries(now, known)
    check_order(known, now, stage=name)
    history, before = _plan_before(recipe, name, fresh, SegmentHistory.from_json(status["plan"]), vocabulary)
    audio = audio_states(before.loaded)
    saved = progress.get("audio")
    changed_audio = describe_changes(saved if isinstance(saved, dict) else None, audio) if is_main() else ""
    promise = promise_of(checkpoint.manifest.facts["environment"], environment_of(recipe), changed_audio)
    if is_extension and is_continued(history, fresh.history, cursor):  # only the number of steps differs
        is_changed, before = False, fresh
    is_online = recipe.stages[name].mixture.online is not None
    if not is_changed:
        if is_online and not promise.startswith(EXACT):
            promise += "; shares that are not decided yet follow from these losses, and may differ"
        message = f"{name}: continues from step {cursor.step}, {promise}"
        return ResumePoint(checkpoint, status, before, cursor, declared, message, digests_of(audio))
    if is_online:
        raise DataError(
            f"the mixture of stage {name!r} changed, whose shares are adapted (mixture.online) -- a segment of another mixture "
            f"is for stages with set shares -- undo the change, or train a new stage from its weights with start_from"
        )
    segment, planned = _with_new_segments(recipe, name, fresh, before, cursor, vocabulary)
    message = f"{name}: continues from step {cursor.step}; from step {segment['step']} on {segment['what']}"
    message += f"; until there {promise}"
    declared = [*(earlier for earlier in declared if earlier["step"] < segment["step"]), segment]
    return ResumePoint(
        checkpoint, status, planned, cursor, declared, message, digests_of(audio_states(planned.loaded))
    )


def _with_new_segments(
    recipe: Recipe, name: str, fresh: StagePlan, before: StagePlan, cursor: Cursor, vocabulary: Vocabulary
) -> tuple[dict[str, Any], StagePlan]:
    """The declared segment, and the plan with the segments of the recipe from the next window on.

    Raises:
        DataError: the stage ends before the next window.
    """
    stage, history = recipe.stages[name], before.history
    begin = next_segment_start(before.plan, cursor, fresh.history.names, history)
    if begin.step >= stage.steps:
        raise DataError(
            f"stage {name!r} ends at step {stage.steps}, and packs are already planned up to step {begin.step}, so the "
            f"changed mixture would never be used; undo the change, and resume with resume=auto"
        )
    rules = rules_of(stage)
    segments, end = segments_of(stage.mixture, fresh.leaves, rules, steps=stage.steps, start=begin)
    longer = history.with_segments(fresh.history.names, fresh.history.digests, segments, num_positions=end)
    difference = _difference(longer, history.segment_at(begin.position - 1), segments[0].position)
    planned = _plan_of_history(recipe, stage, fresh, longer, vocabulary)
    return {"step": begin.step, "what": difference}, planned


def _plan_before(
    recipe: Recipe, name: str, fresh: StagePlan, saved: SegmentHistory, vocabulary: Vocabulary
) -> tuple[SegmentHistory, StagePlan]:
    """Saved history and its plan, with digests of this release.

    Raises:
        DataError: rows of the history have changed; names their source.
    """
    plan = _plan_of_history(recipe, recipe.stages[name], fresh, saved, vocabulary)
    history = replace(saved, digests=tuple(map(_current_digest, saved.digests, plan.loaded)))
    check_order(
        {SOURCE + name: digest for name, digest in zip(history.names, history.digests, strict=True)},
        {SOURCE + name_of(source): digest_of(source) for source in plan.loaded},
        stage=name,
    )
    return history, replace(plan, history=history)


def audio_states(loaded: Sequence[LoadedSource]) -> dict[str, AudioState]:
    """State of the audio files of every source; empty on all ranks but the first."""
    folders = {source.source: source.rows.index.folder for source in loaded if is_main()}
    return {source: state_of(folder) for source, folder in folders.items()}


def settings_of_run(composed: ComposedRecipe) -> dict[str, Any]:
    """Settings that decide the result and that no segment can change, as a flat dict."""
    settings = result_settings(composed.tree)
    return {key: value for key, value in settings.items() if not MAY_BE_DECLARED.match(key)}


def _check_same_training(
    composed: ComposedRecipe, name: str, checkpoint: Checkpoint, progress: Mapping[str, Any]
) -> None:
    facts = checkpoint.manifest.facts
    if facts["stage"] != name:
        raise CheckpointError(
            f"{checkpoint.path} is of stage {facts['stage']!r} and not {name!r} -- expected a checkpoint of the same "
            f"stage -- remove the checkpoint"
        )
    settings = {new_key(key): value for key, value in progress["settings"].items()}
    before = {key: value for key, value in settings.items() if affects_result(key)}
    changed = differences(before, settings_of_run(composed))
    if extends_another_run(composed, progress):
        changed = [key for key in changed if not may_be_extended(key, name)]
    if changed:
        named = ", ".join(changed[:MOST_NAMED]) + (", ..." if len(changed) > MOST_NAMED else "")
        raise CheckpointError(
            f"{checkpoint.path} is of another recipe: {named} changed -- undo the change, or choose another folder with --out"
        )


def _declared_since(checkpoint: Checkpoint, status: Mapping[str, Any]) -> dict[str, Any]:
    """Data order of ``status.json``, if a segment was declared after the checkpoint was written."""
    if any(segment["step"] >= checkpoint.step for segment in status.get("declared", ())):
        return {key: status[key] for key in ("order", "plan", "declared")}
    return {}


def save_declared_segments(
    folder: Path, status: Mapping[str, Any], planned: StagePlan, declared: Sequence[Any]
) -> None:
    """Save declared segments to ``status.json``, before any of their packs is trained on."""
    write_json(folder / STATUS, {**status, **order_of(planned, declared)})


def order_of(planned: StagePlan, declared: Sequence[Any]) -> dict[str, Any]:
    """Data order of a stage as ``status.json`` and checkpoints store it."""
    return {"order": planned.fingerprint, "plan": planned.history.as_json(), "declared": [*declared]}


def _with_current_digests(known: Mapping[str, str], planned: StagePlan) -> dict[str, str]:
    """Fingerprint with the digests of this release for sources whose rows are unchanged."""
    sources = {SOURCE + name_of(source): source for source in planned.loaded}
    return {
        key: _current_digest(value, sources[key]) if key in sources else value for key, value in known.items()
    }


def _current_digest(saved: str, source: LoadedSource) -> str:
    """Digest of a source if the saved one is that of an earlier release for the same rows; else the saved one."""
    is_same = saved and source.all_rows is None and source.rows.index.digest_of_file.startswith(saved)
    return digest_of(source) if is_same else saved


def _fixed_entries(fingerprint: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Entries of a fingerprint that a segment may not change."""
    return {
        key: value
        for key, value in fingerprint.items()
        if key not in CHANGED_BY_SEGMENT and (not key.startswith((SOURCE, TEMPLATES)) or key in other)
    }


def _plan_of_history(
    recipe: Recipe, stage: StageConfig, fresh: StagePlan, history: SegmentHistory, vocabulary: Vocabulary
) -> StagePlan:
    """Plan of a history; sources that the mixture no longer has are loaded from disk."""
    known = {
        name_of(source): (source, lengths)
        for source, lengths in zip(fresh.loaded, fresh.lengths, strict=True)
    }
    sources = [
        known.get(name) or usable_rows(recipe, stage, _removed_source(recipe, stage, name), vocabulary)
        for name in history.names
    ]
    return plan_with_history(recipe, stage, sources, fresh.fingerprint, history)


def _removed_source(recipe: Recipe, stage: StageConfig, name: str) -> LoadedSource:
    task, _, source = name.partition(" ")
    return LoadedSource(task, source, Rows(compile_index(recipe, stage, source)))


def _difference(history: SegmentHistory, before: Segment, position: int) -> str:
    """Shares of clips before and after, for sources whose share changes."""
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
    return ", ".join(islice(changed, MOST_NAMED)) + more if changed else "the schedule differs"
