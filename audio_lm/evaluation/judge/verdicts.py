"""Verdicts of a judge, and the scores of a benchmark that follow from them.

A clip counts if both orders have a verdict; its score is their mean.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.common.files import atomic_write, read_table, write_json
from audio_lm.evaluation.judge.prompts import ORDERS, TEMPLATES, Order, Scores, template_of
from audio_lm.evaluation.judge.questions import OpenQuestion
from audio_lm.metrics.registry import JUDGE_SCORE

FOLDER = "judge"
"""Folder of verdicts in a run."""

MIXED = ("speech and sound", "speech and music")
"""Groups of AIR-Bench whose mean it publishes as mixed audio."""

NUM_SAMPLES = 1000  # of the bootstrap
METRICS = {JUDGE_SCORE: "answer", "judge_reference": "reference", "judge_wins": "wins"}
"""Metric in ``scores.json`` -> field of a group's scores."""


@dataclass(frozen=True)
class Verdict:
    """Reply of a judge to one question in one order."""

    id: str
    order: Order
    judge: str
    """Name of the model, as the server states it."""

    reply: str
    scores: Scores | None
    """None if the reply has no two scores."""


@dataclass(frozen=True)
class GroupScores:
    """Mean scores of a group of questions."""

    num_questions: int
    num_scored: int
    """Questions with a verdict in both orders."""

    answer: float
    low: float
    """End of the 95 % bootstrap interval of ``answer`` over the questions."""

    high: float
    reference: float
    wins: float
    """Share of the questions whose answer has a higher score than the reference."""

    place: float
    """Mean advantage of the second place over the first, for any text; 0 is a judge without preference."""


@dataclass(frozen=True)
class Judgement:
    """Scores of a benchmark by a judge, with what they depend on."""

    judge: str
    endpoint: str
    prompts: Mapping[str, str]
    """Name -> template of the prompts in use."""

    sampling: Mapping[str, Any]
    groups: Mapping[str, GroupScores]
    """Group -> its scores; ``all`` is every question."""

    num_without_scores: int = 0
    """Replies without two scores."""

    def lines(self, name: str) -> Iterator[str]:
        """The scores in words, one line per group."""
        for group, scores in self.groups.items():
            of_group = "" if group == "all" else f", {group}"
            yield (
                f"judge of {name}{of_group}: {scores.answer:.2f} of 10 (95 % {scores.low:.2f} to {scores.high:.2f}), "
                f"reference {scores.reference:.2f}, better than it in {100 * scores.wins:.0f} %; "
                f"{scores.num_scored} of {scores.num_questions} questions in both orders"
            )
        if all(group in self.groups for group in MIXED):
            mean = float(np.mean([self.groups[group].answer for group in MIXED]))
            yield f"judge of {name}, mixed: {mean:.2f} of 10, mean of {' and of '.join(MIXED)}"
        every = self.groups["all"]
        without = f", {self.num_without_scores} replies without two scores" if self.num_without_scores else ""
        yield f"judge {self.judge}, second place {every.place:+.2f}{without}"

    def as_scores(self, name: str) -> dict[str, float]:
        """Scores under the keys of ``scores.json``."""
        return {f"{name}/{metric}": getattr(self.groups["all"], key) for metric, key in METRICS.items()}


@dataclass
class _Sums:
    answers: list[float] = field(default_factory=list)
    references: list[float] = field(default_factory=list)
    places: list[float] = field(default_factory=list)
    num_questions: int = 0


def judgement_of(
    questions: Sequence[OpenQuestion],
    verdicts: Sequence[Verdict],
    *,
    endpoint: str,
    sampling: Mapping[str, Any],
) -> Judgement:
    """Scores of a benchmark.

    Raises:
        DataError: no question has a verdict in both orders, or the verdicts are of several judges.
    """
    by_question: dict[str, dict[str, Scores]] = defaultdict(dict)
    for verdict in verdicts:
        if verdict.scores is not None:
            by_question[verdict.id][verdict.order] = verdict.scores
    judges = sorted({verdict.judge for verdict in verdicts})
    if len(judges) > 1:
        raise DataError(
            f"verdicts of {' and '.join(judges)} -- expected those of one judge, because scores of two cannot be compared -- "
            f"name one of them"
        )
    groups: dict[str, _Sums] = defaultdict(_Sums)
    for question in questions:
        for sums in [groups["all"], *([groups[question.group]] if question.group else [])]:
            sums.num_questions += 1
            found = by_question.get(question.id, {})
            if len(found) < len(ORDERS):
                continue
            first, second = (found[order] for order in ORDERS)
            sums.answers.append((first.answer + second.answer) / 2)
            sums.references.append((first.reference + second.reference) / 2)
            sums.places.append((first.answer - first.reference + second.reference - second.answer) / 2)
    if not groups["all"].answers:
        raise DataError(
            f"none of {len(questions)} questions has a verdict in both orders -- expected two scores such as '8 6' in "
            f"replies -- choose another judge, or import more verdicts"
        )
    return Judgement(
        judge=judges[0],
        endpoint=endpoint,
        prompts={name: TEMPLATES[name] for name in sorted({template_of(each) for each in questions})},
        sampling=dict(sampling),
        groups={name: _scores_of(sums) for name, sums in groups.items() if sums.answers},
        num_without_scores=sum(verdict.scores is None for verdict in verdicts),
    )


def _scores_of(sums: _Sums) -> GroupScores:
    answers, references = np.array(sums.answers), np.array(sums.references)
    rows = np.random.default_rng(0).integers(len(answers), size=(NUM_SAMPLES, len(answers)))
    low, high = np.quantile(answers[rows].mean(axis=1), [0.025, 0.975])
    return GroupScores(
        num_questions=sums.num_questions,
        num_scored=len(answers),
        answer=float(answers.mean()),
        low=float(low),
        high=float(high),
        reference=float(references.mean()),
        wins=float((answers > references).mean()),
        place=float(np.mean(sums.places)),
    )


def write_judgement(folder: Path, name: str, judgement: Judgement, verdicts: Iterable[Verdict]) -> None:
    """Write the verdicts of a benchmark, one per line, and its scores."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(_path(folder, name, "jsonl")) as file:
        for verdict in verdicts:
            scores = None if verdict.scores is None else verdict.scores._asdict()
            text = json.dumps(asdict(verdict) | {"scores": scores}, ensure_ascii=False) + "\n"
            file.write(text.encode(errors="backslashreplace"))
    write_json(record_path(folder, name), {"benchmark": name, **asdict(judgement)})


def record_path(folder: Path, name: str) -> Path:
    """File with the scores of a benchmark and what they depend on."""
    return _path(folder, name, "json")


def read_judgements(folder: Path) -> dict[str, Judgement]:
    """Scores of all benchmarks that were judged, by name; files that are no judgement are skipped."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        table = read_table(path)
        try:
            name = str(table.pop("benchmark"))
            groups = {group: GroupScores(**scores) for group, scores in table.pop("groups").items()}
            found[name] = Judgement(groups=groups, **table)
        except (KeyError, TypeError, AttributeError):
            continue
    return found


def forget_judgement(folder: Path, name: str) -> None:
    """Delete the verdicts on answers that were replaced; replies stay, so that equal answers are judged for nothing."""
    for suffix in ("jsonl", "json"):
        _path(folder, name, suffix).unlink(missing_ok=True)


def judge_scores(run: Path) -> dict[str, float]:
    """Scores of judges that a run or an evaluation holds, under the keys of ``scores.json``."""
    found: dict[str, float] = {}
    for name, judgement in read_judgements(run / FOLDER).items():
        found |= judgement.as_scores(name)
    return found


def judge_lines(run: Path) -> Iterator[str]:
    """Scores of judges that a run or an evaluation holds, in words."""
    for name, judgement in read_judgements(run / FOLDER).items():
        yield from judgement.lines(name)


def _path(folder: Path, name: str, suffix: str) -> Path:
    return folder / f"{name.replace('/', ' ')}.{suffix}"
