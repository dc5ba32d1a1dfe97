"""A cut-set of noise with labels of many kinds."""

import numpy as np

from audio_lm.corpora.synthetic.writing import CutWriter

SOURCE = "made/clips-train"
WORDS = ("one", "two", "three", "four", "five", "six")
EVENTS = ("beep", "crackle", "bell")


def write_clips(data_dir, *, num=24):
    """Write the cut-set ``SOURCE``: speech with word times, and sounds."""
    rng = np.random.default_rng(0)
    folder = data_dir / "made"
    writer = CutWriter(folder, folder)
    for number in range(num):
        wave = rng.uniform(-0.5, 0.5, 16_000 + 1_600 * number).astype(np.float32)
        if number % 2:
            first, second = (EVENTS[(number + place) % 3] for place in (0, 1))
            times = [[first, 0.1, 0.3], [second, 0.5, 0.8]]
            labels = {"language": "unknown", "events": [first, second], "event_times": times}
            writer.add("clips-train", wave, {**labels, "honesty": {}})
            continue
        words = [WORDS[(number + place) % 6] for place in range(2 + number % 3)]
        units = [(word, 0.2 * place, 0.2 * place + 0.15) for place, word in enumerate(words)]
        labels = {
            "text": " ".join(words),
            "language": ("en", "de")[number % 4 // 2],
            "gender": ("male", "female")[number % 3 % 2],
            "speaker": f"s{number % 5}",
            "honesty": {"gender": "declared"},
        }
        writer.add("clips-train", wave, labels, units=units)
    writer.close()
    return data_dir
