"""Write the speech of the synthetic corpus: twelve subsets with three splits, and ``phrases_new-test``.

Clips are planned in ``speech_clips``. Without the synthesizer, all speech is skipped with a message.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping

from audio_lm.common.protocols import Report
from audio_lm.common.rng import random_for
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.settings import SyntheticSettings
from audio_lm.corpora.synthetic.speech_clips import PLANNERS, ClipPlan, Planner, phrases_new
from audio_lm.corpora.synthetic.speech_synthesis import Sentence, SpeechSynthesizer, has_synthesizer
from audio_lm.corpora.synthetic.writing import CutWriter

CLIPS: Mapping[str, int] = {
    "digits": 6000,
    "phrases": 3000,
    "commands": 1500,
    "intents": 1500,
    "mandarin": 1000,
    "dialects": 1000,
    "ages": 300,
    "emotions": 500,
    "overlaps": 600,
    "pairs": 600,
    "meetings": 500,
    "spoken_questions": 2000,
}
"""Subset -> number of training clips, unless the recipe sets it."""

TASKS = "asr s2tt osr dasr srwt-en srwt-zh did lid sgc er sv sd ser ks ic sf sap"
MAX_REFUSED = 1000


def is_spoken(subset: str) -> bool:
    """True if a subset of the synthetic corpus needs the synthesizer.

    >>> is_spoken("words_digits"), is_spoken("spoken"), is_spoken("notes")
    (True, True, False)
    """
    return subset.removeprefix("words_") in {*CLIPS, "phrases_new", "spoken"}


def write(writer: CutWriter, settings: SyntheticSettings, report: Report) -> None:
    """Write all requested subsets; without the synthesizer, report that they are skipped."""
    if not has_synthesizer():
        report(
            f"speech is skipped, because the package 'espeakng-loader' is not installed "
            f"(pip install 'audio-lm[speech]'); there will be no clips for {TASKS}"
        )
        return
    with SpeechSynthesizer() as speaker:
        for subset in CLIPS:
            counts = [settings.num_clips(subset, split) for split in SPLITS]
            for split, count in zip(SPLITS, counts, strict=True):
                _write_split(writer, speaker, PLANNERS[subset], subset, split, count, settings.seed)
            if any(counts):
                report(f"speech: {subset}, {' + '.join(map(str, counts))} clips")
        num_new = settings.num_clips("phrases", "test")
        _write_split(writer, speaker, phrases_new, "phrases_new", "test", num_new, settings.seed)


def _write_split(
    writer: CutWriter,
    speaker: SpeechSynthesizer,
    planner: Planner,
    subset: str,
    split: str,
    count: int,
    seed: int,
) -> None:
    """Synthesize plans until ``count`` clips are written."""
    plans: deque[ClipPlan] = deque()

    def sentences() -> Iterator[Sentence]:
        for index in itertools.count():
            plans.append(planner(split, random_for(seed, "speech", subset, split, index)))
            yield from plans[-1].sentences

    spoken = speaker.synthesize(sentences())
    num_written = num_refused = 0
    while num_written < count:
        first = next(spoken)
        plan = plans.popleft()
        clip = plan.clip_of([first, *itertools.islice(spoken, len(plan.sentences) - 1)])
        if clip is None:
            num_refused += 1
            assert num_refused < MAX_REFUSED, f"{subset}: too few clips have exact word times"
            continue
        writer.add(f"{subset}-{split}", clip.wave, clip.labels, units=clip.units, more_waves=clip.more_waves)
        num_written += 1
    spoken.close()
