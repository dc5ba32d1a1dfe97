"""View of a run: its stages, curves, scores, answers and clips."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp

from lhotse.cut import Cut

from audio_lm.common.errors import UserError, unknown
from audio_lm.common.markdown_table import markdown_table
from audio_lm.config.load import ComposedRecipe, load_recipe
from audio_lm.config.schema import Recipe
from audio_lm.corpora.channels import AVERAGE
from audio_lm.data.manifest.cuts import has_cut_set, load_waves, read_cuts
from audio_lm.evaluation.predict import Prediction, predictions_path, read_predictions
from audio_lm.evaluation.report import NUM_TEXT_COLUMNS, cells_of
from audio_lm.notebook.clip_view import ClipView, stamp_error_picture
from audio_lm.notebook.curve_panels import curve_panels, metrics_of
from audio_lm.notebook.data_view import DataView
from audio_lm.notebook.pair_view import PairView, changed_answers
from audio_lm.pipeline.benchmark_data import benchmark_cuts
from audio_lm.pipeline.clip_cuts import cut_of_files
from audio_lm.pipeline.plan_stage import maker_of
from audio_lm.pipeline.report_clips import log_mel_of, report_clips
from audio_lm.preview.describe import stage_table
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.open import kept_vocabulary, open_run
from audio_lm.run.report_runs import read_report
from audio_lm.run.scores import guard_lines, kept_scores
from audio_lm.tracking.event_log.curves import read_curves
from audio_lm.tracking.report.audio_report import wav_bytes
from audio_lm.tracking.report.curve_figures import curves_figure
from audio_lm.tracking.report.display import Markdown, Picture
from audio_lm.tracking.report.figures import spectrogram_figure

LEVELS = 3  # folders above a run in which its relative data folder is looked up


class RunView:
    """A run, for a notebook.

    Args:
        path: folder of the run.

    Raises:
        UserError: it holds no run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        recipe, self.folder = open_run(self.path)
        place = f"data_dir={_data_dir(self.path, recipe)}"
        self.composed: ComposedRecipe = load_recipe(self.folder.recipe, [place], is_complete=True)
        self.recipe: Recipe = self.composed.recipe

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary that the run was trained with."""
        return kept_vocabulary(self.recipe, self.folder)

    @cached_property
    def _clips(self) -> Path:
        """Folder of the clips that were written."""
        return Path(mkdtemp(prefix="audio-lm-clips-"))

    def _repr_markdown_(self) -> str:
        """Content that Jupyter shows."""
        rows = [
            [name, stage.objective, stage.prompt, ", ".join(stage.mixture.weights), f"{stage.steps:,}", self._state(name)]
            for name, stage in self.recipe.stages.items()
        ]  # fmt: skip
        heading = ["stage", "objective", "prompt", "tasks", "steps", "trained"]
        return f"Run `{self.path.name}` of the recipe `{self.recipe.name}`\n\n" + markdown_table(
            [heading, *rows], num_text_columns=4
        )

    def _state(self, stage: str) -> str:
        return (
            "yes" if self.folder.is_finished(stage) else f"to step {self.folder.status(stage).get('step', 0)}"
        )

    def stages(self) -> Markdown:
        """Stages of the recipe as columns."""
        table = stage_table(self.recipe)
        columns = [[str(cell).replace("\n", "<br>") for cell in column.cells] for column in table.columns]
        heading = [str(column.header) for column in table.columns]
        return Markdown(markdown_table([heading, *zip(*columns, strict=True)]))

    def data(self, stage: str) -> DataView:
        """Training data of a stage.

        Raises:
            UserError: there is no such stage, or its data is missing.
        """
        return DataView(self.recipe, self._stage(stage), self.vocabulary)

    def pairs(self, stage: str) -> PairView:
        """Preference pairs of a stage.

        Raises:
            UserError: there is no such stage, or it learns from no pairs.
        """
        return PairView(self.recipe, self.folder, self._stage(stage), self.vocabulary)

    def curves(self, stage: str, *metrics: str) -> Picture:
        """Curves of a stage, such as ``loss``, ``accuracy`` or ``margin``; training and validation.

        Raises:
            UserError: there is no such stage, or it has logged none of these metrics.
        """
        curves = read_curves(self.folder.stage(self._stage(stage)))
        panels = curve_panels(curves, metrics or ("loss",))
        if not panels:
            known = ", ".join(metrics_of(curves)) or "none: it has not logged any yet"
            raise UserError(
                f"stage {stage!r} of {self.path} has no curve of {', '.join(metrics)} -- expected some of {known}; choose one"
            )
        return Picture.of(curves_figure(panels))

    def scores(self) -> Markdown:
        """Table of scores with baselines and intervals, and of what later stages have forgotten.

        Raises:
            UserError: the run has no scores yet.
        """
        cells = cells_of(read_report(self.path).rows)
        return Markdown(markdown_table(cells, num_text_columns=NUM_TEXT_COLUMNS))

    def guard(self) -> Markdown:
        """Scores of earlier stages after later ones; a sentence where the recipe guards nothing."""
        lines = guard_lines(self.recipe, kept_scores(self.recipe, self.folder))
        return Markdown("\n".join(["```", *lines, "```"]) if lines else "The recipe has no `guard`.")

    def answers(self, benchmark: str, *, num: int = 4) -> Picture:
        """Spectrograms of the first clips of a benchmark, with references and answers.

        Raises:
            UserError: the benchmark was not evaluated, or its clips are missing.
        """
        recipe = replace(self.recipe, tracking=replace(self.recipe.tracking, num_listening_clips=num))
        clips = report_clips(recipe, benchmark, self.predictions(benchmark), self.vocabulary)
        return Picture.of(spectrogram_figure(clips))

    def predictions(self, benchmark: str, *, later: str = "") -> list[Prediction]:
        """Kept answers to a benchmark.

        Args:
            later: stage whose model answered, where it is a later one that the guard evaluated.

        Raises:
            UserError: there are none.
        """
        if benchmark not in self.recipe.evaluation.benchmarks:
            raise UserError(
                unknown("benchmark", benchmark, self.recipe.evaluation.benchmarks, see="the recipe")
            )
        folder = self.folder.predictions / "guard" / later if later else self.folder.predictions
        return read_predictions(predictions_path(folder, benchmark))

    def changed_answers(self, benchmark: str, *, later: str, num: int = 8) -> Markdown:
        """Answers to a benchmark that a later stage has changed, and whether right and wrong ones balance.

        Raises:
            UserError: the guard of the recipe did not evaluate the benchmark after that stage.
        """
        before, after = self.predictions(benchmark), self.predictions(benchmark, later=later)
        return changed_answers(before, after, num=num)

    def stamp_errors(self, benchmark: str) -> Picture:
        """Histogram of the errors of time stamps, over the answers to a benchmark.

        Raises:
            UserError: the benchmark was not evaluated.
        """
        return stamp_error_picture(self.predictions(benchmark))

    def clip(self, task: str, number: int = 0) -> ClipView:
        """Clip of a task, of the first benchmark that has it or else of the training data, written as a WAV file.

        Raises:
            UserError: no stage or benchmark has the task, or its data is missing.
        """
        cuts = self._cuts(task)
        cut = cuts[number % len(cuts)]
        prompts = [stage.prompt for stage in self.recipe.stages.values() if task in stage.mixture.sources]
        maker = maker_of(self.recipe, self.vocabulary, prompts[-1] if prompts else "natural")
        return self._view(cut, task, maker.reference(cut, task))

    def file(self, path: str | Path) -> ClipView:
        """Clip of an audio file of your own, at 16 kHz and without a reference; 30 s at most.

        Raises:
            UserError: it is no audio.
        """
        return self._view(cut_of_files((Path(path),), {}, long_audio="truncate", channel=AVERAGE), "", "")

    def _view(self, cut: Cut, task: str, reference: str) -> ClipView:
        wave = load_waves(cut)[0]
        name = Path(cut.id).name
        path = self._clips / f"{name}-{len(wave)}.wav"
        path.write_bytes(wav_bytes(wave))
        return ClipView(name, task, path, wave, log_mel_of(self.recipe, wave), reference)

    def _cuts(self, task: str) -> Sequence[Cut]:
        for benchmark in self.recipe.evaluation.benchmarks.values():
            if benchmark.task == task:
                return benchmark_cuts(self.recipe, benchmark)
        for stage in self.recipe.stages.values():
            if sources := stage.mixture.sources.get(task):
                return read_cuts(Path(self.recipe.data_dir), sources[0])
        tasks: Mapping[str, object] = {
            name: None for stage in self.recipe.stages.values() for name in stage.mixture.sources
        }
        raise UserError(unknown("task", task, tasks, see="the recipe"))

    def _stage(self, name: str) -> str:
        if name not in self.recipe.stages:
            raise UserError(unknown("stage", name, self.recipe.stages, see="the recipe"))
        return name


def _data_dir(run: Path, recipe: Recipe) -> Path:
    """Data folder of a run; a relative one is looked up from the current folder, then from those above the run."""
    named = Path(recipe.data_dir)
    if named.is_absolute():
        return named
    sources = [
        source
        for stage in recipe.stages.values()
        for of_task in stage.mixture.sources.values()
        for source in of_task
    ]
    for folder in [Path(), *run.absolute().parents[:LEVELS]]:
        if any(has_cut_set(folder / named, source) for source in sources):
            return (folder / named).absolute()
    return named
