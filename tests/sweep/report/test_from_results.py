from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.load import load_sweep
from audio_lm.sweep.report.from_results import (
    check_has_recipe,
    mixture_path,
    report_of_sweep,
    report_of_table,
    write_last_report,
)
from audio_lm.sweep.trial import Trial
from tests.sweep.report.conftest import make_metrics, make_table
from tests.sweep.small_sweeps import write_sweep

TASKS = ("sec", "mna", "mgr")


@dataclass
class NobodyIsDead:
    """Liveness of workers that all live."""

    def is_dead(self, worker, /):
        return False


def finished_ledger(folder, sweep, *, num_failed=1):
    """Ledger of a sweep whose trials have the values of the known surfaces."""
    table = make_table()
    names = dict(zip(table.metrics, ("val_loss/sec", "val_loss/mna", "events/acc"), strict=True))
    facts = SweepFacts(
        f"{sweep.name}-{sweep.signature}",
        sweep.recipe,
        sweep.stage,
        TASKS,
        make_metrics(names.values()),
        signature=sweep.base.signature,
        file=str(Path("small.yaml").absolute()),
    )
    ledger = Ledger(folder)
    trials = [
        Trial(
            run,
            table.purposes[row],
            dict(zip(TASKS, table.shares[row].tolist(), strict=True)),
            seed=table.seeds[row],
        )
        for row, run in enumerate(table.runs)
    ]
    ledger.open(facts, trials)
    for row in range(len(trials)):
        claim = ledger.claim("worker", NobodyIsDead())
        values = {names[name]: float(column[row]) for name, column in table.metrics.items()}
        is_failed = row >= len(trials) - num_failed
        ledger.end(claim, "failed" if is_failed else "finished", "out of memory" if is_failed else "", values)
    return ledger


@pytest.fixture
def in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep_in(folder, bounds=""):
    """Sweep file with further bounds, checked."""
    over = "over: [sec, mna, mgr]"
    return load_sweep(write_sweep(folder, replace={over: over + bounds}))


@pytest.mark.slow
def test_the_best_mixture_keeps_the_shares_of_tasks_that_are_not_varied(in_own_folder):
    report = report_of_sweep(finished_ledger(in_own_folder / "done", sweep_in(in_own_folder)))
    mixture, best = report.best_mixture, report.fit.best
    total = sum(mixture.weights.values())
    assert mixture.weights["asc"] / total == pytest.approx(0.2, abs=1e-4)
    np.testing.assert_allclose(
        [mixture.weights[task] / total for task in TASKS], 0.8 * best.shares, atol=1e-4
    )
    assert mixture.sources["asc"] == ["my/scenes-train"]


@pytest.mark.slow
def test_trials_that_failed_are_named_and_bounds_of_the_sweep_hold(in_own_folder):
    sweep = sweep_in(in_own_folder, "\n    max: {sec: 0.2}")
    report = report_of_sweep(finished_ledger(in_own_folder / "done", sweep))
    assert len(report.fit.table) == 19
    assert any("019" in line and "out of memory" in line for line in report.sections()["Left out"])
    assert report.fit.best.shares[0] <= 0.25 + 1e-9


@pytest.mark.slow
def test_after_the_last_trial_there_is_a_report_or_the_reason_why_not(in_own_folder):
    ledger, lines = finished_ledger(in_own_folder / "done", sweep_in(in_own_folder)), []
    files = write_last_report(ledger, lines.append)
    assert files[0] == ledger.folder / "report" / "report.md"
    assert not lines
    short = finished_ledger(in_own_folder / "short", sweep_in(in_own_folder), num_failed=18)
    assert write_last_report(short, lines.append) == []
    assert "no report: 2 trials" in lines[0]


def test_tables_of_any_program_give_a_report_without_a_mixture_file():
    table = replace(make_table(), purposes=(), seeds=())
    report = report_of_table(table, "other", ["val_loss/asr=min", "events_sec/acc=max*0.5"])
    assert report.fit.metrics["events_sec/acc"].direction == "max"
    assert report.best_mixture is None
    with pytest.raises(UserError, match="without a recipe"):
        check_has_recipe("results", "best")
    check_has_recipe("results", None)


def test_a_name_that_leaves_its_folder_is_refused():
    assert mixture_path("best").parts[-3:] == ("conf", "mixture", "best.yaml")
    with pytest.raises(RecipeError, match=r"\.\./best"):
        mixture_path("../best")
