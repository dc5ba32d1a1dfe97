"""Clips of noise with labels, for conversations that depend on labels only, and what their tests read."""

import numpy as np

from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.known_clips import known_clips
from audio_lm.corpora.synthetic.spoken_questions import EXERCISES, NAME_OF_TEXT
from audio_lm.corpora.synthetic.writing import CutWriter

SPEECH = (
    ("digits", [{"text": text, "language": "en"} for text in ("one two", "three five nine", "zero")]),
    ("phrases", [{"text": "guten Morgen", "language": "de"}, {"text": "bonjour", "language": "fr"}]),
    ("commands", [{"text": word, "language": "en", "keyword": word} for word in ("stop", "go")]),
)
OTHER = (
    (
        "notes",
        [{"instrument": name, "pitch": pitch} for name in ("organ", "flute") for pitch in (50, 60, 70)],
    ),
    ("events", [{"events": [name], "event_times": [[name, 0.0, 0.1]]} for name in ("beep", "crackle")]),
)


def add_clips(writer, split):
    """Add noise clips: dialogues depend on the labels of a clip only."""
    rng = np.random.default_rng(SPLITS.index(split))
    for subset, rows in (*SPEECH, *OTHER):
        for copy, gender in enumerate(("male", "female")):
            for row in rows:
                is_speech = "text" in row
                labels = {"language": "unknown", **row} | ({"gender": gender} if is_speech else {})
                honesty = {"gender": "declared"} if is_speech else {}
                wave = rng.uniform(-0.5, 0.5, 1_600 + 16 * copy).astype(np.float32)
                writer.add(f"{subset}-{split}", wave, labels | {"honesty": honesty})


def conversation_of(cut):
    return cut.supervisions[0].custom["conversation"]


def waves_of(cut):
    """Waveforms of a cut by clip number in the conversation."""
    more = [cut.custom[key] for key in sorted(cut.custom or {}) if key.startswith("audio_")]
    return {1: cut.load_audio()[0], **{i: extra.load_audio()[0] for i, extra in enumerate(more, start=2)}}


def clips_by_wave(writer, split):
    """Source clip with its answers, by waveform."""
    answers = {}
    for clips_of_answer in known_clips(writer, split).values():
        for clips in clips_of_answer.values():
            answers.update({clip.wave.tobytes(): clip for clip in clips})
    return answers


def all_texts(wordings):
    return (*wordings.training, *wordings.held_out)


def exchanges_of(cut):
    """Yield question text, answer, and the numbers of all clips so far."""
    turns, numbers = conversation_of(cut), []
    for user, assistant in zip(turns[::2], turns[1::2], strict=True):
        numbers += [part["audio"] for part in user["content"] if "audio" in part]
        yield user["content"][-1]["text"], assistant["content"][0]["text"], tuple(numbers)


def add_spoken_questions(writer, split):
    """Add a clip of noise for each spoken question."""
    rng = np.random.default_rng(100 + SPLITS.index(split))
    for text in (*EXERCISES, *NAME_OF_TEXT):
        wave = rng.uniform(-0.5, 0.5, 2_000).astype(np.float32)
        writer.add(f"spoken_questions-{split}", wave, {"text": text, "language": "en", "honesty": {}})


def make_writer(folder):
    """Writer with noise clips and spoken questions of every split."""
    writer = CutWriter(folder, folder)
    for split in SPLITS:
        add_clips(writer, split)
        add_spoken_questions(writer, split)
    return writer
