"""View of a clip: player, spectrogram, and words at their times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.common.errors import UserError
from audio_lm.common.word_timestamps import SILENCE, Unit, parse_units
from audio_lm.evaluation.predict import Prediction
from audio_lm.metrics.intervals import equal_units
from audio_lm.tracking.report.audio_report import FloatArray
from audio_lm.tracking.report.curve_figures import histogram_figure
from audio_lm.tracking.report.display import Picture, Sound
from audio_lm.tracking.report.words_figure import REFERENCE, words_figure

MILLISECONDS = 1000


@dataclass(frozen=True)
class ClipView:
    """A clip with the reference answer to a task."""

    cut_id: str
    task: str
    path: Path
    """WAV file of the clip alone."""

    wave: FloatArray
    """(S,) at 16 kHz."""

    log_mel: FloatArray
    """(F, M)."""

    reference: str

    @property
    def units(self) -> list[Unit]:
        """Words and silences of the reference; empty if it has no time stamps."""
        return parse_units(self.reference)

    @property
    def words(self) -> list[str]:
        """Words of the reference, without silences."""
        return [unit.symbol for unit in self.units if unit.symbol != SILENCE]

    def span_of(self, word: str) -> tuple[Seconds, Seconds]:
        """Start and end of the first occurrence of a word in the reference.

        Raises:
            UserError: the reference does not have it.
        """
        found = [(unit.start, unit.end) for unit in self.units if unit.symbol == word]
        if not found:
            raise UserError(
                f"{word!r} is not in {self.cut_id}; its words are {' '.join(self.words) or 'not known'}"
            )
        return found[0]

    def _repr_html_(self) -> str:
        """Content that Jupyter shows."""
        seconds = len(self.wave) / SAMPLES_PER_SECOND
        reference = f"; {self.task}: {self.reference}" if self.task else ""
        return Sound(self.wave, f"{self.cut_id}, {seconds:.2f} s{reference}").html()

    def picture(
        self,
        answers: Mapping[str, Sequence[Unit]] | None = None,
        *,
        highlights: Sequence[tuple[Seconds, Seconds]] = (),
    ) -> Picture:
        """Spectrogram, waveform, and the words of the reference above those of answers.

        Args:
            answers: name, such as ``model``, -> its words.
            highlights: start and end of spans, in seconds.
        """
        rows = ({REFERENCE: self.units} if self.units else {}) | dict(answers or {})
        title = f"{self.cut_id}   {' '.join(self.words)}"
        return Picture.of(
            words_figure(self.wave, rows, log_mel=self.log_mel, highlights=highlights, title=title)
        )


def stamp_errors(predictions: Sequence[Prediction]) -> dict[str, list[float]]:
    """Errors of the time stamps of matched words in milliseconds, of starts and of ends; positive is late."""
    errors: dict[str, list[float]] = {"start of a word": [], "end of a word": []}
    for prediction in predictions:
        answer, reference = parse_units(prediction.answer), parse_units(prediction.references[0])
        for ours, true in equal_units(answer, reference):
            if answer[ours].symbol != SILENCE:
                errors["start of a word"].append(MILLISECONDS * (answer[ours].start - reference[true].start))
                errors["end of a word"].append(MILLISECONDS * (answer[ours].end - reference[true].end))
    return errors


def stamp_error_picture(predictions: Sequence[Prediction]) -> Picture:
    """Histogram of the errors of time stamps; words that the model did not write have none."""
    errors = stamp_errors(predictions)
    number = len(errors["start of a word"])
    words = sum(
        unit.symbol != SILENCE for prediction in predictions for unit in parse_units(prediction.references[0])
    )
    title = f"{number} of {words} words are matched, in {len(predictions)} clips; dashed: median"
    return Picture.of(histogram_figure(errors, unit="model - reference, ms", title=title))
