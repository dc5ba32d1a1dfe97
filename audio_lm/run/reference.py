"""Log-probabilities of the pairs of a stage under its reference: the model with the weights that the stage starts from.

They are computed once, before the first step, by the code of the training step, and kept in ``reference/`` of the stage under
a fingerprint of weights, data and prompts. A start that was killed continues with the chunks that are missing.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from audio_lm.checkpoints.state import frozen_digests
from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import is_main, local_rank, rank, world_size
from audio_lm.common.errors import DataError
from audio_lm.common.progress import progress
from audio_lm.config.schema import Recipe
from audio_lm.data.datamodule import MixtureDataModule, packs_of
from audio_lm.data.reference import UNREADABLE, Chunk, ReferenceTable, Values, chunks_of
from audio_lm.model.audio_lm import AudioLM
from audio_lm.pipeline.stage_pairs import StagePairs
from audio_lm.run.resume import ResumePoint
from audio_lm.run.session import RunSession
from audio_lm.training.config import HardwareConfig
from audio_lm.training.distributed import all_gather_object
from audio_lm.training.dpo import document_log_probabilities
from audio_lm.training.fsdp import reshard

VERSION = 1  # incremented when the same weights and pairs give other values
FOLDER = "reference"
TIMED_PAIRS = 64
NOT_OF_PAIRS = frozenset(
    {"seed", "packs_per_step", "pack_tokens", "global_batch", "window", "packing", "shares"}
)
"""Entries of the fingerprint of a schedule on which no log-probability depends."""


def reference_table(
    model: AudioLM,
    recipe: Recipe,
    stage: str,
    data: MixtureDataModule,
    point: ResumePoint,
    *,
    folder: Path,
    session: RunSession,
) -> ReferenceTable:
    """Read the log-probabilities of all pairs of a stage, and compute those that are missing; a collective.

    Args:
        model: with the weights that the stage starts from.
        folder: of the stage.

    Raises:
        RunEndedError: a signal stopped it; what is computed is kept.
    """
    pairs, chunks = _pairs_of(recipe, stage, data)
    place = folder / FOLDER / _fingerprint(model, recipe, point, pairs)
    missing = [number for number, chunk in enumerate(chunks) if chunk.read(place) is None]
    missing = all_gather_object(missing)[0]  # the first rank writes them
    total = sum(len(chunks[number].codes) for number in missing)
    if missing:
        session.print(f"{stage}: computing the log-probabilities of {total} pairs under the reference")
    shown = progress(f"{stage}: reference", total=total, what="pairs", min_total=1)
    with session.evaluating(is_collective=True), _inference(model, recipe.hardware), shown as advance:
        for number in session.until_stopped(missing, is_collective=True):
            values = _compute(model, pairs, chunks[number], recipe.hardware)
            if is_main():
                session.check_lease()
                chunks[number].write(place, values)
            advance(len(chunks[number].codes))
    session.wait()
    return ReferenceTable(chunks, [_read(chunk, place) for chunk in chunks])


def time_of_reference(model: AudioLM, recipe: Recipe, stage: str, data: MixtureDataModule) -> Seconds:
    """Time of the table of a stage, from that of its first pairs; a collective."""
    pairs, chunks = _pairs_of(recipe, stage, data)
    if not chunks:
        return 0.0
    first = chunks[0]._replace(codes=chunks[0].codes[:TIMED_PAIRS])
    with _inference(model, recipe.hardware):
        _compute(model, pairs, first, recipe.hardware)  # opens files and allocates memory
        before = time.monotonic()
        _compute(model, pairs, first, recipe.hardware)
    return (time.monotonic() - before) / len(first.codes) * sum(len(chunk.codes) for chunk in chunks)


def _pairs_of(recipe: Recipe, stage: str, data: MixtureDataModule) -> tuple[StagePairs, list[Chunk]]:
    """Pairs of a stage, and the chunks in which they are computed."""
    config = recipe.stages[stage]
    pairs = StagePairs(data, max_tokens=config.pack_tokens)
    steps = None if config.mixture.online else config.steps
    return pairs, [chunk for name, codes in pairs.codes(steps) for chunk in chunks_of(name, codes)]


def _read(chunk: Chunk, place: Path) -> Values:
    values = chunk.read(place)
    if values is None:
        raise DataError(
            f"{chunk.path(place)} cannot be read -- expected the log-probabilities that the first rank has just written -- "
            f"put the run folder on a file system that all nodes share"
        )
    return values


def _fingerprint(model: AudioLM, recipe: Recipe, point: ResumePoint, pairs: StagePairs) -> str:
    """Digest of everything that the values depend on; a collective."""
    plan = {key: value for key, value in point.planned.fingerprint.items() if key not in NOT_OF_PAIRS}
    known = {
        "version": VERSION,
        "weights": frozen_digests(model, ()),
        "plan": plan,
        "audio": dict(point.audio),
        "validation": pairs.validation_digest,
        "is_half": recipe.hardware.is_half,
    }
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    return all_gather_object(digest)[0]  # the first rank alone knows the audio files


def _compute(model: AudioLM, pairs: StagePairs, chunk: Chunk, hardware: HardwareConfig) -> Values:
    """Log-probabilities (P, 2) of a chunk, each rank those of its packs; the packs do not depend on the ranks."""
    packs = list(packs_of(pairs.cuts(chunk), max_tokens=pairs.max_tokens))
    shard, num_shards = rank() // hardware.tensor_parallel, world_size() // hardware.tensor_parallel
    own = dict[int, Values]()
    for first in range(0, len(packs), num_shards):
        # All ranks compute equally often, because those of a sharded model gather its weights together.
        number = min(first + shard, len(packs) - 1)
        pack = pairs.collator(packs[number]).to(model.new_tokens.input.device)
        values = document_log_probabilities(model, pack).reshape(-1, 2).cpu().numpy()
        faulty = {cut_id for cut_id, *_ in pack.faults}
        values[[cut_id in faulty for cut_id in pack.cut_ids]] = UNREADABLE  # such a pair is not learned
        own[number] = values
    reshard(model)
    of_pack = {
        number: values
        for of_rank in all_gather_object(own, tensor_parallel=hardware.tensor_parallel)
        for number, values in of_rank.items()
    }
    return np.concatenate([of_pack[number] for number in range(len(packs))])


@contextmanager
def _inference(model: AudioLM, hardware: HardwareConfig) -> Iterator[None]:
    """Context of the reference: on the device and in the precision of the training, without dropout."""
    on_gpu = hardware.accelerator == "gpu"
    if on_gpu and hardware.sharding == "none":
        model.to(torch.device("cuda", local_rank()))
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    half = torch.autocast("cuda" if on_gpu else "cpu", torch.bfloat16, enabled=hardware.is_half)
    try:
        with half:
            yield
    finally:
        for module in was_training:
            module.training = True
