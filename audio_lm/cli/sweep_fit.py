"""Commands that learn from the results of a sweep: ``audio-lm sweep fit``, ``sweep extend`` and ``sweep verify``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import Json
from audio_lm.cli.sweep_options import MetricOfFile, MetricsFile, ResultsPlace, SweepName
from audio_lm.common.errors import UserError

if TYPE_CHECKING:
    from audio_lm.sweep.fit import SweepFit
    from audio_lm.sweep.ledger import Ledger
    from audio_lm.sweep.table import TrialTable

Reuse = Annotated[
    str | None,
    typer.Option(
        metavar="OLD", help="Earlier sweep with fewer tasks: its folder, or a folder with its two CSV files."
    ),
]


def sweep_fit(
    place: ResultsPlace,
    metrics_file: MetricsFile = None,
    metric: MetricOfFile = None,
    reuse: Reuse = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder with ratios.csv and metrics.csv of merged experts or smaller models.",
        ),
    ] = None,
    early: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=0.99,
            help="Also fit the values after this fraction of the steps; may propose a schedule.",
        ),
    ] = None,
    next_points: Annotated[int, typer.Option("--next", min=0, help="Mixtures to propose.")] = 0,
    as_json: Json = False,
) -> None:
    """Fit a regression per metric, and print how far it can be trusted and the best mixture.

    Works on the results of any program that are written as two tables with a line per run, `ratios.csv` and `metrics.csv`.

    Examples: `audio-lm sweep fit demo_mixture --early 0.33 --next 4` · `audio-lm sweep fit ratios.csv metrics.csv` ·
    `audio-lm sweep fit results/ --metric wer=min --metric bleu=max*0.1`
    """
    silence_libraries()
    from audio_lm.sweep.fit_text import early_lines, fit_json, fit_lines, proposal_lines
    from audio_lm.sweep.proposals import propose
    from audio_lm.sweep.schedule import compare_early

    fit = _fit(place, metrics_file, metric or [], reuse, features)
    compared = None if early is None else compare_early(fit, early)
    points = propose(fit, next_points) if next_points else None
    if as_json:
        table = fit_json(fit)
        if compared is not None:
            table["early"] = {"agreement": compared.agreement, "why_none": compared.why_none} | fit_json(
                compared.early
            )
        if points is not None:
            table["next"] = [dict(zip(fit.table.tasks, point.tolist(), strict=True)) for point in points]
        typer.echo(json.dumps(table, indent=1))
        return
    lines = fit_lines(fit)
    lines += [] if compared is None else early_lines(compared, fit)
    lines += [] if points is None else proposal_lines(fit.table.tasks, points, fit)
    typer.echo("\n".join(lines))


def sweep_extend(
    name: SweepName,
    num: Annotated[int, typer.Option(min=1, help="Number of trials to add.")] = 4,
    reuse: Reuse = None,
) -> None:
    """Add the most promising mixtures to a sweep; `audio-lm sweep work` runs them.

    Examples: `audio-lm sweep extend demo_mixture --num 6` · `audio-lm sweep work demo_mixture`
    """
    silence_libraries()
    from audio_lm.sweep.extend import add_proposals
    from audio_lm.sweep.sources import fit_sweep, sweep_of
    from audio_lm.sweep.start import find_sweep

    ledger = find_sweep(name)
    sweep = sweep_of(ledger)
    fit = fit_sweep(ledger, sweep, None if reuse is None else _table_at(reuse))
    trials = add_proposals(ledger, sweep, fit, num)
    for trial in trials:
        typer.echo(
            f"trial {trial.name}: " + ", ".join(f"{task} {share:.3f}" for task, share in trial.shares.items())
        )
    if len(trials) < num:
        typer.echo(
            f"{num - len(trials)} fewer than wanted: the others exceed the repetition limits of the sweep"
        )
    typer.echo(f"run them: audio-lm sweep work {ledger.folder}")


def sweep_verify(
    name: SweepName,
    top: Annotated[
        int, typer.Option(min=1, help="Best mixtures to verify, beside the recipe's own weights.")
    ] = 3,
) -> None:
    """Repeat the best mixtures at a larger scale (`verify` of the sweep file), and tell if their ranks held.

    The first call adds the trials, which `audio-lm sweep work` runs; later calls print the comparison.

    Examples: `audio-lm sweep verify demo_mixture --top 3` · `audio-lm sweep work demo_mixture`
    """
    silence_libraries()
    from audio_lm.sweep.extend import add_verification, verified_table
    from audio_lm.sweep.sources import fit_sweep, sweep_of
    from audio_lm.sweep.start import find_sweep
    from audio_lm.sweep.verify import check_ranks

    ledger = find_sweep(name)
    sweep = sweep_of(ledger)
    fit = fit_sweep(ledger, sweep)
    added = add_verification(ledger, sweep, fit, top)
    for trial in added:
        typer.echo(
            f"trial {trial.name}: " + ", ".join(f"{task} {share:.3f}" for task, share in trial.shares.items())
        )
    large = verified_table(ledger, fit.table.tasks)
    if len(large) > 1:
        found = check_ranks(fit, large)
        for run, predicted, measured in zip(found.runs, found.predicted, found.measured, strict=True):
            typer.echo(f"trial {run}: predicted {predicted:.4g} from small trials, measured {measured:.4g}")
        typer.echo(found.sentence())
    left = [one for one in ledger.state().of("waiting", "running") if one.trial.purpose == "verify"]
    if left:
        typer.echo(f"{len(left)} trials are not finished; run them: audio-lm sweep work {ledger.folder}")


def sweep_experts(
    name: SweepName,
    mixtures: Annotated[int, typer.Option(min=8, help="Mixtures to score.")] = 64,
    average: Annotated[
        str,
        typer.Option(
            help="What is averaged by shares: weights of the experts, or their probabilities of each token."
        ),
    ] = "weights",
) -> None:
    """Score many mixtures with one run per task (experts), as one more input of `sweep fit`.

    The first call adds a trial on each task alone, which `audio-lm sweep work` runs; the next one scores mixtures of them.

    Examples: `audio-lm sweep experts demo_mixture` · `audio-lm sweep work demo_mixture` ·
    `audio-lm sweep fit demo_mixture --features sweeps/demo_mixture-1a2b3c4d/experts`
    """
    silence_libraries()
    if average not in ("weights", "probabilities"):
        raise UserError(f"--average {average} -- expected weights or probabilities; choose one")
    from audio_lm.sweep.expert_scores import EXPERTS, add_experts, score_mixtures
    from audio_lm.sweep.sources import sweep_of
    from audio_lm.sweep.start import find_sweep

    ledger = find_sweep(name)
    sweep = sweep_of(ledger)
    for trial in add_experts(ledger, sweep):
        typer.echo(f"trial {trial.name}: {next(task for task, share in trial.shares.items() if share)} alone")
    left = [one for one in ledger.state().of("waiting", "running") if one.trial.purpose == "expert"]
    if left:
        typer.echo(f"{len(left)} experts are not finished; run them: audio-lm sweep work {ledger.folder}")
        return
    table = score_mixtures(
        ledger, sweep, count=mixtures, average="weights" if average == "weights" else "probabilities"
    )
    table.write(ledger.folder / EXPERTS)
    typer.echo(
        f"{len(table)} mixtures; fit with them: audio-lm sweep fit {ledger.folder} --features {ledger.folder / EXPERTS}"
    )


def _fit(
    place: str, metrics_file: Path | None, metrics: list[str], reuse: str | None, cheaper: str | None
) -> "SweepFit":
    from audio_lm.sweep.experts import features_from
    from audio_lm.sweep.fit import fit_table
    from audio_lm.sweep.reuse import add_reused
    from audio_lm.sweep.sources import fit_sweep, metrics_from, read_results, sweep_of
    from audio_lm.sweep.table import TrialTable

    found = read_results(place, metrics_file)
    old = None if reuse is None else _table_at(reuse)
    other = None if cheaper is None else _table_at(cheaper)
    if isinstance(found, TrialTable):
        table = found if old is None else add_reused(found, old)
        watched = metrics_from(metrics, found)
        features = None if other is None else features_from(other, table.tasks, watched)
        return fit_table(table, watched, features=features)
    if metrics:
        raise UserError(
            f"--metric {metrics[0]}: {place} is a sweep, whose file has the metrics; leave the option out"
        )
    return fit_sweep(found, sweep_of(found), old, other)


def _table_at(place: str) -> "TrialTable":
    """Results of another sweep."""
    from audio_lm.sweep.results import table_of
    from audio_lm.sweep.sources import read_results
    from audio_lm.sweep.table import TrialTable

    found: Ledger | TrialTable = read_results(place)
    return found if isinstance(found, TrialTable) else table_of(found)
