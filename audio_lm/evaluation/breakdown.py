"""Scores of each speaker and the confusion table of a benchmark: files beside the answers, and lines for the console."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_lm.common.errors import DataError, ProgramError
from audio_lm.common.files import write_bytes, write_text
from audio_lm.evaluation.benchmarks import predictions_name
from audio_lm.evaluation.confusion import ConfusionTable, confusion_table, csv_of
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.report import aligned, metric_value
from audio_lm.evaluation.score import score_benchmark
from audio_lm.metrics.registry import find_metric

MAX_LABELS_SHOWN = 12  # of a table on the console
SPEAKERS, TABLE, PICTURE = ".speakers.csv", ".confusion.csv", ".confusion.png"


@dataclass(frozen=True)
class SpeakerScores:
    """Scores over the clips of one speaker."""

    speaker: str
    num_clips: int
    scores: dict[str, float]
    """Metric -> value; without those that are undefined for these clips."""


@dataclass(frozen=True)
class Breakdown:
    """Parts of the result of a benchmark."""

    benchmark: str
    num_clips: int
    confusion: ConfusionTable | None
    speakers: list[SpeakerScores]
    """By name; empty if fewer than two speakers are known."""

    num_without_speaker: int

    def lines(self) -> Iterator[str]:
        """Lines for the console: the table if it is small, and the range over the speakers."""
        if self.confusion is not None:
            yield f"{self.benchmark}: answers to each reference, {self.num_clips} clips"
            if len(self.confusion.labels) <= MAX_LABELS_SHOWN:
                yield from (f"  {line}" for line in aligned(self.confusion.rows(), num_text_columns=1))
            else:
                yield f"  {len(self.confusion.labels)} labels, in the file {_file(self.benchmark, TABLE)}"
        for metric in self.speakers[0].scores if self.speakers else ():
            yield f"{self.benchmark}: {self._range(metric)}"

    def _range(self, metric: str) -> str:
        known = [one for one in self.speakers if metric in one.scores]
        is_higher_better = find_metric(metric).is_higher_better
        ordered = sorted(known, key=lambda one: one.scores[metric], reverse=is_higher_better)
        ends = [
            f"{metric_value(one.scores[metric], metric)} ({one.speaker})" for one in (ordered[0], ordered[-1])
        ]
        rest = f", {self.num_without_speaker} clips without a speaker" if self.num_without_speaker else ""
        return f"{find_metric(metric).title} of {len(known)} speakers {ends[0]} to {ends[1]}{rest}"


def breakdown_of(benchmark: str, predictions: Sequence[Prediction], metrics: Sequence[str]) -> Breakdown:
    """Confusion table and speakers of a benchmark's answers."""
    speakers = speaker_scores(predictions, metrics)
    num_without = sum(prediction.speaker is None for prediction in predictions)
    return Breakdown(
        benchmark, len(predictions), confusion_table(predictions, metrics), speakers, num_without
    )


def speaker_scores(predictions: Sequence[Prediction], metrics: Sequence[str]) -> list[SpeakerScores]:
    """Scores of each speaker, by name; none if fewer than two are known."""
    clips_of: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        if prediction.speaker is not None:
            clips_of.setdefault(prediction.speaker, []).append(prediction)
    if len(clips_of) < 2:
        return []
    return [
        SpeakerScores(speaker, len(clips), dict(_defined(clips, metrics)))
        for speaker, clips in sorted(clips_of.items())
    ]


def _defined(clips: Sequence[Prediction], metrics: Iterable[str]) -> Iterator[tuple[str, float]]:
    for metric in metrics:
        try:
            yield from score_benchmark(clips, [metric]).items()
        except (DataError, ProgramError):
            continue  # undefined for the references of this speaker alone, such as binary accuracy


def write_breakdown(folder: Path, parts: Breakdown, *, metrics: Sequence[str]) -> None:
    """Write the files of a breakdown; those of an earlier evaluation that it lacks are removed.

    Args:
        folder: of the answers.
    """
    texts = {
        SPEAKERS: _speakers_csv(parts, metrics),
        TABLE: parts.confusion.as_csv() if parts.confusion else "",
    }
    for suffix, text in texts.items():
        path = folder / _file(parts.benchmark, suffix)
        if text:
            write_text(path, text)
        else:
            path.unlink(missing_ok=True)
    picture = folder / _file(parts.benchmark, PICTURE)
    if parts.confusion is None:
        picture.unlink(missing_ok=True)
        return
    from audio_lm.tracking.report.figures import confusion_figure, figure_png  # matplotlib takes a second

    table = parts.confusion
    figure = confusion_figure(table.labels, table.answers, table.counts, title=parts.benchmark)
    write_bytes(picture, figure_png(figure))


def _speakers_csv(parts: Breakdown, metrics: Sequence[str]) -> str:
    if not parts.speakers:
        return ""
    rows = [
        [
            one.speaker,
            str(one.num_clips),
            *(f"{one.scores[m]:.6g}" if m in one.scores else "" for m in metrics),
        ]
        for one in parts.speakers
    ]
    return csv_of([["speaker", "clips", *metrics], *rows])


def _file(benchmark: str, suffix: str) -> str:
    return predictions_name(benchmark).removesuffix(".jsonl") + suffix
