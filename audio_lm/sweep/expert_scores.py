"""Scores of experts mixed by shares: a table of many mixtures for the cost of one run per task.

An expert is a trial on one task or group alone; all trials start from the same weights. ``sweep fit --features`` takes the
table as one more input of its regressions, see ``experts``.

Shapes: N mixtures, K experts, T learned tokens of a task, P learned positions of a pack.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.progress import progress
from audio_lm.common.rng import random_for
from audio_lm.model.weights.average import load_average
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.data import build_data
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.pipeline.plan_stage import compile_stage, plan_stage
from audio_lm.run.folder import RunFolder
from audio_lm.run.open import kept_vocabulary, open_run
from audio_lm.sweep.checks import VAL_LOSS
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.experts import MixedProbabilities
from audio_lm.sweep.ledger import Ledger, TrialState
from audio_lm.sweep.results import table_of
from audio_lm.sweep.simplex import sample_within
from audio_lm.sweep.table import Floats, TrialTable
from audio_lm.sweep.trial import Trial
from audio_lm.training.losses import TaskLoss, sums_by_task

EXPERTS = "experts"
"""Folder of the table, in the folder of the sweep."""

Average = Literal["weights", "probabilities"]


def add_experts(ledger: Ledger, sweep: Sweep) -> list[Trial]:
    """Add a trial on each varied task or group alone; those in the ledger are kept.

    Raises:
        DataError: the sweep varies no shares, or watches no validation loss.
    """
    if sweep.shares is None:
        raise DataError(
            f"sweep {sweep.name} varies no shares -- expected a simplex of tasks or groups to mix experts by"
        )
    if not _watched(ledger):
        raise DataError(
            f"sweep {sweep.name} watches {sorted(ledger.facts.metrics)} -- expected {VAL_LOSS}/<task> among them, by which "
            f"mixed experts are scored -- add it to `metrics` of the sweep file"
        )
    names = sweep.shares.names
    with ledger.adding() as (state, chosen):
        present = {one.trial.overrides for one in state.trials.values() if one.trial.purpose == "expert"}
        for name in names:
            shares = {each: float(each == name) for each in names}
            trial = sweep.trial(state.next_name(after=len(chosen)), "expert", shares)
            if trial.overrides not in present:
                chosen.append(trial)
    return chosen


def score_mixtures(ledger: Ledger, sweep: Sweep, *, count: int, average: Average = "weights") -> TrialTable:
    """Validation losses of mixtures of the finished experts: those of the sweep's trials, and others within its bounds.

    Args:
        count: of mixtures.
        average: ``weights`` evaluates the model whose weights are the experts' weights averaged by shares
            (arXiv:2602.04937), ``probabilities`` averages the experts' probabilities of each token (arXiv:2502.15950).

    Raises:
        DataError: an expert is not finished.
    """
    assert sweep.shares is not None, "add_experts refuses others"
    experts = _finished_experts(ledger, sweep.shares.names)
    shares = _mixtures(ledger, sweep.shares.bounds, count)
    folders = [ledger.run_folder(one.trial) for one in experts]
    model = MixedExperts(folders, sweep.stage, trusts_code=ledger.facts.trusts_code)
    losses = model.losses_of_weights if average == "weights" else model.losses_of_probabilities
    found = losses(shares)
    return TrialTable(
        runs=tuple(f"{number:03d}" for number in range(count)),
        tasks=sweep.shares.names,
        shares=shares,
        metrics={name: found[name] for name in _watched(ledger)},
    )


def _watched(ledger: Ledger) -> list[str]:
    return [name for name in ledger.facts.metrics if name.startswith(f"{VAL_LOSS}/")]


def _finished_experts(ledger: Ledger, names: Sequence[str]) -> list[TrialState]:
    """Expert of each task or group, in order."""
    states = [one for one in ledger.state().trials.values() if one.trial.purpose == "expert"]
    of_name = {name: one for one in states for name in names if one.trial.shares.get(name) == 1.0}
    if left := [name for name in names if name not in of_name or of_name[name].status != "finished"]:
        raise DataError(
            f"{ledger.folder}: the experts of {left} are not finished -- expected one for each of {list(names)} -- run them "
            f"with `audio-lm sweep work {ledger.folder}`"
        )
    return [of_name[name] for name in names]


def _mixtures(ledger: Ledger, bounds: Floats, count: int) -> Floats:
    """Mixtures (N, K) of the finished trials, then random ones around them."""
    seen = np.unique(table_of(ledger).shares, axis=0)[:count]
    rng = random_for("mixtures of experts", len(seen), count)
    return np.vstack([seen, sample_within(bounds, seen, count - len(seen), rng)])


class MixedExperts:
    """The experts of a sweep, one model to load their weights into, and the validation packs of the varied stage.

    Args:
        runs: folders of the experts' runs (K).
        stage: the varied one.
        trusts_code: as of ``load_recipe``.
    """

    def __init__(self, runs: Sequence[Path], stage: str, *, trusts_code: bool = False) -> None:
        self.folders = [RunFolder(run).model(stage) for run in runs]
        recipe, folder = open_run(runs[0], trusts_code=trusts_code)
        vocabulary = kept_vocabulary(recipe, folder)
        self.model = build_audio_lm(recipe, vocabulary).train(False)
        config = recipe.stages[stage]
        sources = compile_stage(recipe, config)
        data = build_data(recipe, stage, plan_stage(recipe, config, sources, vocabulary), sources, vocabulary)
        packs = [pack for loader in data.val_dataloader() for packs in loader for pack in packs]
        self.model.to("cuda" if torch.cuda.is_available() else "cpu")
        self.packs = [pack.to(next(self.model.parameters()).device) for pack in packs]

    def losses_of_weights(self, shares: Floats) -> Mapping[str, Floats]:
        """Metric -> loss (N) of the model with the experts' weights averaged by shares (N, K)."""
        found = []
        with progress("averaged weights", total=len(shares), what="mixtures") as advance:
            for point in shares:
                load_average(self.model, self.folders, point.tolist())
                loss = TaskLoss()
                for pack, losses_P in self._losses():
                    loss.update([sums_by_task(losses_P, pack.task_index, pack.tasks)])
                found.append(loss.compute())
                advance(1)
        return {f"{VAL_LOSS}/{task}": np.array([each[task] for each in found]) for task in found[0]}

    def losses_of_probabilities(self, shares: Floats) -> Mapping[str, Floats]:
        """Metric -> loss (N) of the experts' token probabilities averaged by shares (N, K)."""
        logs = [self._log_probabilities(folder) for folder in self.folders]
        every = {task: np.stack([of_expert[task] for of_expert in logs]) for task in logs[0]}
        every["all"] = np.concatenate([*every.values()], axis=1)
        return {f"{VAL_LOSS}/{task}": MixedProbabilities(logs_KT)(shares) for task, logs_KT in every.items()}

    def _log_probabilities(self, folder: Path) -> dict[str, Floats]:
        """Task -> log probability (T) of each correct token by an expert."""
        load_weights(self.model, folder)
        of_task: dict[str, list[Tensor]] = {}
        for pack, losses_P in self._losses():
            for index, task in enumerate(pack.tasks):
                of_task.setdefault(task, []).append(-losses_P[pack.task_index == index].double().cpu())
        return {task: torch.cat(parts).numpy() for task, parts in of_task.items()}

    @torch.no_grad()
    def _losses(self) -> Iterator[tuple[PackedBatch, Tensor]]:
        """Yield each validation pack with the losses (P) of its learned tokens."""
        for pack in self.packs:
            yield pack, self.model.loss(pack).losses
