"""Arguments that several commands of sweeps share."""

from pathlib import Path
from typing import Annotated

import typer

ResultsPlace = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP",
        help="Folder or name of a sweep, a folder with ratios.csv and metrics.csv, or a file of shares.",
    ),
]
MetricsFile = Annotated[
    Path | None, typer.Argument(metavar="[METRICS.CSV]", help="File of metrics, after a file of shares.")
]
MetricOfFile = Annotated[
    list[str] | None,
    typer.Option(help="NAME=min or NAME=max, with *WEIGHT; may be repeated. For files; default all, min."),
]
SweepName = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP", help="Folder of a sweep, such as sweeps/demo_mixture-1a2b3c4d, or its file."
    ),
]
