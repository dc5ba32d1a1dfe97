"""Evaluation of the model of each stage: answers are kept, scores are printed.

The untrained model answers the same benchmarks, so that the table separates learning from guessing.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from audio_lm.common.env import is_main, rank
from audio_lm.common.errors import DataError
from audio_lm.common.files import write_text
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.answer_log import AnswerLog
from audio_lm.evaluation.breakdown import breakdown_of, write_breakdown
from audio_lm.evaluation.config import BASE, CONTROLS, MAJORITY, UNTRAINED, BenchmarkConfig
from audio_lm.evaluation.definitions import Definition, read_definitions, save_definition
from audio_lm.evaluation.guard_table import guard_prefix
from audio_lm.evaluation.judge.verdicts import FOLDER as JUDGE
from audio_lm.evaluation.judge.verdicts import METRICS, forget_judgement
from audio_lm.evaluation.majority import BENCHMARK, is_of_labels, majority_of
from audio_lm.evaluation.predict import (
    Prediction,
    as_record,
    predictions_path,
    read_predictions,
    write_predictions,
)
from audio_lm.evaluation.report import rows_as_records
from audio_lm.evaluation.score import score_key, write_scores
from audio_lm.metrics.registry import find_metric
from audio_lm.model.audio_lm import AudioLM
from audio_lm.pipeline.benchmark_data import training_majority
from audio_lm.pipeline.benchmark_jobs import MAIN, BenchmarkJobs, check_controls
from audio_lm.pipeline.report_clips import report_clips
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.answering import (
    Answered,
    Wait,
    answer_benchmark,
    kept_answers,
    remove_control,
    remove_partial,
    stamp_of,
)
from audio_lm.run.folder import RunFolder
from audio_lm.run.scores import (
    control_scores,
    kept_scores,
    majority_scores,
    print_breakdown,
    print_guard,
    print_scores,
    scores_of,
    table_rows,
    with_kept_benchmarks,
)
from audio_lm.run.session import RunSession
from audio_lm.run.stage_model import StageModels
from audio_lm.tracking.report.audio_report import ReportClip, audio_report
from audio_lm.tracking.report.figures import confusion_figure, mixture_figure, spectrogram_figure
from audio_lm.training.distributed import all_gather_object

MAX_SPECTROGRAMS = 8


class Evaluator:
    """Evaluates models on the benchmarks of a recipe, and keeps answers and scores.

    Args:
        session: of the training run; None when a finished run is evaluated, and nothing is tracked.
        models: of the training run.
        again: answer benchmarks again that were answered by the same or another model.
        model_digest: of a model that is no run; that of a stage follows from its weights.
        wait: for all ranks, where several evaluate.
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
        again: bool = False,
        model_digest: str = "",
        wait: Wait = nullcontext,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.vocabulary = vocabulary
        self.console = console
        self.session = session
        self.models = models
        self.again = again
        self.model_digest = model_digest
        self.wait = wait
        self.tracking = session.tracking if session else None
        self.is_sharded = models is not None and models.is_sharded
        self.takes_part = is_main() or self.is_sharded or session is None
        self._evaluated: set[str] = set()
        self.scores = kept_scores(with_kept_benchmarks(recipe, folder), folder)

    def due(self, stage: str) -> list[str]:
        """Benchmarks of a stage to evaluate: all, or those without answers or with another definition.

        A collective where the model is sharded.
        """
        names = [name for name, b in self.recipe.evaluation.benchmarks.items() if b.stage == stage]
        if self.folder.is_evaluated(stage):
            names = [name for name in names if not self.is_answered(name)]
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
            if benchmark.stage in stages and not self.is_answered(name, UNTRAINED)
        ]
        if self.is_sharded:
            missing = all_gather_object(missing)[0]  # the first rank keeps the scores
        if not missing:
            return
        self.console.print(f"evaluating the untrained model: {', '.join(missing)}")
        model = self.models.load(stages[0], None)
        for name in missing:
            self.evaluate_benchmark(model, name, UNTRAINED)

    def evaluate_base(self, model: AudioLM, stage: str) -> None:
        """Evaluate the model that a stage starts from on the stage's benchmarks, where the recipe names that baseline."""
        if BASE not in self.recipe.evaluation.baselines or not self.takes_part:
            return
        benchmarks = self.recipe.evaluation.benchmarks
        names = [name for name, each in benchmarks.items() if each.stage == stage]
        missing = [name for name in names if not self.is_answered(name, BASE)]
        if self.is_sharded:
            missing = all_gather_object(missing)[0]  # the first rank keeps the scores
        if missing:
            self.console.print(f"{stage}: evaluating the model that it starts from: {', '.join(missing)}")
        for name in missing:
            self.evaluate_benchmark(model, name, BASE)

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
            predictions = self.evaluate_benchmark(model, name) if name in due else []
            if self.tracking is not None and is_main():
                predictions = predictions if name in due else self._kept(name)
                clips += report_clips(self.recipe, name, predictions, self.vocabulary)
        if self.tracking is not None and clips:
            self._show(stage, clips)

    def finish(self) -> None:
        """Print the table, and track the scores."""
        if not is_main():
            return
        self._add_majority()
        definitions = read_definitions(self.folder.predictions)
        recipe = with_kept_benchmarks(self.recipe, self.folder)
        rows = table_rows(recipe, self.scores, definitions, self.folder.predictions)
        if rows:
            print_scores(rows, definitions, self.console)
        print_guard(self.recipe, self.scores, self.console)
        if self.tracking is not None and rows:
            self.tracking.log_metrics(self.scores, step=0)
            self.tracking.log_table(rows_as_records(rows), "eval/table.json")
        self.console.print(f"scores: {self.folder.scores}   answers: {self.folder.predictions}/")
        if self.tracking is not None:
            self.console.print(f"curves: {self.tracking.where}", soft_wrap=True)

    def is_answered(self, name: str, baseline: str = "") -> bool:
        """Check whether answers and scores of a benchmark's present definition are kept."""
        benchmark = self.recipe.evaluation.benchmarks[name]
        definition = read_definitions(self._answers(baseline)).get(name)
        return (
            predictions_path(self._answers(baseline), name).is_file()
            and all(
                score_key(name, metric, baseline) in self.scores or find_metric(metric).why_missing()
                for metric in benchmark.metrics
            )
            and (definition is None or definition.benchmark == benchmark)
            and (definition is None or definition.own_task == self.recipe.tasks.get(benchmark.task))
        )

    def _answers(self, baseline: str) -> Path:
        return self.folder.predictions / baseline

    def _kept(self, name: str) -> list[Prediction]:
        try:
            return read_predictions(predictions_path(self.folder.predictions, name))
        except DataError:
            return []

    def evaluate_benchmark(self, model: AudioLM, name: str, baseline: str = "") -> list[Prediction]:
        """Answer a benchmark; the first rank keeps answers and scores.

        Args:
            baseline: the model is this one of ``BASELINES``, or that of a later stage (``guard/STAGE``); empty for the model of
                the benchmark's own stage.
        """
        config = self.recipe.evaluation.benchmarks[name]
        benchmark = replace(config, controls=[]) if baseline else config
        answered = self._answer(model, name, benchmark, baseline)
        predictions = answered.predictions[MAIN]
        if not is_main():
            return predictions
        if self.session is not None:
            self.session.check_lease()
        self._keep(name, benchmark, answered, baseline)
        # Last: killed before it, a benchmark whose definition changed is evaluated again.
        definition = Definition(
            config,
            self.recipe.published.get(name, {}),
            num_clips=len(predictions),
            own_task=self.recipe.tasks.get(benchmark.task),
            stamp=asdict(answered.stamp),
            speed=answered.speed,
        )
        save_definition(self._answers(baseline), name, definition)
        remove_partial(self._answers(baseline), name)
        if self.tracking is not None and not baseline:
            logger = self.tracking.stage(benchmark.stage)
            logger.log_table([as_record(prediction) for prediction in predictions], f"eval/{name}.json")
            scores = {key: value for key, value in self.scores.items() if key.startswith(f"{name}/")}
            logger.log_metrics(scores, step=0)
        return predictions

    def keep_scores(self, scores: Mapping[str, float]) -> None:
        """Add scores to those of the run, and write all."""
        self.scores |= scores
        write_scores(self.folder.scores, self.scores)

    def generating(self) -> AbstractContextManager[None]:
        """Context in which the model can be used outside a training step; a collective of a sharded model."""
        return self.models.generating() if self.models else nullcontext()

    def _answer(self, model: AudioLM, name: str, benchmark: BenchmarkConfig, baseline: str) -> Answered:
        """Answer a benchmark, or take the answers of an earlier evaluation with the same stamp.

        Raises:
            DataError: answers of another stamp are there; names the file.
        """
        jobs = BenchmarkJobs(self.recipe, benchmark, self.vocabulary)
        check_controls(jobs)
        folder = self._answers(baseline)
        with self.generating():
            stamp = stamp_of(model, self._digest(benchmark.stage, baseline), jobs)
            if self.session is not None:
                limit = partial(self.session.until_stopped, is_collective=self.is_sharded)
                return answer_benchmark(model, jobs, stamp, limit=limit)
            if self.again:
                remove_partial(folder, name)
            else:
                kept = kept_answers(folder, name, benchmark, stamp, read_definitions(folder).get(name))
                if kept is not None:
                    self.console.print(f"{name}: kept, answered before with the stamp {stamp.digest}")
                    return Answered(kept, stamp, read_definitions(folder)[name].speed)
            self.wait()  # the first rank may be removing or writing what others read
            log = AnswerLog(folder, name, stamp, rank())
            return answer_benchmark(model, jobs, stamp, log=log, wait=self.wait)

    def _digest(self, stage: str, baseline: str) -> str:
        """Digest of the weights of a stage or a baseline."""
        later = baseline.removeprefix(guard_prefix(""))
        if later in self.recipe.stages:
            return self.folder.model_digest(later)
        if baseline:
            return f"{baseline}-{stage}-{self.recipe.seed}"
        return self.model_digest or self.folder.model_digest(stage)

    def _keep(self, name: str, benchmark: BenchmarkConfig, answered: Answered, baseline: str) -> None:
        """Write the answers and scores of a benchmark and its controls; on the first rank."""
        if not baseline and _answers_of(self._kept(name)) != _answers_of(answered.predictions[MAIN]):
            forget_judgement(self.folder.path / JUDGE, name)
            judged = [score_key(name, metric) for metric in METRICS]
            self.scores = {key: value for key, value in self.scores.items() if key not in judged}
        for control, predictions in answered.predictions.items():
            write_predictions(predictions_path(self._answers(baseline or control), name), predictions)
        predictions = answered.predictions[MAIN]
        scores = scores_of(name, benchmark, predictions, baseline)
        if not baseline:
            for control in CONTROLS:
                if control in answered.predictions:
                    scores |= control_scores(name, benchmark, answered.predictions[control], control)
                else:
                    self.scores = remove_control(self.folder.predictions, name, control, self.scores)
            self._evaluated.add(name)
            self._write_parts(name, benchmark, predictions)
            if answered.speed is not None:
                self.console.print(
                    f"{name}: {len(predictions)} clips, {answered.speed:.0f} x real time", highlight=False
                )
        self.keep_scores(scores)

    def _add_majority(self) -> None:
        """Score the majority answer of benchmarks of labels, where the recipe names that baseline or nothing is trained."""
        is_named = MAJORITY in self.recipe.evaluation.baselines
        before = dict(self.scores)
        for name, definition in read_definitions(self.folder.predictions).items():
            is_wanted = name in self._evaluated if self.session is None else is_named
            benchmark = self.recipe.evaluation.benchmarks.get(name)
            if is_wanted and benchmark and not definition.majority and is_of_labels(benchmark.metrics):
                self._score_majority(name, benchmark, definition)
        if self.scores != before:
            write_scores(self.folder.scores, self.scores)

    def _score_majority(self, name: str, benchmark: BenchmarkConfig, definition: Definition) -> None:
        """Score the most frequent answer of the training data or, where there is none, of the benchmark itself."""
        predictions = self._kept(name)
        majority = training_majority(self.recipe, benchmark, self.vocabulary) or majority_of(
            (prediction.references[0] for prediction in predictions), BENCHMARK
        )
        if majority is None or not predictions:
            return
        if self.session is not None:
            self.session.check_lease()
        self.scores |= majority_scores(name, benchmark, predictions, majority.answer)
        save_definition(self.folder.predictions, name, replace(definition, majority=majority))

    def _write_parts(self, name: str, benchmark: BenchmarkConfig, predictions: Sequence[Prediction]) -> None:
        """Write confusion table and speakers; shown at once where no training follows."""
        parts = breakdown_of(name, predictions, benchmark.metrics)
        write_breakdown(self.folder.predictions, parts, metrics=benchmark.metrics)
        if self.session is None:
            print_breakdown(parts, self.console)
        if self.tracking is not None and (table := parts.confusion) is not None:
            figure = confusion_figure(table.labels, table.answers, table.counts, title=name)
            self.tracking.stage(benchmark.stage).log_figure(figure, f"eval/{name}.png")

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


def _answers_of(predictions: Sequence[Prediction]) -> list[tuple[str, str]]:
    return [(prediction.id, prediction.answer) for prediction in predictions]
