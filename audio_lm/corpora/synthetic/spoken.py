"""Voice chat for the task chat: the question itself is a clip, without any text.

Most questions are about a clip before them, the others are exercises with a short answer. Some conversations have a
second spoken question about the same clip. Speakers of validation and test are not in training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lhotse import MonoCut

from audio_lm.common.errors import DataError
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.known_clips import (
    QUESTION_OF_NAME,
    Exchange,
    KnownClip,
    Pools,
    choose_clip,
    conversation_labels,
    exchange_about,
    pools_of,
)
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.spoken_questions import ABOUT_A_CLIP, EXERCISES
from audio_lm.corpora.synthetic.writing import CutWriter

SUBSET = "spoken"
ALONE_SHARE = 0.3
SECOND_SHARE = 0.25

Recorded = Mapping[str, Sequence[MonoCut]]
"""Text of a spoken question -> its clips."""


def write_spoken(writer: CutWriter, *, clips: Mapping[str, int], seed: int) -> None:
    """Write ``spoken`` in three splits, from spoken questions and other clips written before.

    Args:
        clips: number of training rows under ``spoken`` (absent or 0: not written), and of
            validation and test rows under ``validation`` and ``test``.

    Raises:
        DataError: no clip answers a question, or there are no spoken questions.
    """
    for split in SPLITS if clips.get(SUBSET, 0) else ():
        num_rows = clips[SUBSET if split == "train" else split]
        if not num_rows:
            continue
        pools, recorded = pools_of(writer, split, SUBSET), _recorded(writer, split)
        for number in range(num_rows):
            exchanges = _exchanges(pools, recorded, SplitRandom(split, seed, SUBSET, number))
            clips_of_row = [clip.cut for exchange in exchanges for clip in exchange.new_clips]
            writer.add_conversation(f"{SUBSET}-{split}", clips_of_row, conversation_labels(exchanges))


def _recorded(writer: CutWriter, split: str) -> Recorded:
    """Spoken questions of a split by their text."""
    found: dict[str, list[MonoCut]] = {}
    for cut in writer.cuts(f"spoken_questions-{split}"):
        found.setdefault(str(cut.supervisions[0].text), []).append(cut)
    if not found:
        raise DataError(
            f"no spoken question for '{SUBSET}-{split}' -- they are the subset spoken_questions; set "
            f"corpora.synthetic.clips.spoken_questions, or {SUBSET} to 0"
        )
    return found


def _exchanges(pools: Pools, recorded: Recorded, random: SplitRandom) -> list[Exchange]:
    """Draw the questions and answers of one conversation."""
    exercises = [text for text in EXERCISES if text in recorded]
    names = [name for name in ABOUT_A_CLIP if name in pools and _texts(name, recorded)]
    if exercises and (not names or random.bernoulli(ALONE_SHARE)):
        text = random.choice(exercises)
        return [Exchange("", EXERCISES[text], "exact", (_question_clip(text, recorded, random),))]
    if not names:
        raise DataError(
            "no spoken question fits the clips of the synthetic corpus; set a larger number of spoken_questions"
        )
    question = QUESTION_OF_NAME[random.choice(names)]
    clip = choose_clip(pools, question, random)
    first = _spoken_about(clip, question.name, recorded, random)
    exchanges = [replace(first, new_clips=(clip, *first.new_clips))]
    others = [name for name in names if name in clip.answers and name != question.name]
    if others and random.bernoulli(SECOND_SHARE):
        exchanges.append(_spoken_about(clip, random.choice(others), recorded, random))
    return exchanges


def _spoken_about(clip: KnownClip, name: str, recorded: Recorded, random: SplitRandom) -> Exchange:
    text = random.choice(_texts(name, recorded))
    exchange = exchange_about(clip, QUESTION_OF_NAME[name], random)
    return replace(exchange, question="", new_clips=(_question_clip(text, recorded, random),))


def _texts(name: str, recorded: Recorded) -> list[str]:
    return [text for text in ABOUT_A_CLIP[name] if text in recorded]


def _question_clip(text: str, recorded: Recorded, random: SplitRandom) -> KnownClip:
    return KnownClip(random.choice(recorded[text]), {}, {})
