import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from audio_lm.metrics.notes import (
    ChromaAccuracy,
    InstrumentAccuracy,
    PitchAccuracy,
    QualityPrecision,
    VelocityAccuracy,
    parse_note,
)

TAGS = "<|pitch|><|midi_pitch_60|><|velocity|><|midi_velocity_96|><|instrument|>organ<|sonic|>bright, long_release"
WORDS = "pitch 60, velocity 96, instrument organ, qualities bright, long_release"


PLAIN = "pitch 61, velocity 96, instrument flute, qualities none"


def score(metric, answers, references):
    return float(metric()(answers, references, ["unknown"] * len(answers)))


def test_both_forms_give_the_same_note():
    assert parse_note(TAGS) == parse_note(WORDS)
    assert parse_note(TAGS).qualities == {"bright", "long_release"}


@pytest.mark.parametrize(
    "metric", [PitchAccuracy, ChromaAccuracy, VelocityAccuracy, InstrumentAccuracy, QualityPrecision]
)
def test_references_are_perfect_and_empty_answers_are_wrong(metric):
    assert score(metric, [TAGS, WORDS], [WORDS, TAGS]) == 1.0
    assert score(metric, ["", "noise"], [TAGS, TAGS]) <= (1.0 if metric is QualityPrecision else 0.0)


def test_a_note_may_have_no_qualities_and_an_invalid_number_is_wrong():
    assert parse_note(PLAIN).qualities == frozenset()
    assert score(PitchAccuracy, ["pitch " + "6" * 5000], [WORDS]) == 0.0


def test_another_octave_is_correct_only_in_chroma():
    octave = TAGS.replace("pitch_60", "pitch_72")
    assert score(PitchAccuracy, [octave], [TAGS]) == 0.0
    assert score(ChromaAccuracy, [octave], [TAGS]) == 1.0


def test_missing_qualities_lower_the_score():
    other = TAGS.replace("bright, long_release", "dark")
    references = [TAGS, other, other]
    assert (
        score(QualityPrecision, [other, other, other], references)
        < score(QualityPrecision, references, references)
        == 1.0
    )


@pytest.mark.parametrize("seed", range(5))
def test_accuracies_of_properties_equal_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    notes = rng.integers([50, 60, 0], [80, 64, 2], size=(2, 25, 3))
    texts = [
        [f"pitch {p}, velocity {v}, instrument {('organ', 'flute')[i]}, qualities none" for p, v, i in rows]
        for rows in notes.tolist()
    ]
    pitches, velocities, instruments = notes.transpose(2, 0, 1)
    for metric, pair in (
        (PitchAccuracy, pitches),
        (ChromaAccuracy, pitches % 12),
        (VelocityAccuracy, velocities),
        (InstrumentAccuracy, instruments),
    ):
        assert score(metric, *texts) == pytest.approx(accuracy_score(*pair[::-1])), metric
