import pytest
from lhotse import Recording

from audio_lm.corpora.labels import check_label_names, in_recording, supervision_of
from audio_lm.tasks.labels import LABELS

UNITS = [("one", 0.1, 0.3), ("two", 0.4, 0.75)]


def recording():
    return Recording("long", sources=[], sampling_rate=16_000, num_samples=160_000, duration=10.0)


def times_of(supervision):
    return [(word.symbol, word.start, word.duration) for word in supervision.alignment["word"]]


def test_labels_are_in_fields_of_lhotse_or_in_custom():
    supervision = supervision_of("a", 1.0, {"text": "one two", "language": "en", "gender": "male"}, UNITS)
    assert (supervision.text, supervision.language) == ("one two", "en")
    assert supervision.custom == {"gender": "male"}
    assert times_of(supervision) == [("one", 0.1, 0.2), ("two", 0.4, 0.35)]
    assert supervision_of("a", 1.0, {"text": "one"}, None).alignment is None


def test_times_of_words_move_with_the_clip():
    moved = in_recording(supervision_of("a", 1.0, {"gender": "male"}, UNITS), recording(), 2.5)
    assert times_of(moved) == [("one", 2.6, 0.2), ("two", 2.9, 0.35)]
    assert moved.custom == {"gender": "male", "recording_start": 2.5}
    assert moved.recording_id == "long"


def test_an_unknown_label_is_refused_with_the_cut():
    check_label_names("a", LABELS)
    with pytest.raises(ValueError, match=r"cut 'a': \['pich'\] are no labels"):
        check_label_names("a", ["pich", "text"])
