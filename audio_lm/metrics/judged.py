"""The score that a judge gives to open answers; ``audio-lm judge`` computes it, in ``evaluation.judge``."""

from audio_lm.metrics.clip_metric import ClipMetric

HOW = "a judge gives it -- expected verdicts on these answers -- run `audio-lm judge`, see docs/judge.md"


class JudgeScore(ClipMetric):
    """Mean score from 1 to 10 of answers by another model; never built, because it does not follow from answers alone."""

    @classmethod
    def why_missing(cls) -> str:
        return HOW
