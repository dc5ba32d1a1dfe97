"""All metrics by name; functions over raw answers, so that kept predictions can be scored again at any time."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from audio_lm.errors import RecipeError, unknown
from audio_lm.metrics import error_rate, intervals, labels, notes, overlap

Score = Callable[[Sequence[str], Sequence[Any], Sequence[str]], float]
Check = Callable[[Collection[str]], object]

NEEDS_JAVA = frozenset({"spice", "spider"})
"""SPICE is a Java program with parser models that no registry packages; SPIDEr is its mean with CIDEr-D."""


def _needs_no_package(languages: Collection[str]) -> None:
    """Most metrics."""


@dataclass(frozen=True)
class Metric:
    """How answers are judged."""

    name: str
    """As in recipes and in ``scores.json``."""

    title: str
    """As in tables."""

    is_higher_better: bool
    """Which way is up."""

    score: Score
    """(answers, references, languages) -> value; markup is still in the texts."""

    unit: str = ""
    """Empty for shares and rates."""

    has_many_references: bool = False
    """Whether a question may have several references; they are then lists."""

    check: Check = _needs_no_package
    """Raises UserError where a package is not installed that references in these languages need; for before a run."""


METRICS = {
    metric.name: metric
    for metric in (
        Metric("wer", "word error rate", False, error_rate.word_error_rate),
        Metric("wer_official", "word error rate, official", False, error_rate.word_error_rate_official),
        Metric("cer", "character error rate", False, error_rate.character_error_rate),
        Metric("cpwer", "error rate of speakers", False, error_rate.speakers_error_rate),
        Metric(
            "orcwer",
            "error rate of turns in order",
            False,
            error_rate.ordered_error_rate,
            check=error_rate.check_meeteval,
        ),
        Metric("acc", "accuracy", True, labels.accuracy),
        Metric("acc_loose", "accuracy, loose", True, labels.accuracy_loose),
        Metric("acc_binary", "accuracy, yes/no", True, labels.accuracy_binary),
        Metric("macro_f1", "macro F1", True, labels.macro_f1),
        Metric("eer", "balanced error of yes/no", False, labels.balanced_error),
        Metric("mae", "age error", False, labels.decade_error, "years"),
        Metric("map", "mean average precision", True, labels.mean_average_precision),
        Metric("slot_f1", "slot F1", True, labels.item_f1),
        Metric("entity_f1", "entity F1", True, labels.entity_f1),
        Metric("aas", "average shift", False, intervals.average_shift, "ms"),
        Metric("aas_matched", "units compared by AAS", True, intervals.matched_share),
        Metric("event_f1", "event F1, 200 ms", True, intervals.event_f1),
        Metric("segment_f1", "segment F1, 1 s", True, intervals.segment_f1),
        Metric("der", "diarization error", False, intervals.diarization_error),
        Metric("pitch_acc", "pitch accuracy", True, notes.pitch_accuracy),
        Metric("chroma_acc", "chroma accuracy", True, notes.chroma_accuracy),
        Metric("velocity_acc", "velocity accuracy", True, notes.velocity_accuracy),
        Metric("instrument_acc", "instrument accuracy", True, notes.instrument_accuracy),
        Metric("quality_map", "quality mAP", True, notes.quality_map),
        Metric("bleu", "BLEU", True, overlap.bleu, has_many_references=True, check=overlap.check_tokenizers),
        Metric("cider_d", "CIDEr-D", True, overlap.cider_d, has_many_references=True),
        Metric("rouge_l", "ROUGE-L", True, overlap.rouge_l, has_many_references=True),
        Metric("caption_overlap", "caption word F1", True, overlap.caption_overlap, has_many_references=True),
    )
}


def find_metric(name: str) -> Metric:
    """The metric called ``name``; a remark in brackets, as tables of tasks have it, is no part of the name.

    Raises:
        RecipeError: there is none, or it cannot be had here.

    >>> find_metric("bleu(zh|ja-mecab|13a)").name
    'bleu'
    """
    bare = name.partition("(")[0].strip()
    if bare in NEEDS_JAVA:
        raise RecipeError(f"metric {name!r} needs SPICE, a Java program that is not packaged; use cider_d")
    if bare not in METRICS:
        raise RecipeError(unknown("metric", name, METRICS, see="audio_lm/metrics/registry.py"))
    return METRICS[bare]
