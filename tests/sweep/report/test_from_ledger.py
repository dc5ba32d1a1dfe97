from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from audio_lm.common.errors import DataError, RecipeError
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.load import load_sweep
from audio_lm.sweep.report.from_ledger import mixture_path, report_of
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
def ledger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return finished_ledger(tmp_path / "sweeps" / "small", load_sweep(write_sweep(tmp_path)))


def test_a_report_keeps_the_shares_of_tasks_that_are_not_varied(ledger):
    report = report_of(ledger, load_sweep("small.yaml"))
    mixture, best = report.best_mixture, report.fit.best
    total = sum(mixture.weights.values())
    assert mixture.weights["asc"] / total == pytest.approx(0.2, abs=1e-4)
    np.testing.assert_allclose(
        [mixture.weights[task] / total for task in TASKS], 0.8 * best.shares, atol=1e-4
    )
    assert mixture.sources["asc"] == ["my/scenes-train"]


def test_trials_that_failed_are_named(ledger):
    report = report_of(ledger, load_sweep("small.yaml"))
    assert len(report.fit.table) == 26
    assert "trial 026 was failed: out of memory." in report.sections()["Left out"]


def test_without_the_sweep_file_the_shares_have_no_bounds(ledger):
    report = report_of(ledger)
    assert report.fit.bounds.tolist() == [[0, 1]] * 3
    assert report.best_mixture is not None


def test_bounds_of_the_sweep_hold(ledger):
    text = Path("small.yaml").read_text()
    Path("small.yaml").write_text(
        text.replace("over: [sec, mna, mgr]", "over: [sec, mna, mgr]\n    max: {sec: 0.2}")
    )
    assert report_of(ledger, load_sweep("small.yaml")).fit.best.shares[0] <= 0.25 + 1e-9


def test_a_sweep_of_settings_alone_is_refused(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.open(SweepFacts("keys-1", "demo", "pretrain", (), {}), [])
    with pytest.raises(DataError, match="0 tasks"):
        report_of(ledger)


def test_a_name_that_leaves_its_folder_is_refused(tmp_path):
    assert mixture_path(tmp_path, "best") == tmp_path / "mixture" / "best.yaml"
    with pytest.raises(RecipeError, match=r"\.\./best"):
        mixture_path(tmp_path, "../best")
