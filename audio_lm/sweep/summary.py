"""Summary run of a sweep in MLflow, beside its trials in the experiment of the sweep.

It has the table of trials, ``ratios.csv``, ``metrics.csv`` and the files of the report. Like every run it is complete in its
folder, ``summary/``, and sent from there, so a store that is unreachable costs nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audio_lm.common.errors import UserError
from audio_lm.common.protocols import Report
from audio_lm.common.secrets import without_password
from audio_lm.config.load import load_recipe
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.ledger import Ledger, LedgerState
from audio_lm.sweep.results import left_out, table_of
from audio_lm.sweep.table import METRICS, RATIOS, TrialTable

FOLDER = "summary"


def write_summary(ledger: Ledger, report: Report, files: Sequence[Path] = ()) -> Path:
    """Write the tables into the folder of the sweep and the summary run, and send it to MLflow; returns the run's folder.

    Args:
        report: called with a line about trials that the tables leave out, and about what MLflow did not accept.
        files: further files to keep with the run, such as those of the report.

    Raises:
        UserError: the base recipe cannot be loaded, or the folder cannot be written.
    """
    from audio_lm.tracking.event_log.journal import has_writer
    from audio_lm.tracking.mlflow.sync import sync

    folder, state = ledger.folder / FOLDER, ledger.state()
    table = table_of(ledger)
    if has_writer(folder):
        return folder  # another worker writes it at this moment
    folder.mkdir(exist_ok=True)
    if len(table):
        table.write(ledger.folder)
    for line in left_out(state):
        report(f"not in {RATIOS} and {METRICS}: {line}")
    assert state.facts is not None, "state() raises without facts"
    _write_run(folder, state.facts, state, table, files)
    try:
        sync([folder], lambda line: None)
    except UserError as error:
        report(str(error))
    return folder


def _write_run(
    folder: Path, facts: SweepFacts, state: LedgerState, table: TrialTable, files: Sequence[Path]
) -> None:
    from audio_lm.tracking.event_log.journal import ENTRIES, RECIPE, Journal
    from audio_lm.tracking.event_log.record import Record
    from audio_lm.tracking.mlflow.uri import tracking_uri

    tracking = load_recipe(facts.recipe, facts.overrides, trusts_code=True).recipe.tracking
    resume = (folder / ENTRIES).exists()
    run = Record(
        root=folder,
        key=RECIPE,
        journal=Journal(folder, resume=resume),
        resume=resume,
        name=f"{facts.name} summary",
        tags={"kind": "sweep", "run_folder": str(folder.absolute())},
        facts={"store": without_password(tracking_uri(tracking.uri)), "experiment": facts.name},
    )
    run.log_params({"recipe": facts.recipe, "stage": facts.stage, "varied": ", ".join(facts.tasks)})
    run.log_metrics(_figures(facts, state, table))
    run.log_table(_rows(state), "trials.json")
    if len(table):
        for name in (RATIOS, METRICS):
            run.log_artifact(folder.parent / name)
    for path in files:
        run.log_artifact(path, "report")
    run.close("FINISHED")
    run.sync()


def _figures(facts: SweepFacts, state: LedgerState, table: TrialTable) -> dict[str, float]:
    """Numbers of trials, and the best value of every metric."""
    counts = {f"trials_{name}": float(len(state.of(name))) for name in ("finished", "failed", "pruned")}
    best = {}
    for name, metric in facts.metrics.items():
        known = table.metrics[name][~np.isnan(table.metrics[name])]
        if len(known):
            best[f"best/{name}"] = float(known.min() if metric.direction == "min" else known.max())
    return counts | best


def _rows(state: LedgerState) -> list[dict[str, object]]:
    return [
        {
            "trial": one.trial.name,
            "purpose": one.trial.purpose,
            "status": one.status,
            "seed": one.trial.seed,
            **one.trial.shares,
            **one.trial.settings,
            **one.values,
            "reason": one.reason,
        }
        for one in state.trials.values()
    ]
