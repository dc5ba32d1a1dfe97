"""Files of a report: ``report.md`` with pictures, ``report.html``, tables, and the best mixture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from matplotlib.figure import Figure

from audio_lm.common.errors import UserError, unknown
from audio_lm.common.files import write_bytes, write_text
from audio_lm.common.markdown_table import markdown_table
from audio_lm.data.config import MixtureConfig
from audio_lm.sweep.fit import SweepFit
from audio_lm.sweep.report.matrix import matrix_figure
from audio_lm.sweep.report.mixture_file import write_mixture
from audio_lm.sweep.report.page import page_html
from audio_lm.sweep.report.parallel import parallel_figure
from audio_lm.sweep.report.pareto_figure import pareto_figure
from audio_lm.sweep.report.sentences import Answers
from audio_lm.sweep.report.slices import slices_figure
from audio_lm.sweep.report.tables import (
    metric_table,
    mixture_table,
    shares_text,
    trial_table,
)
from audio_lm.sweep.report.ternary import ternary_figure
from audio_lm.sweep.report.view import OBJECTIVE, FitView
from audio_lm.sweep.table import METRICS, RATIOS, TRIALS
from audio_lm.tracking.report.display import Markdown, Picture
from audio_lm.tracking.report.figures import figure_png

SUMMARY, PAGE, BEST_MIXTURE = "report.md", "report.html", "best_mixture.yaml"
DOTS_PER_INCH = 130


class Draw(Protocol):
    """Function that draws a picture."""

    def __call__(self, view: FitView, /) -> Figure:
        """Draw it."""
        ...


class Drawing(NamedTuple):
    """Kind of picture."""

    caption: str
    draw: Draw


DRAWINGS = {
    "ternary": Drawing("Map of the mixtures", ternary_figure),
    "parallel": Drawing("All trials", parallel_figure),
    "slices": Drawing("Slices of the surfaces", slices_figure),
    "transfer": Drawing("Effect of ten points more of a task", matrix_figure),
    "pareto": Drawing("Pareto fronts", pareto_figure),
}


@dataclass(frozen=True)
class SweepReport:
    """Report of a fit."""

    fit: SweepFit
    name: str
    """Name of the sweep."""

    best_mixture: MixtureConfig | None = None
    """Mixture of the stage with the recommended shares; None without a recipe, or if nothing is recommended."""

    @property
    def view(self) -> FitView:
        """View of the fit."""
        return FitView(self.fit)

    @property
    def answers(self) -> Markdown:
        """Sentences under their headings, rendered in a notebook."""
        lines = []
        for heading, sentences in self.sections().items():
            lines += [f"### {heading}", "", *(f"- {sentence}" for sentence in sentences), ""]
        return Markdown("\n".join(lines))

    def table(self) -> Markdown:
        """Trials with a column per task and metric, rendered in a notebook."""
        return Markdown(markdown_table(trial_table(self.view), num_text_columns=1))

    def picture(self, name: str) -> Picture:
        """One picture, shown in a notebook.

        Args:
            name: one of ``pictures``.

        Raises:
            UserError: there is no such picture.
        """
        if name not in self.pictures:
            raise UserError(unknown("picture", name, self.pictures, see="the pictures of this report"))
        return Picture(figure_png(DRAWINGS[name].draw(self.view), dots_per_inch=DOTS_PER_INCH))

    @property
    def pictures(self) -> list[str]:
        """Names of the pictures: a ternary map for three tasks only, fronts for two metrics or more."""
        left_out = set() if len(self.view.tasks) == 3 else {"ternary"}
        left_out |= set() if len(self.view.metrics) > 1 else {"pareto"}
        return [name for name in DRAWINGS if name not in left_out]

    def sections(self) -> Mapping[str, list[str]]:
        """Heading -> sentences."""
        return Answers(self.view).sections()

    def markdown(self) -> str:
        """Summary with its tables and links to pictures beside it."""
        view = self.view
        lines = [f"# Sweep {self.name}", "", self.subtitle()]
        for heading, sentences in self.sections().items():
            lines += ["", f"## {heading}", "", *(f"- {sentence}" for sentence in sentences)]
            if heading == "Against the baselines":
                lines += ["", markdown_table(mixture_table(view), num_text_columns=1)]
            if heading == "Trust":
                lines += ["", markdown_table(metric_table(view), num_text_columns=2)]
        lines += ["", "## Pictures", "", f"All of them are interactive in [{PAGE}]({PAGE}).", ""]
        for name in self.pictures:
            lines += [f"![{DRAWINGS[name].caption}]({name}.png)", ""]
        table = trial_table(view)
        num_text = 2 if "purpose" in table[0] else 1
        lines += ["## Trials", "", markdown_table(table, num_text_columns=num_text), ""]
        return "\n".join(lines)

    def subtitle(self) -> str:
        """Size of the sweep in one sentence."""
        view = self.view
        return f"{len(self.fit.table)} trials over the shares of {', '.join(view.tasks)}."

    def mixture_comments(self) -> list[str]:
        """Lines about the origin of the best mixture."""
        best, view = self.fit.best, self.view
        assert best is not None, "a mixture is recommended"
        name = view.names[0]
        numbers = (best.objective, *best.interval) if name == OBJECTIVE else best.per_metric[name]
        value, low, high = (view.text(name, number) for number in numbers)
        return [
            f"Best mixture of the sweep {self.name}: {shares_text(view.tasks, best.shares)} of the varied part.",
            f"{len(self.fit.table)} trials, trust {self.fit.trust:.2f}, predicted {name} {value} ({low} to {high}).",
        ]


def write_report(report: SweepReport, folder: Path, *, mixture: Path | None = None) -> list[Path]:
    """Write all files of a report and return their paths; those of an earlier report are replaced or removed.

    Args:
        mixture: file for the best mixture, such as ``conf/mixture/best.yaml``; None for a file in ``folder``.

    Raises:
        UserError: a file that somebody else wrote stands in the place of the mixture, or mpltern is not installed.
    """
    written = _write_best(report, mixture, folder / BEST_MIXTURE)
    folder.mkdir(parents=True, exist_ok=True)
    for name in DRAWINGS:
        path = folder / f"{name}.png"
        if name in report.pictures:
            write_bytes(path, report.picture(name).png)
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    report.fit.table.write(folder)
    page = page_html(
        report.view, title=f"Sweep {report.name}", subtitle=report.subtitle(), sections=report.sections()
    )
    write_text(folder / PAGE, page)
    write_text(folder / SUMMARY, report.markdown())
    tables = [
        folder / name for name in (RATIOS, METRICS, TRIALS) if name != TRIALS or report.fit.table.purposes
    ]
    return [folder / SUMMARY, folder / PAGE, *written, *tables]


def _write_best(report: SweepReport, chosen: Path | None, usual: Path) -> list[Path]:
    """Write the best mixture, at the chosen path or the usual one; a usual one of an earlier report is removed."""
    has_best = report.best_mixture is not None and report.fit.best is not None
    if chosen is not None and not has_best:
        raise UserError(
            f"{chosen}: no mixture to write -- {report.fit.why_none or 'the sweep has no recipe'}"
        )
    if report.best_mixture is None or not has_best:
        usual.unlink(missing_ok=True)
        return []
    write_mixture(report.best_mixture, chosen or usual, report.mixture_comments())
    return [chosen or usual]
