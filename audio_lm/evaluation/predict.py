"""Questions of a benchmark and the answers of a model, saved unchanged.

Predictions are saved as JSON lines, so that they can be read, compared and scored again without a model.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.files import atomic_write
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.evaluation.benchmarks import predictions_name
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.generate import greedy_decode
from audio_lm.prompts.vocabulary import Vocabulary

LISTS: tuple[tuple[str, type], ...] = (("allowed", str), ("logprobs", float), ("choices", str))
"""Fields of a prediction that are lists, and the type of their items."""


class AudioSpan(NamedTuple):
    """Place of the audio of a clip."""

    path: str
    """Audio file, or a byte range of a tar; of several clips, of the first."""

    start: Seconds | None = None
    """Start of the clip in the file; None if the clip is the whole file."""

    duration: Seconds | None = None
    """Duration of the clip, where it is a part of the file."""


@dataclass(frozen=True)
class EvalExample:
    """A question of a benchmark; its prompt is in a pack."""

    cut_id: str
    task: str
    references: tuple[str, ...]
    """Reference answers, one or more."""

    language: str
    """Language of the references; for translation the target language."""

    speaker: str | None = None
    """Speaker, where the cut names one."""

    audio: "AudioSpan | None" = None
    """Place of the audio; None for a text-only cut and for audio in memory."""

    choices: tuple[str, ...] | None = None
    """Texts of the choices, in the order of their letters; None for a question without choices."""


@dataclass(frozen=True)
class Prediction:
    """The answer to one question."""

    id: str
    """Id of the cut."""

    task: str
    references: tuple[str, ...]
    answer: str
    """Raw text, markup included."""

    language: str = "unknown"
    speaker: str | None = None
    path: str | None = None
    """Audio file; absent in files of an earlier release."""

    start: Seconds | None = None
    """Start of the clip in the file; None if the clip is the whole file."""

    duration: Seconds | None = None

    choices: tuple[str, ...] | None = None
    """Texts of the choices, in the order of their letters; None for a question without choices."""

    allowed: tuple[str, ...] | None = None
    """Allowed answers, where the benchmark is closed."""

    logprobs: tuple[float, ...] | None = None
    """Log-probability of each of them."""

    stamp: str | None = None
    """Digest of model, data, decoding and code, see ``Stamp``; absent in files of an earlier release."""

    @property
    def reference(self) -> str:
        """All references as one text, one per line."""
        return "\n".join(self.references)


def predict(
    model: AudioLM,
    packs: Iterable[tuple[PackedBatch, Sequence[EvalExample]]],
    vocabulary: Vocabulary,
    *,
    end_ids: Collection[int],
    max_new_tokens: int,
) -> Iterator[Prediction]:
    """Generate an answer to every question, in order.

    Args:
        packs: prompts, and the question of each conversation in a pack.
    """
    for pack, examples in packs:
        answers = greedy_decode(model, pack, end_ids=end_ids, max_new_tokens=max_new_tokens)
        for example, ids in zip(examples, answers, strict=True):
            yield prediction_of(example, vocabulary.text(ids))


def prediction_of(
    example: EvalExample, answer: str, logprobs: Mapping[str, float] | None = None, stamp: str | None = None
) -> Prediction:
    """Prediction with the answer to a question.

    Args:
        logprobs: log-probability of every allowed answer, of a closed benchmark.
    """
    return Prediction(
        id=example.cut_id,
        task=example.task,
        references=example.references,
        answer=answer,
        language=example.language,
        speaker=example.speaker,
        choices=example.choices,
        allowed=None if logprobs is None else tuple(logprobs),
        logprobs=None if logprobs is None else tuple(logprobs.values()),
        stamp=stamp,
        **(example.audio._asdict() if example.audio else {}),
    )


def predictions_path(folder: Path, benchmark: str) -> Path:
    """Path of the answers to a benchmark."""
    return folder / predictions_name(benchmark)


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write answers, replacing the file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        for prediction in predictions:
            text = json.dumps(as_record(prediction), ensure_ascii=False) + "\n"
            file.write(text.encode(errors="backslashreplace"))


def as_record(prediction: Prediction) -> dict[str, Any]:
    """Prediction as JSON; without speaker and file where the cut has none."""
    return {key: value for key, value in asdict(prediction).items() if value is not None}


def read_predictions(path: Path) -> list[Prediction]:
    """Read saved answers, also in the format of earlier releases with a single ``reference``.

    Raises:
        DataError: there is no such file, a line is no prediction, or an id occurs twice; names the line.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; evaluate the benchmark first with `audio-lm evaluate`")
    predictions: list[Prediction] = []
    line_of: dict[str, int] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                predictions.append(_prediction(json.loads(line)))
                first = line_of.setdefault(predictions[-1].id, number)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{path}:{number}: no prediction ({error}); evaluate the benchmark again"
                ) from error
            if first != number:
                raise DataError(
                    f"{path}:{number}: id {predictions[-1].id!r} is also that of line {first} -- expected one answer per "
                    f"question -- remove one of them, or evaluate the benchmark again"
                )
    return predictions


def _prediction(record: Mapping[str, Any]) -> Prediction:
    references = [record["reference"]] if "reference" in record else record["references"]
    if (
        not isinstance(references, list)
        or not references
        or not all(isinstance(text, str) for text in references)
    ):
        raise TypeError(f"references {references!r}, expected a list of texts")
    others = {key: value for key, value in record.items() if key not in ("reference", "references")}
    if wrong := [key for key in ("speaker", "path", "stamp") if not isinstance(others.get(key, ""), str)]:
        raise TypeError(f"{wrong[0]} {others[wrong[0]]!r}, expected a text")
    for key, kind in LISTS:
        if key in others:
            values = others[key]
            if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
                raise TypeError(f"{key} {values!r}, expected a list")
            others[key] = tuple(values)
    return Prediction(references=tuple(references), **others)
