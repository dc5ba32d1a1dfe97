"""A model answers the questions of a benchmark; answers are kept as they came.

Kept as one JSON object a line, so that predictions can be read, compared and
scored again without a model.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.common.files import atomic_write
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.evaluation.benchmarks import predictions_name
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.generate import greedy
from audio_lm.prompts.vocabulary import Vocabulary


@dataclass(frozen=True)
class EvalExample:
    """A question of a benchmark, beside the pack it stands in."""

    cut_id: str
    task: str
    references: tuple[str, ...]
    """Right answers: one, or the several that people have given to the same question."""

    language: str
    """Of the references: where a translation is asked for, the one translated into."""


@dataclass(frozen=True)
class Prediction:
    """What was answered to one question."""

    id: str
    """Of the cut."""

    task: str
    references: tuple[str, ...]
    answer: str
    """Raw, markup included."""

    language: str = "unknown"

    @property
    def reference(self) -> str:
        """All references as one text, one a line."""
        return "\n".join(self.references)


def predict(
    model: AudioLM,
    packs: Iterable[tuple[PackedBatch, Sequence[EvalExample]]],
    vocabulary: Vocabulary,
    *,
    end_ids: Collection[int],
    max_new_tokens: int,
) -> Iterator[Prediction]:
    """Answer every question, in order."""
    for pack, asked in packs:
        answers = greedy(model, pack, end_ids=end_ids, max_new_tokens=max_new_tokens)
        for question, ids in zip(asked, answers, strict=True):
            yield Prediction(
                id=question.cut_id,
                task=question.task,
                references=question.references,
                answer=vocabulary.text(ids),
                language=question.language,
            )


def predictions_path(folder: Path, benchmark: str) -> Path:
    """Where the answers to a benchmark lie."""
    return folder / predictions_name(benchmark)


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Replace the file in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as lines:
        for prediction in predictions:
            text = json.dumps(asdict(prediction), ensure_ascii=False) + "\n"
            lines.write(text.encode(errors="backslashreplace"))


def read_predictions(path: Path) -> list[Prediction]:
    """Answers that were kept, also those of runs whose questions had one ``reference`` each.

    Raises:
        DataError: there is no such file, or a line in it is no prediction.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there; answer the benchmark first with `audio-lm evaluate`")
    predictions = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                predictions.append(_prediction(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{path}:{number}: no prediction ({error}); answer the benchmark again"
                ) from error
    return predictions


def _prediction(kept: Mapping[str, Any]) -> Prediction:
    references = [kept["reference"]] if "reference" in kept else kept["references"]
    if (
        not isinstance(references, list)
        or not references
        or not all(isinstance(one, str) for one in references)
    ):
        raise TypeError(f"references {references!r}, expected a list of texts")
    others = {key: value for key, value in kept.items() if key not in ("reference", "references")}
    return Prediction(references=tuple(references), **others)
