"""The command ``audio-lm sweep report``."""

from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries


def sweep_report(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP", help="Folder of a sweep, such as sweeps/demo_mixture-1a2b3c4d, or its file."
        ),
    ],
    mixture: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Write the best mixture as conf/mixture/NAME.yaml, ready to train."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default `report` in that of the sweep.")
    ] = None,
) -> None:
    """Fit the finished trials of a sweep, and write its report: sentences, pictures, an interactive page, the best mixture.

    It can be made while trials are running. Nothing smaller than twice the noise of one run is named as an effect.

    Examples: `audio-lm sweep report demo_mixture` ·
    `audio-lm sweep report sweeps/demo_mixture-1a2b3c4d --mixture demo_best`
    """
    silence_libraries()
    from audio_lm.config.load import resource_folder
    from audio_lm.sweep.load import load_sweep
    from audio_lm.sweep.report.from_ledger import REPORT, mixture_path, report_of
    from audio_lm.sweep.report.write import write_report
    from audio_lm.sweep.start import find_sweep

    ledger = find_sweep(name)
    facts = ledger.state().facts
    assert facts is not None, "state() raises without facts"
    place = None if mixture is None else mixture_path(resource_folder("conf"), mixture)
    sweep = load_sweep(facts.file, facts.typed, trusts_code=facts.trusts_code, report=typer.echo)
    report = report_of(ledger, sweep)
    written = write_report(report, out or ledger.folder / REPORT, mixture=place)
    for heading, sentences in report.sections().items():
        typer.echo(heading.lower())
        for sentence in sentences:
            typer.echo(f"  {sentence.replace('`', '')}")
    for path in written:
        typer.echo(str(path))
    if mixture is not None:
        typer.echo(f"train with it: audio-lm train {facts.recipe} stages.{facts.stage}.mixture={mixture}")
