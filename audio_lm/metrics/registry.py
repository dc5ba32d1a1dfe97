"""Registry of all metrics. They take raw answers, so that saved predictions can be scored again at any time.

Recipes are checked against the names only; torchmetrics and the metric classes are imported when a metric is built.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from audio_lm.common.errors import ProgramError, RecipeError
from audio_lm.common.extensions import Registry

if TYPE_CHECKING:
    from audio_lm.metrics.clip_metric import ClipMetric


JUDGE_SCORE = "judge_score"
"""Metric that another model gives, see ``evaluation.judge``."""


@dataclass(frozen=True)
class MetricRow:
    """A metric and its properties."""

    name: str
    """Name in recipes and in ``scores.json``."""

    title: str
    """Title in tables."""

    is_higher_better: bool
    """True if larger values are better."""

    class_path: str
    """``module.Class`` in this package, or ``package.module:Class`` in another one."""

    unit: str = ""
    """Unit of the value; empty for fractions and rates."""

    has_many_references: bool = False
    """True if a question may have several references, given as a list."""

    needs_choices: bool = False
    """True if a reference is a ``ChoiceReference``, of a question with choices."""

    reads_logprobs: bool = False
    """True if it reads the log-probabilities of the allowed answers (``closed: true``) instead of an answer."""

    needs_program: bool = False
    """True if it needs a program that is not packaged, or a judge; without it, the metric is reported as missing."""

    def build(self, **options: Any) -> "ClipMetric":
        """Create the metric, without clips.

        Args:
            options: arguments of ``torchmetrics.Metric``.

        Raises:
            ProgramError: it needs a program that is missing.
        """
        if reason := self.why_missing():
            raise ProgramError(reason)
        metric: ClipMetric = self._class()(**options)
        return metric

    def check(self, languages: Collection[str]) -> None:
        """Check before a run that references in these languages can be scored here.

        Raises:
            UserError: a package is not installed.
        """
        self._class().check(languages)

    def why_missing(self) -> str:
        """Reason why the metric cannot be computed here for want of a program; empty if it can."""
        return self._class().why_missing() if self.needs_program else ""

    def _class(self) -> type["ClipMetric"]:
        path = self.class_path
        module, _, name = path.partition(":") if ":" in path else f"audio_lm.metrics.{path}".rpartition(".")
        metric_class: type[ClipMetric] = getattr(import_module(module), name)
        return metric_class


METRICS = Registry(
    "metric",
    (
        MetricRow("wer", "word error rate", False, "error_rate.WordErrorRate"),
        MetricRow(
            "wer_qwen_audio", "word error rate, Qwen-Audio", False, "error_rate.QwenAudioWordErrorRate"
        ),
        MetricRow(
            "wer_qwen2_audio", "word error rate, Qwen2-Audio", False, "error_rate.Qwen2AudioWordErrorRate"
        ),
        MetricRow("wer_spoken", "word error rate, numbers equal", False, "error_rate.SpokenWordErrorRate"),
        MetricRow("wer_wetext", "word error rate, WeText", False, "error_rate.CleanChineseErrorRate"),
        MetricRow(
            "wer_kimi_audio", "word error rate, Kimi-Audio", False, "error_rate.KimiAudioWordErrorRate"
        ),
        MetricRow("wer_ultraeval", "word error rate, UltraEval", False, "error_rate.UltraEvalWordErrorRate"),
        MetricRow("wer_nemo", "word error rate, NeMo", False, "error_rate.RawWordErrorRate"),
        MetricRow("cer", "character error rate", False, "error_rate.CharacterErrorRate"),
        MetricRow("cpwer", "error rate of speakers", False, "error_rate.SpeakerErrorRate"),
        MetricRow(
            "orcwer",
            "error rate of turns in order",
            False,
            "error_rate.TurnErrorRate",
        ),
        MetricRow("acc", "accuracy", True, "labels.Accuracy"),
        MetricRow("acc_loose", "accuracy, loose", True, "labels.LooseAccuracy"),
        MetricRow("acc_binary", "accuracy, yes/no", True, "labels.BinaryAccuracy"),
        MetricRow("acc_choice", "choice accuracy", True, "choices.ChoiceAccuracy", needs_choices=True),
        MetricRow("choice_unclear", "unclear choices", False, "choices.UnclearChoice", needs_choices=True),
        MetricRow("acc_mmau", "accuracy, MMAU", True, "choices.MmauAccuracy", needs_choices=True),
        MetricRow(
            "acc_airbench", "accuracy, AIR-Bench", True, "choices.AirBenchAccuracy", needs_choices=True
        ),
        MetricRow(
            "acc_lmms_eval", "accuracy, lmms-eval", True, "choices.LmmsEvalAccuracy", needs_choices=True
        ),
        MetricRow(
            "acc_lmms_eval_letter",
            "accuracy, lmms-eval letters",
            True,
            "choices.LmmsEvalLetterAccuracy",
            needs_choices=True,
        ),
        MetricRow(
            "acc_lmms_eval_mmar",
            "accuracy, lmms-eval MMAR",
            True,
            "choices.LmmsEvalMmarAccuracy",
            needs_choices=True,
        ),
        MetricRow("macro_f1", "macro F1", True, "labels.MacroF1"),
        MetricRow("eer", "balanced error of yes/no", False, "labels.BalancedError"),
        MetricRow("roc_eer", "equal error rate", False, "closed.EqualErrorRate", reads_logprobs=True),
        MetricRow("auroc", "area under ROC", True, "closed.AreaUnderRoc", reads_logprobs=True),
        MetricRow("ece", "calibration error", False, "closed.CalibrationError", reads_logprobs=True),
        MetricRow("mae", "age error", False, "labels.DecadeError", "years"),
        MetricRow("map", "mean average precision", True, "labels.MeanAveragePrecision"),
        MetricRow("slot_f1", "slot F1", True, "labels.SlotF1"),
        MetricRow("entity_f1", "entity F1", True, "labels.EntityF1"),
        MetricRow("aas", "average shift", False, "intervals.AverageShift", "ms"),
        MetricRow("aas_matched", "units compared by AAS", True, "intervals.MatchedFraction"),
        MetricRow("event_f1", "event F1, 200 ms", True, "intervals.EventF1"),
        MetricRow("segment_f1", "segment F1, 1 s", True, "intervals.SegmentF1"),
        MetricRow("der", "diarization error", False, "intervals.DiarizationErrorRate"),
        MetricRow("pitch_acc", "pitch accuracy", True, "notes.PitchAccuracy"),
        MetricRow("chroma_acc", "chroma accuracy", True, "notes.ChromaAccuracy"),
        MetricRow("velocity_acc", "velocity accuracy", True, "notes.VelocityAccuracy"),
        MetricRow("instrument_acc", "instrument accuracy", True, "notes.InstrumentAccuracy"),
        MetricRow("quality_map", "quality mAP", True, "notes.QualityPrecision"),
        MetricRow(
            "bleu",
            "BLEU",
            True,
            "overlap.Bleu",
            has_many_references=True,
        ),
        MetricRow(
            "bleu_qwen_audio", "BLEU, Qwen-Audio", True, "overlap.QwenAudioBleu", has_many_references=True
        ),
        MetricRow("cider_d", "CIDEr-D", True, "overlap.CiderD", has_many_references=True),
        MetricRow("spice", "SPICE", True, "spice.Spice", has_many_references=True, needs_program=True),
        MetricRow("spider", "SPIDEr", True, "spice.Spider", has_many_references=True, needs_program=True),
        MetricRow(
            JUDGE_SCORE,
            "judge, of 10",
            True,
            "judged.JudgeScore",
            has_many_references=True,
            needs_program=True,
        ),
        MetricRow("rouge_l", "ROUGE-L", True, "overlap.RougeL", has_many_references=True),
        MetricRow(
            "caption_overlap", "caption word F1", True, "overlap.CaptionOverlap", has_many_references=True
        ),
    ),
    attribute="METRICS",
)

RENAMED = {"wer_official": "wer_qwen_audio"}
"""Old name -> new name: refused with the new one in recipes, read in the folders of earlier runs. Kept for one release."""


def current_name(name: str) -> str:
    """Name of a metric today.

    >>> current_name("wer_official"), current_name("wer")
    ('wer_qwen_audio', 'wer')
    """
    return RENAMED.get(name, name)


def packaged(names: Iterable[str]) -> list[str]:
    """Those of a task's metrics that are computed here; remarks in parentheses count as part of no name."""
    return [name for name in names if name.partition("(")[0].strip() in METRICS]


def find_metric(name: str) -> MetricRow:
    """Look up a metric by name; a remark in parentheses, as in tables of tasks, is ignored.

    Raises:
        RecipeError: there is no such metric, or it has another name now.

    >>> find_metric("bleu(zh|ja-mecab|13a)").name
    'bleu'
    """
    key = name.partition("(")[0].strip()
    if key in RENAMED:
        raise RecipeError(f"metric {name!r} is now {RENAMED[key]!r}; write the new name")
    if key not in METRICS:
        raise RecipeError(METRICS.unknown(name, see="audio_lm/metrics/registry.py"))
    return METRICS[key]
