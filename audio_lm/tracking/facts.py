"""Facts of a run for people: its name, its parameters, and its description in MLflow.

Names of summaries, which MLflow shows as columns: ``<benchmark>/<metric>``, ``<baseline>/<benchmark>/<metric>``, and
``share/<stage>/<task>``, the realised share of the stage's clips. The parameter ``weight/<stage>/<task>`` is beside it.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from audio_lm.common.markdown_table import markdown_cell, markdown_table
from audio_lm.tracking.event_log.names import shorten

MAX_NAME_LENGTH = 100
WEIGHT, SHARE, NOT_FINITE = "weight", "share", "nonfinite"
TASKS_TAG = "benchmark_tasks"
NOTE_TAG = "mlflow.note.content"  # MLflow shows it as the description
MIXTURE = ("stage", "task", "weight", "planned share", "realised share")
Cells = Sequence[str]


@dataclass(frozen=True)
class TaskFacts:
    """A task in the mixture of a stage."""

    task: str
    weight: float
    planned_share: float
    """Of the stage's clips."""

    realised_share: float | None = None
    """Of the clips that were trained on; None until the stage is trained."""


@dataclass(frozen=True)
class StageFacts:
    """A stage and its mixture."""

    name: str
    steps: int
    tasks: tuple[TaskFacts, ...] = ()
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    """Benchmark of the stage's model -> its task."""

    def in_words(self) -> str:
        """Mixture of the stage as one line: realised shares, before the end of training planned ones."""
        kind = "trained on" if self.shares() else "planned"
        shares = ", ".join(
            f"{each.task} {100 * (each.planned_share if each.realised_share is None else each.realised_share):.1f} %"
            for each in self.tasks
        )
        return f"Mixture of {self.name}, {kind}: {shares}"

    def shares(self) -> dict[str, float]:
        """Realised shares, under their names in MLflow."""
        return {
            f"{SHARE}/{self.name}/{each.task}": round(each.realised_share, 4)
            for each in self.tasks
            if each.realised_share is not None
        }


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Facts of a run of a recipe."""

    recipe: str
    """Name of the recipe."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings that the command line gave, under short names."""

    params: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the run besides its weights: what differs from the recipe, and main facts."""

    stages: tuple[StageFacts, ...] = ()
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Benchmark -> metric -> published score."""

    folder: str = ""
    """Folder of the run."""

    words: tuple[str, ...] = ()
    """Facts for the first line of the description, such as the model."""

    commands: Mapping[str, str] = field(default_factory=dict)
    """Purpose -> command to go on with."""

    def run_name(self) -> str:
        """Name of the recipe and what differs from it, in at most ``MAX_NAME_LENGTH`` characters.

        >>> RunFacts(recipe="emodb", settings={"sgc": "6"}).run_name()
        'emodb sgc=6'
        """
        words = [f"{name}={value}" for name, value in self.settings.items()]
        for num_left in range(len(words) + 1):
            kept = words[: len(words) - num_left]
            rest = [f"+{num_left} more"] if num_left else []
            name = " ".join([self.recipe, *kept, *rest])
            if len(name) <= MAX_NAME_LENGTH:
                return name
        return shorten(self.recipe, MAX_NAME_LENGTH)

    def all_params(self) -> dict[str, str]:
        """Parameters of the run: one per task's weight, and the others."""
        weights = {
            f"{WEIGHT}/{stage.name}/{each.task}": f"{each.weight:g}"
            for stage in self.stages
            for each in stage.tasks
        }
        return {**self.params, **weights}

    def tags(self) -> dict[str, str]:
        """Tags for programs: the folder, and the task of every benchmark."""
        task_of_benchmark = {name: task for stage in self.stages for name, task in stage.benchmarks.items()}
        return {"recipe": self.recipe, "run_folder": self.folder, TASKS_TAG: json.dumps(task_of_benchmark)}

    def shares(self) -> dict[str, float]:
        """Realised shares of the trained stages, under their names in MLflow."""
        return {name: share for stage in self.stages for name, share in stage.shares().items()}

    def with_shares(self, stage: str, share_of_task: Mapping[str, float]) -> "RunFacts":
        """Facts with the realised shares of a stage."""
        stages = tuple(
            replace(
                each,
                tasks=tuple(
                    replace(task, realised_share=share_of_task.get(task.task)) for task in each.tasks
                ),
            )
            if each.name == stage
            else each
            for each in self.stages
        )
        return replace(self, stages=stages)

    def recipe_note(self, summaries: Mapping[str, float]) -> str:
        """Description of the run in Markdown.

        Args:
            summaries: scores so far, under their names in MLflow.
        """
        changed = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        first = f"Recipe **{self.recipe}**" + (
            f" with **{markdown_cell(changed)}**" if changed else ", unchanged"
        )
        return self._note([first, *self.words], self.stages, summaries)

    def stage_note(self, name: str, summaries: Mapping[str, float]) -> str:
        """Description of a stage in Markdown; see ``recipe_note``."""
        stages = tuple(stage for stage in self.stages if stage.name == name)
        steps = [f"{stage.steps} steps" for stage in stages]
        first = f"Stage **{name}** of {markdown_cell(self.run_name())}"
        known = {benchmark for stage in stages for benchmark in stage.benchmarks}
        own = {key: value for key, value in summaries.items() if not known.isdisjoint(key.split("/"))}
        return self._note([first, *steps], stages, own)

    def _note(self, head: Cells, stages: Sequence[StageFacts], summaries: Mapping[str, float]) -> str:
        """Words, of which MLflow shows some lines before "Show more", then the tables."""
        heading, scores = self._scores(summaries)
        in_words = [stage for stage in stages if stage.benchmarks] or stages
        words = [
            "; ".join(head),
            _scores_in_words(scores),
            *(stage.in_words() for stage in in_words if stage.tasks),
            f"Run folder `{self.folder}`" if self.folder else "",
            *(f"{purpose}: `{command}`" for purpose, command in self.commands.items()),
        ]
        mixture = [[stage.name, *_task_cells(each)] for stage in stages for each in stage.tasks]
        sections = [
            "  \n".join(line for line in words if line),
            markdown_table([heading, *scores], num_text_columns=2),
            markdown_table([MIXTURE, *mixture], num_text_columns=2),
        ]
        return "\n\n".join(section for section in sections if section)

    def _scores(self, summaries: Mapping[str, float]) -> tuple[Cells, list[Cells]]:
        """Heading and rows of the scores, each beside its baselines and the published score."""
        values = dict(_scores_in(summaries))
        baselines = list(dict.fromkeys(baseline for baseline, _, _ in values if baseline))
        names = list(dict.fromkeys((benchmark, metric) for _, benchmark, metric in values))
        published = {name: self.published.get(name[0], {}).get(name[1]) for name in names}
        has_published = any(value is not None for value in published.values())
        rows: list[Cells] = [
            [
                *name,
                _number(values.get(("", *name))),
                *(_number(values.get((baseline, *name))) for baseline in baselines),
                *([_number(published[name])] if has_published else []),
            ]
            for name in names
        ]
        return ["benchmark", "metric", "score", *baselines, *(["published"] if has_published else [])], rows


def _scores_in_words(rows: Sequence[Cells]) -> str:
    known = [f"{benchmark} {metric} **{score}**" for benchmark, metric, score, *_ in rows if score]
    return f"Scores: {', '.join(known)}" if known else ""


def is_score(name: str) -> bool:
    """True for the name of a score in MLflow, and not of a baseline or a share.

    >>> is_score("digits/wer"), is_score("untrained/digits/wer"), is_score("tracking/dropped_points")
    (True, False, False)
    """
    return name.count("/") == 1 and not name.startswith("tracking/")


def _scores_in(summaries: Mapping[str, float]) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Yield baseline, or nothing, benchmark and metric of each score, and its value."""
    for name, value in summaries.items():
        score = name.removeprefix(f"{NOT_FINITE}/")
        match ["", *score.split("/")] if is_score(score) else score.split("/"):
            case [baseline, benchmark, metric] if baseline != SHARE:
                yield (baseline, benchmark, metric), value if score == name else math.inf


def _task_cells(each: TaskFacts) -> Cells:
    realised = "" if each.realised_share is None else f"{100 * each.realised_share:.1f} %"
    return [each.task, f"{each.weight:g}", f"{100 * each.planned_share:.1f} %", realised]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if math.isfinite(value) else "not finite"
