"""Evaluation of the model of each stage: answers are kept, scores are printed.

The untrained model answers the same benchmarks, so that the table separates learning from guessing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from audio_lm.common.env import is_main
from audio_lm.common.errors import DataError, UserError
from audio_lm.common.files import report_unreadable, write_text
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.config import UNTRAINED
from audio_lm.evaluation.definitions import Definition, read_definitions, save_definition
from audio_lm.evaluation.predict import (
    Prediction,
    predict,
    predictions_path,
    read_predictions,
    write_predictions,
)
from audio_lm.evaluation.report import Row, print_table, rows_as_records
from audio_lm.evaluation.score import read_scores, score_benchmark, score_path, write_scores
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.benchmark_data import benchmark_packs, check_benchmarks
from audio_lm.pipeline.corpora import prepare_corpora
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.pipeline.report_clips import report_clips
from audio_lm.pipeline.vocabulary import check_benchmark_tags
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.console import run_console
from audio_lm.run.evaluation_recipe import only_benchmarks, recipe_to_evaluate
from audio_lm.run.folder import RunFolder
from audio_lm.run.open import kept_vocabulary, open_run
from audio_lm.run.session import RunSession
from audio_lm.run.stage_model import StageModels
from audio_lm.tracking.report.audio_report import ReportClip, audio_report
from audio_lm.tracking.report.figures import mixture_figure, spectrogram_figure
from audio_lm.training.distributed import all_gather_object

MAX_SPECTROGRAMS = 8


class Evaluator:
    """Evaluates models on the benchmarks of a recipe, and keeps answers and scores.

    Args:
        session: of the training run; None when a finished run is evaluated, and nothing is tracked.
        models: of the training run.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        vocabulary: Vocabulary,
        console: Console,
        *,
        session: RunSession | None = None,
        models: StageModels | None = None,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.vocabulary = vocabulary
        self.console = console
        self.session = session
        self.models = models
        self.tracking = session.tracking if session else None
        self.is_sharded = models is not None and models.is_sharded
        self.takes_part = is_main() or self.is_sharded
        self.scores = _kept_scores(with_kept_benchmarks(recipe, folder), folder)

    def due(self, stage: str) -> list[str]:
        """Benchmarks of a stage to evaluate: all, or those without answers or with another definition.

        A collective where the model is sharded.
        """
        names = [name for name, b in self.recipe.evaluation.benchmarks.items() if b.stage == stage]
        if self.folder.is_evaluated(stage):
            names = [name for name in names if not self._is_answered(name)]
        return all_gather_object(names)[0] if self.is_sharded else names

    def evaluate_untrained(self, stages: list[str]) -> None:
        """Evaluate the model before any training, where the recipe names that baseline.

        Args:
            stages: whose benchmarks are evaluated.
        """
        if UNTRAINED not in self.recipe.evaluation.baselines or not self.takes_part or self.models is None:
            return
        missing = [
            name
            for name, benchmark in self.recipe.evaluation.benchmarks.items()
            if benchmark.stage in stages and not self._is_answered(name, UNTRAINED + "/")
        ]
        if self.is_sharded:
            missing = all_gather_object(missing)[0]  # the first rank keeps the scores
        if not missing:
            return
        self.console.print(f"evaluating the untrained model: {', '.join(missing)}")
        model = self.models.load(stages[0], None)
        for name in missing:
            self._evaluate(model, name, UNTRAINED + "/")

    def evaluate_stage(self, model: AudioLM, stage: str, due: Collection[str]) -> None:
        """Evaluate the model of a stage; answers and an audio report are kept.

        Args:
            due: benchmarks to evaluate; the report also shows the kept answers of the stage's others.
        """
        if not self.takes_part:
            return
        if self.tracking is not None and is_main():
            figure = mixture_figure(self.recipe.stages[stage].mixture.weights)
            self.tracking.stage(stage).log_figure(figure, "mixture.png")
        if due:
            self.console.print(f"{stage}: evaluating {', '.join(due)}")
        clips: list[ReportClip] = []
        for name, benchmark in self.recipe.evaluation.benchmarks.items():
            if benchmark.stage != stage:
                continue
            predictions = self._evaluate(model, name, "") if name in due else []
            if self.tracking is not None and is_main():
                predictions = predictions if name in due else self._kept(name)
                clips += report_clips(self.recipe, name, predictions, model, self.vocabulary)
        if self.tracking is not None and clips:
            self._show(stage, clips)

    def finish(self) -> None:
        """Print the table, and track the scores."""
        if not is_main():
            return
        rows = table_rows(with_kept_benchmarks(self.recipe, self.folder), self.scores)
        if rows:
            print_table(rows, self.console)
        if self.tracking is not None and rows:
            self.tracking.log_metrics(self.scores, step=0)
            self.tracking.log_table(rows_as_records(rows), "eval/table.json")
        self.console.print(f"scores: {self.folder.scores}   answers: {self.folder.predictions}/")
        if self.tracking is not None:
            self.console.print(f"curves: {self.tracking.where}", soft_wrap=True)

    def _is_answered(self, name: str, prefix: str = "") -> bool:
        """Check whether answers and scores of a benchmark's present definition are kept."""
        benchmark = self.recipe.evaluation.benchmarks[name]
        path = prefix + score_path(benchmark.source, benchmark.task)
        definition = read_definitions(self._answers(prefix)).get(name)
        return (
            predictions_path(self._answers(prefix), name).is_file()
            and all(f"{path}/{metric}" in self.scores for metric in benchmark.metrics)
            and (definition is None or definition.benchmark == benchmark)
            and (definition is None or definition.own_task == self.recipe.tasks.get(benchmark.task))
        )

    def _answers(self, prefix: str) -> Path:
        return self.folder.predictions / prefix.rstrip("/")

    def _kept(self, name: str) -> list[Prediction]:
        try:
            return read_predictions(predictions_path(self.folder.predictions, name))
        except DataError:
            return []

    def _evaluate(self, model: AudioLM, name: str, prefix: str) -> list[Prediction]:
        benchmark = self.recipe.evaluation.benchmarks[name]
        vocabulary = self.vocabulary
        packs: Iterable[Any] = benchmark_packs(self.recipe, benchmark, vocabulary)
        if self.session is not None:
            packs = self.session.until_stopped(packs, is_collective=self.is_sharded)
        with self.models.generating() if self.models else nullcontext():
            predictions = list(
                predict(
                    model,
                    packs,
                    vocabulary,
                    end_ids={vocabulary.end_id, vocabulary.turn_end_id},
                    max_new_tokens=benchmark.max_new_tokens,
                )
            )
        if not is_main():
            return predictions
        if self.session is not None:
            self.session.check_lease()
        write_predictions(predictions_path(self._answers(prefix), name), predictions)
        values = score_benchmark(predictions, benchmark.metrics)
        path = prefix + score_path(benchmark.source, benchmark.task)
        self.scores |= {f"{path}/{metric}": value for metric, value in values.items()}
        write_scores(self.folder.scores, self.scores)
        # Last: killed before it, a benchmark whose definition changed is evaluated again.
        published, own_task = self.recipe.published.get(name, {}), self.recipe.tasks.get(benchmark.task)
        definition = Definition(benchmark, published, own_task=own_task)
        save_definition(self._answers(prefix), name, definition)
        if self.tracking is not None and not prefix:
            logger = self.tracking.stage(benchmark.stage)
            logger.log_table([asdict(prediction) for prediction in predictions], f"eval/{name}.json")
            logger.log_metrics({f"{path}/{metric}": value for metric, value in values.items()}, step=0)
        return predictions

    def _show(self, stage: str, clips: list[ReportClip]) -> None:
        assert self.tracking is not None, "the report is an artifact of the tracking run"
        logger = self.tracking.stage(stage)
        page = audio_report(clips, title=f"{self.recipe.name} / {stage}", subtitle=str(self.folder.path))
        path = self.folder.stage(stage) / "report" / "samples.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
        logger.log_text(page, "report/samples.html")
        clip_per_task = list({clip.task: clip for clip in clips}.values())
        logger.log_figure(spectrogram_figure(clip_per_task[:MAX_SPECTROGRAMS]), "report/spectrograms.png")


def table_rows(recipe: Recipe, scores: Mapping[str, float]) -> list[Row]:
    """Rows of the table of scores."""
    rows = []
    for name, benchmark in recipe.evaluation.benchmarks.items():
        path = score_path(benchmark.source, benchmark.task)
        for metric in benchmark.metrics:
            if f"{path}/{metric}" in scores:
                rows.append(
                    Row(
                        stage=benchmark.stage,
                        benchmark=name,
                        task=benchmark.task,
                        metric=metric,
                        ours=scores[f"{path}/{metric}"],
                        untrained=scores.get(f"{UNTRAINED}/{path}/{metric}"),
                        expected=recipe.published.get(name, {}).get(metric),
                    )
                )
    return rows


def with_kept_benchmarks(recipe: Recipe, folder: RunFolder) -> Recipe:
    """Recipe of a run with its benchmarks as they were evaluated, including those that a later evaluation added."""
    kept = read_definitions(folder.predictions)
    benchmarks = recipe.evaluation.benchmarks | {name: entry.benchmark for name, entry in kept.items()}
    published = {name: dict(entry.published) for name, entry in kept.items() if entry.published}
    tasks = {entry.benchmark.task: entry.own_task for entry in kept.values() if entry.own_task is not None}
    return replace(
        recipe,
        tasks=tasks | recipe.tasks,
        evaluation=replace(recipe.evaluation, benchmarks=benchmarks),
        published=published | recipe.published,
    )


def evaluate(
    path: Path,
    console: Console | None = None,
    *,
    overrides: Sequence[str] = (),
    benchmarks: Sequence[str] = (),
    trusts_code: bool = False,
) -> dict[str, float]:
    """Evaluate the models of a run; writes answers, their definitions and scores.

    Args:
        overrides: of the command line; see ``evaluation_recipe``.
        benchmarks: names; by default those in the overrides, or else all of the run's recipe.

    Returns:
        All scores of the run: ``corpus/subset-split/task/metric`` -> value.

    Raises:
        RecipeError: an override is not one of an evaluation, a benchmark is unknown, or the recipe, which may come
            from elsewhere, sets ``data_dir`` outside the run folder and the working directory.
        CheckpointError: the stage of a named benchmark has no weights.
    """
    console = console or run_console()
    folder = open_run(path, trusts_code=True)[1]
    recipe, chosen = recipe_to_evaluate(folder, overrides, benchmarks, trusts_code=trusts_code)
    prepare_corpora(recipe, console.print)
    chosen_recipe = only_benchmarks(recipe, chosen)
    check_benchmarks(chosen_recipe)
    is_named = bool(overrides or benchmarks)
    stages = [
        name
        for name in recipe.stages
        if name in {b.stage for b in chosen_recipe.evaluation.benchmarks.values()}
    ]
    stages = [name for name in stages if is_named or folder.model(name).is_dir()]
    for name in stages:
        folder.check_model(name)
    vocabulary = kept_vocabulary(recipe, folder)
    check_benchmark_tags(chosen_recipe, vocabulary)
    model = build_audio_lm(recipe, vocabulary)
    evaluator = Evaluator(recipe, folder, vocabulary, console)
    for stage in stages:
        due = [
            name
            for name, benchmark in chosen_recipe.evaluation.benchmarks.items()
            if benchmark.stage == stage
        ]
        load_weights(model, folder.model(stage))
        evaluator.evaluate_stage(model, stage, due)
    evaluator.finish()
    return evaluator.scores


def rescore(path: Path, console: Console | None = None) -> None:
    """Score the kept answers of a run again, including those of the untrained model."""
    recipe, folder = open_run(path, trusts_code=True)  # no model is loaded
    write_scores(folder.scores, _scores_of_answers(with_kept_benchmarks(recipe, folder), folder))
    report(path, console)


def _kept_scores(recipe: Recipe, folder: RunFolder) -> dict[str, float]:
    """Scores in the run folder; computed again from the answers if the file is unreadable."""
    try:
        return read_scores(folder.scores)
    except DataError as error:
        report_unreadable(folder.scores, f"{error}; answers that are readable are scored again")
        return _scores_of_answers(recipe, folder, is_tolerant=True)


def _scores_of_answers(recipe: Recipe, folder: RunFolder, *, is_tolerant: bool = False) -> dict[str, float]:
    """Scores of all answers that a run has kept.

    Args:
        is_tolerant: leave out answers that cannot be scored.

    Raises:
        DataError: answers cannot be scored; names their file.
    """
    scores: dict[str, float] = {}
    for name, benchmark in recipe.evaluation.benchmarks.items():
        for prefix in ("", UNTRAINED + "/"):
            kept = predictions_path(folder.predictions / prefix.rstrip("/"), name)
            if not kept.is_file():
                continue
            try:
                values = score_benchmark(read_predictions(kept), benchmark.metrics)
            except DataError as error:
                if not is_tolerant:
                    raise
                report_unreadable(kept, str(error))
                continue
            path_of_scores = prefix + score_path(benchmark.source, benchmark.task)
            scores |= {f"{path_of_scores}/{metric}": value for metric, value in values.items()}
    return scores


def report(path: Path, console: Console | None = None) -> None:
    """Print the table of a run."""
    recipe, folder = open_run(path, trusts_code=True)  # no model is loaded
    rows = table_rows(with_kept_benchmarks(recipe, folder), read_scores(folder.scores))
    if not rows:
        raise UserError(f"{path} has no scores yet; `audio-lm evaluate {path}` computes them")
    print_table(rows, console or run_console())
