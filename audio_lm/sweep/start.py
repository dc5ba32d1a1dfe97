"""Start of a sweep: its ledger from a sweep file, and workers in this process or in several."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.common.protocols import Report
from audio_lm.config.load import ComposedRecipe, load_recipe
from audio_lm.sweep.facts import SWEEPS, SweepFacts
from audio_lm.sweep.ledger import FILE, Ledger
from audio_lm.sweep.trial_run import TrialSettings
from audio_lm.sweep.worker import STOP_SIGNALS, Sampler, Worker, WorkerSettings

if TYPE_CHECKING:
    from audio_lm.sweep.definition import Sweep


def open_sweep(
    file: str,
    typed: Sequence[str],
    *,
    out: Path | None = None,
    trusts_code: bool = False,
    report: Report | None = None,
) -> Ledger:
    """Load and check a sweep file, and create its ledger, or open the one that is there.

    Args:
        file: sweep file or its name.
        typed: overrides of the base recipe from the command line.
        out: folder of the sweep, instead of ``sweeps/<name>-<signature>``.
        report: called with the progress of corpora.

    Raises:
        UserError: the file, its recipe or its data have problems, or the folder has another sweep.
    """
    from audio_lm.sweep.design import first_trials
    from audio_lm.sweep.load import load_sweep

    sweep = load_sweep(file, typed, trusts_code=trusts_code, report=report)
    ledger = Ledger((out or sweep.folder).absolute())
    ledger.open(_facts_of(sweep, file, typed, trusts_code=trusts_code), first_trials(sweep))
    return ledger


def find_first_trials(
    file: str, typed: Sequence[str], *, out: Path | None = None, trusts_code: bool = False
) -> tuple[SweepFacts, Path, int]:
    """Facts, folder and number of trials of the ledger that ``open_sweep`` would create; nothing is written.

    Raises:
        UserError: the file or its recipe has problems, or its data are not prepared.
    """
    from audio_lm.sweep.design import first_trials
    from audio_lm.sweep.load import load_sweep

    sweep = load_sweep(file, typed, trusts_code=trusts_code, prepares=False)
    facts = _facts_of(sweep, file, typed, trusts_code=trusts_code)
    return facts, (out or sweep.folder).absolute(), len(first_trials(sweep))


def open_paired_seeds(
    file: str,
    typed: Sequence[str],
    num_seeds: int,
    *,
    trusts_code: bool = False,
    report: Report | None = None,
) -> Ledger:
    """Ledger of two mixtures of a sweep with several seeds each; see ``paired_seeds``.

    Raises:
        UserError: the file, its recipe or its data have problems, or it varies no shares.
    """
    from audio_lm.sweep.load import load_sweep
    from audio_lm.sweep.paired_seeds import paired_trials

    sweep = load_sweep(file, typed, trusts_code=trusts_code, report=report)
    facts = replace(
        _facts_of(sweep, file, typed, trusts_code=trusts_code),
        name=f"{sweep.name}-{sweep.signature}-seeds",
        pruning=None,
        num_sampled=0,
    )
    ledger = Ledger(sweep.folder.with_name(facts.name).absolute())
    ledger.open(facts, paired_trials(sweep, num_seeds))
    return ledger


def _facts_of(sweep: "Sweep", file: str, typed: Sequence[str], *, trusts_code: bool) -> SweepFacts:
    from audio_lm.sweep.design import num_trials

    return SweepFacts(
        name=f"{sweep.name}-{sweep.signature}",
        recipe=_absolute(sweep.recipe),
        stage=sweep.stage,
        tasks=sweep.space.names,
        metrics=sweep.config.metrics,
        steps=sweep.steps(sweep.shares.of_recipe if sweep.shares else {}),
        overrides=sweep.overrides,
        signature=sweep.base.signature,
        file=_absolute(file),
        typed=tuple(typed),
        folder=str(Path.cwd()),
        pruning=sweep.config.pruning,
        num_sampled=num_trials(sweep) if sweep.config.design.kind == "tpe" else 0,
        trusts_code=trusts_code,
    )


def find_sweep(name: str, typed: Sequence[str] = ()) -> Ledger:
    """Ledger of a sweep that was started: by its folder, or by its sweep file if one folder fits.

    Raises:
        UserError: there is none, or several.
    """
    path = Path(name)
    if (path / FILE).is_file() or not _is_sweep_name(name):
        return Ledger(path.absolute())
    found = sorted(SWEEPS.glob(f"{path.stem}-{8 * '[0-9a-f]'}/{FILE}"))  # not those of ``open_paired_seeds``
    if typed or len(found) != 1:
        listed = f" ({', '.join(str(each.parent) for each in found)})" if found else ""
        raise UserError(
            f"{name}: {len(found)} sweeps of this name in {SWEEPS}/{listed} -- expected one -- name the folder of the sweep"
        )
    return Ledger(found[0].parent.absolute())


def _is_sweep_name(name: str) -> bool:
    path = Path(name)
    return path.suffix in (".yaml", ".yml") or (len(path.parts) == 1 and not path.is_dir())


def _absolute(name: str) -> str:
    path = Path(name)
    return str(path.absolute()) if path.suffix in (".yaml", ".yml") and path.is_file() else name


def base_recipe(facts: SweepFacts) -> ComposedRecipe:
    """Base recipe with the fixed overrides.

    Raises:
        UserError: it is not the one that the sweep was started with.
    """
    composed = load_recipe(facts.recipe, facts.overrides, trusts_code=facts.trusts_code)
    if composed.signature != facts.signature:
        raise RecipeError(
            f"recipe {facts.recipe} has the signature {composed.signature} -- expected {facts.signature}, with which the sweep "
            f"{facts.name} was started, as only the mixture may differ between trials -- undo the change of the recipe or of "
            f"the pieces that it uses, or start a new sweep"
        )
    return composed


def make_worker(
    ledger: Ledger, report: Report, *, num_workers: int = 1, nodes: int | None = None, waits: bool = True
) -> Worker:
    """Make a worker of a sweep.

    Args:
        num_workers: workers that share the cores of this machine.
        nodes: nodes of a trial, instead of the recipe's; more than one only within a SLURM job.
        waits: wait while other workers run the last trials.

    Raises:
        UserError: the recipe has changed, or a trial needs more nodes than there are.
    """
    from audio_lm.sweep.submit import trial_prefix

    facts = ledger.facts
    if facts.folder and not Path(facts.folder).is_dir():
        raise UserError(
            f"{facts.folder}, the folder in which sweep {facts.name} was started, is not on this machine -- expected it, as "
            f"the paths of the recipe are relative to it -- mount it under the same name"
        )
    recipe = base_recipe(facts).recipe
    prefix = trial_prefix(recipe, nodes or recipe.hardware.nodes)
    starter = TrialSettings(facts, num_workers, prefix, nodes)
    return Worker(ledger, starter, report, sampler=_sampler(facts), settings=WorkerSettings(waits=waits))


def _sampler(facts: SweepFacts) -> Sampler | None:
    """Sampler of a sweep whose trials are chosen one by one."""
    if not facts.num_sampled:
        return None
    from audio_lm.sweep.load import load_sweep
    from audio_lm.sweep.tpe import TpeSampler

    sweep = load_sweep(facts.file, facts.typed, trusts_code=facts.trusts_code)
    if f"{sweep.name}-{sweep.signature}" != facts.name:
        raise RecipeError(
            f"sweep file {facts.file} is now {sweep.name}-{sweep.signature} -- expected {facts.name}, as further trials are "
            f"chosen from the file -- undo the change, or start a new sweep"
        )
    return TpeSampler(sweep)


def run_workers(ledger: Ledger, count: int, *, is_verbose: bool = True) -> int:
    """Run several workers of this machine as processes, until no trial is left; returns the first exit code except 0.

    A stop signal is passed on to them.
    """
    command = [sys.executable, "-m", "audio_lm.cli.main", "sweep", "work", str(ledger.folder)]
    package = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    workers = [
        subprocess.Popen(
            [*command, f"--num-local={count}"],
            stdout=None if is_verbose else subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C reaches this process, which passes it on once
        )
        for _ in range(count)
    ]

    def forward(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    before = {number: signal.signal(number, forward) for number in STOP_SIGNALS}
    try:
        codes = [worker.wait() for worker in workers]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return next((code for code in codes if code), 0)
