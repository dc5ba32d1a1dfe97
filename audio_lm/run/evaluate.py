"""Benchmarks put to the model of each stage, answers kept, scores printed.

An untrained model answers the same questions, so that the table shows what was
learned and not what a lucky guess scores.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from audio_lm.common.errors import CheckpointError, DataError, UserError
from audio_lm.common.files import report_unreadable, text_fault, write_text
from audio_lm.common.runtime import is_main
from audio_lm.common.seals import folder_fault
from audio_lm.config.load import load_recipe
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.config import UNTRAINED
from audio_lm.evaluation.definitions import read_definitions, save_definition
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
from audio_lm.pipeline.vocabulary import build_vocabulary, check_benchmark_tags
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.console import run_console
from audio_lm.run.evaluation_recipe import only_benchmarks, recipe_to_evaluate
from audio_lm.run.folder import RunFolder, kept_tokens
from audio_lm.tracking.report.audio_report import ReportClip, audio_report
from audio_lm.tracking.report.figures import mixture_figure, spectrogram_figure
from audio_lm.tracking.run import RecipeRun
from audio_lm.training.distributed import all_gather_object

MAX_PICTURES = 8


class Evaluator:
    """Puts a recipe's benchmarks to models and keeps what came of it.

    Args:
        until_stopped: hands packs on until the run is told to stop.
        run: where scores, answers and pictures are also written down; none for a later look.
        may_write: called by the first rank before it writes; raises when the run belongs to somebody else by now.
        asked: holds a model that is shared out together while all ranks answer; none where the first one does alone.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        vocabulary: Vocabulary,
        run: RecipeRun | None,
        console: Console,
        *,
        until_stopped: Callable[[Iterable[Any]], Iterator[Any]] = iter,
        asked: Callable[[], AbstractContextManager[None]] = nullcontext,
        may_write: Callable[[], object] = lambda: None,
    ) -> None:
        self.may_write = may_write
        self.until_stopped = until_stopped
        self.recipe = recipe
        self.asked = asked
        self.is_shared = run is not None and recipe.hardware.sharding != "none"
        self.answers = is_main() or self.is_shared
        self.folder = folder
        self.vocabulary = vocabulary
        self.run = run
        self.console = console
        self.scores = _kept_scores(with_asked(recipe, folder), folder)

    def due(self, stage: str) -> list[str]:
        """Benchmarks of a stage to be put to its model: all, or those without answers or with another definition.

        All ranks call it together where they share the model.
        """
        names = [name for name, b in self.recipe.evaluation.benchmarks.items() if b.stage == stage]
        if self.folder.status(stage).get("judged"):
            names = [name for name in names if not self._is_answered(name)]
        return all_gather_object(names)[0] if self.is_shared else names

    def untrained(self, first: Callable[[], AudioLM], stages: list[str]) -> None:
        """Score the model as it is before any training.

        Args:
            first: gives it with its first weights.
        """
        if UNTRAINED not in self.recipe.evaluation.baselines or not self.answers:
            return
        missing = [
            name
            for name, benchmark in self.recipe.evaluation.benchmarks.items()
            if benchmark.stage in stages and not self._is_answered(name, UNTRAINED + "/")
        ]
        if self.is_shared:
            missing = all_gather_object(missing)[0]  # the first rank keeps the scores
        if missing:
            self.console.print(f"asking the untrained model: {', '.join(missing)}")
            model = first()
        for name in missing:
            self._judge(model, name, UNTRAINED + "/")

    def stage(self, model: AudioLM, stage: str, due: Collection[str]) -> None:
        """Score what a stage has left; answers and a listening report are kept.

        Args:
            due: benchmarks to ask; the report also shows the kept answers of the stage's others.
        """
        if not self.answers:
            return
        if self.run is not None and is_main():
            figure = mixture_figure(self.recipe.stages[stage].mixture.weights)
            self.run.stage(stage).log_figure(figure, "mixture.png")
        if due:
            self.console.print(f"{stage}: asking {', '.join(due)}")
        clips: list[ReportClip] = []
        for name, benchmark in self.recipe.evaluation.benchmarks.items():
            if benchmark.stage != stage:
                continue
            predictions = self._judge(model, name, "") if name in due else []
            if self.run is not None and is_main():
                predictions = predictions if name in due else self._kept(name)
                clips += report_clips(self.recipe, name, predictions, model, self.vocabulary)
        if self.run is not None and clips:
            self._show(stage, clips)

    def finish(self) -> None:
        """Print the table; the recipe's run gets the scores."""
        if not is_main():
            return
        rows = table_rows(with_asked(self.recipe, self.folder), self.scores)
        if rows:
            print_table(rows, self.console)
        if self.run is not None and rows:
            self.run.log_metrics(self.scores, step=0)
            self.run.log_table(rows_as_records(rows), "eval/table.json")
        self.console.print(f"scores: {self.folder.scores}   answers: {self.folder.predictions}/")
        if self.run is not None:
            self.console.print(f"look:   {self.run.where}", soft_wrap=True)

    def _is_answered(self, name: str, prefix: str = "") -> bool:
        """Whether answers and scores are kept, and are those of this definition as far as is known."""
        benchmark = self.recipe.evaluation.benchmarks[name]
        path = prefix + score_path(benchmark.source, benchmark.task)
        definition = read_definitions(self._answers(prefix)).get(name)
        return (
            predictions_path(self._answers(prefix), name).is_file()
            and all(f"{path}/{metric}" in self.scores for metric in benchmark.metrics)
            and (definition is None or definition.benchmark == benchmark)
        )

    def _answers(self, prefix: str) -> Path:
        return self.folder.predictions / prefix.rstrip("/")

    def _kept(self, name: str) -> list[Prediction]:
        try:
            return read_predictions(predictions_path(self.folder.predictions, name))
        except DataError:
            return []

    def _judge(self, model: AudioLM, name: str, prefix: str) -> list[Prediction]:
        benchmark = self.recipe.evaluation.benchmarks[name]
        vocabulary = self.vocabulary
        with self.asked():
            predictions = list(
                predict(
                    model,
                    self.until_stopped(benchmark_packs(self.recipe, benchmark, vocabulary)),
                    vocabulary,
                    end_ids={vocabulary.end_id, vocabulary.turn_end_id},
                    max_new_tokens=benchmark.max_new_tokens,
                )
            )
        if not is_main():
            return predictions
        self.may_write()
        write_predictions(predictions_path(self._answers(prefix), name), predictions)
        values = score_benchmark(predictions, benchmark.metrics)
        path = prefix + score_path(benchmark.source, benchmark.task)
        self.scores |= {f"{path}/{metric}": value for metric, value in values.items()}
        write_scores(self.folder.scores, self.scores)
        # Last: killed before it, an answered benchmark of another definition is asked again.
        save_definition(self._answers(prefix), name, benchmark, self.recipe.published.get(name, {}))
        if self.run is not None and not prefix:
            logger = self.run.stage(benchmark.stage)
            logger.log_table([asdict(prediction) for prediction in predictions], f"eval/{name}.json")
            logger.log_metrics({f"{path}/{metric}": value for metric, value in values.items()}, step=0)
        return predictions

    def _show(self, stage: str, clips: list[ReportClip]) -> None:
        assert self.run is not None, "somebody has to look"
        logger = self.run.stage(stage)
        page = audio_report(clips, title=f"{self.recipe.name} / {stage}", subtitle=str(self.folder.path))
        path = self.folder.stage(stage) / "report" / "samples.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
        logger.log_text(page, "report/samples.html")
        one_of_each = list({clip.task: clip for clip in clips}.values())
        logger.log_figure(spectrogram_figure(one_of_each[:MAX_PICTURES]), "report/spectrograms.png")


def table_rows(recipe: Recipe, scores: Mapping[str, float]) -> list[Row]:
    """What the table of a run says."""
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


def with_asked(recipe: Recipe, folder: RunFolder) -> Recipe:
    """The recipe of a run with its benchmarks as they were answered, also those that only an evaluation named."""
    kept = read_definitions(folder.predictions)
    benchmarks = recipe.evaluation.benchmarks | {name: one.benchmark for name, one in kept.items()}
    published = {name: dict(one.published) for name, one in kept.items() if one.published}
    return replace(
        recipe,
        evaluation=replace(recipe.evaluation, benchmarks=benchmarks),
        published=published | recipe.published,
    )


def open_run(path: Path, *, trusts_code: bool = False) -> tuple[Recipe, RunFolder]:
    """The recipe of a finished or stopped run.

    Args:
        trusts_code: as of ``load_recipe``.

    Raises:
        UserError: the folder holds no run.
    """
    folder = RunFolder(path)
    if not folder.recipe.is_file():
        raise UserError(
            f"{path} holds no run (recipe.yaml is not there); name a folder such as runs/demo-1a2b3c4d"
        )
    if fault := text_fault(folder.recipe):
        raise UserError(
            f"{folder.recipe} is damaged ({fault}); `audio-lm train RECIPE --out {path} resume=auto` writes it again"
        )
    return load_recipe(folder.recipe, is_complete=True, trusts_code=trusts_code).recipe, folder


def kept_vocabulary(recipe: Recipe, folder: RunFolder) -> Vocabulary:
    """The vocabulary a run was trained with.

    Raises:
        CheckpointError: it was trained for this run and is not there any more.
    """
    is_trained_here = recipe.model.tokenizer_source is None
    if is_trained_here and not folder.tokenizer.is_dir():
        raise CheckpointError(
            f"{folder.tokenizer} is not there, so the run's token ids are unknown; train it again"
        )
    tokenizer = folder.kept_tokenizer()
    if is_trained_here and tokenizer is None:
        raise CheckpointError(
            f"{folder.tokenizer}: {folder_fault(folder.tokenizer)}; `audio-lm train ... resume=auto` makes it again"
        )
    return build_vocabulary(recipe, {}, tokenizer, tokens=kept_tokens(folder))


def evaluate(
    path: Path,
    console: Console | None = None,
    *,
    overrides: Sequence[str] = (),
    benchmarks: Sequence[str] = (),
    trusts_code: bool = False,
) -> None:
    """Put benchmarks to the models that a run has left; nothing but answers, their definitions and scores is written.

    Args:
        overrides: of the command line; see ``evaluation_recipe``.
        benchmarks: names; none for those of the overrides, or else all of the run's recipe.

    Raises:
        RecipeError: an override is not one of an evaluation, a benchmark is unknown, or the run's folder, which may
            come from elsewhere, names another's folder for its data.
        CheckpointError: the stage of a benchmark that was named has left no weights.
    """
    console = console or run_console()
    folder = open_run(path, trusts_code=True)[1]
    recipe, chosen = recipe_to_evaluate(folder, overrides, benchmarks, trusts_code=trusts_code)
    prepare_corpora(recipe, console.print)
    asked = only_benchmarks(recipe, chosen)
    check_benchmarks(asked)
    is_named = bool(overrides or benchmarks)
    stages = [
        name for name in recipe.stages if name in {b.stage for b in asked.evaluation.benchmarks.values()}
    ]
    stages = [name for name in stages if is_named or folder.model(name).is_dir()]
    for name in stages:
        folder.check_model(name)
    vocabulary = kept_vocabulary(recipe, folder)
    check_benchmark_tags(asked, vocabulary)
    model = build_audio_lm(recipe, vocabulary)
    evaluator = Evaluator(recipe, folder, vocabulary, None, console)
    for stage in stages:
        due = [name for name, benchmark in asked.evaluation.benchmarks.items() if benchmark.stage == stage]
        load_weights(model, folder.model(stage))
        evaluator.stage(model, stage, due)
    evaluator.finish()


def rescore(path: Path, console: Console | None = None) -> None:
    """Score the answers a run has kept, the untrained model's too."""
    recipe, folder = open_run(path, trusts_code=True)  # no model is loaded
    write_scores(folder.scores, _scores_of_answers(with_asked(recipe, folder), folder))
    report(path, console)


def _kept_scores(recipe: Recipe, folder: RunFolder) -> dict[str, float]:
    """Scores that were kept; made again from the answers where they are unreadable."""
    try:
        return read_scores(folder.scores)
    except DataError as error:
        report_unreadable(folder.scores, f"{error}; what can be scored again is")
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
    rows = table_rows(with_asked(recipe, folder), read_scores(folder.scores))
    if not rows:
        raise UserError(f"{path} has no scores yet; `audio-lm evaluate {path}` makes them")
    print_table(rows, console or run_console())
