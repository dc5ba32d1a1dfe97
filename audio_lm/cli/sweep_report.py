"""The command ``audio-lm sweep report``."""

from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.sweep_options import MetricOfFile, MetricsFile, ResultsPlace


def sweep_report(
    place: ResultsPlace,
    metrics_file: MetricsFile = None,
    metric: MetricOfFile = None,
    mixture: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Write the best mixture as conf/mixture/NAME.yaml, ready to train."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default `report` beside the results.")
    ] = None,
) -> None:
    """Fit the finished trials of a sweep, and write its report: sentences, pictures, an interactive page, the best mixture.

    It can be made while trials are running; after the last one it is also kept with the summary run in MLflow. Nothing smaller
    than twice the noise of one run is named as an effect.

    Examples: `audio-lm sweep report demo_mixture` ·
    `audio-lm sweep report sweeps/demo_mixture-1a2b3c4d --mixture demo_best` ·
    `audio-lm sweep report ratios.csv metrics.csv --metric wer=min --out report`
    """
    silence_libraries()
    from audio_lm.common.errors import UserError
    from audio_lm.sweep.ledger import Ledger
    from audio_lm.sweep.report import from_results
    from audio_lm.sweep.report.write import write_report
    from audio_lm.sweep.sources import read_results
    from audio_lm.sweep.summary import write_summary

    results = read_results(place, metrics_file)
    if isinstance(results, Ledger):
        if metric:
            raise UserError(
                f"--metric {metric[0]}: {place} is a sweep, whose file has the metrics; leave the option out"
            )
        path = None if mixture is None else from_results.mixture_path(mixture)
        report = from_results.report_of_sweep(results)
        written = write_report(report, out or results.folder / from_results.REPORT, mixture=path)
        if results.state().is_over:
            write_summary(results, typer.echo, written)
    else:
        from_results.check_has_recipe(place, mixture)
        found = Path(place)
        folder = found if found.is_dir() else found.parent
        report = from_results.report_of_table(results, folder.resolve().name, metric or [])
        written = write_report(report, out or folder / from_results.REPORT)
    for heading, sentences in report.sections().items():
        typer.echo("\n  ".join([heading, *(sentence.replace("`", "") for sentence in sentences)]))
    typer.echo("\n".join(map(str, written)))
    if mixture is not None and isinstance(results, Ledger):
        typer.echo(f"train with it: {from_results.train_command(results, report, mixture)}")
