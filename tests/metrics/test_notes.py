import pytest

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


def of(metric, answers, references):
    return float(metric()(answers, references, ["unknown"] * len(answers)))


def test_both_forms_say_the_same():
    assert parse_note(TAGS) == parse_note(WORDS)
    assert parse_note(TAGS).qualities == {"bright", "long_release"}


@pytest.mark.parametrize(
    "metric", [PitchAccuracy, ChromaAccuracy, VelocityAccuracy, InstrumentAccuracy, QualityPrecision]
)
def test_identity_is_perfect_and_silence_is_wrong(metric):
    assert of(metric, [TAGS, WORDS], [WORDS, TAGS]) == 1.0
    assert of(metric, ["", "noise"], [TAGS, TAGS]) <= (1.0 if metric is QualityPrecision else 0.0)


def test_a_note_without_qualities_has_none_and_a_garbled_number_is_wrong():
    assert parse_note(PLAIN).qualities == frozenset()
    assert of(PitchAccuracy, ["pitch " + "6" * 5000], [WORDS]) == 0.0


def test_an_octave_is_right_in_chroma_only():
    octave = TAGS.replace("pitch_60", "pitch_72")
    assert of(PitchAccuracy, [octave], [TAGS]) == 0.0
    assert of(ChromaAccuracy, [octave], [TAGS]) == 1.0


def test_qualities_missed_cost():
    other = TAGS.replace("bright, long_release", "dark")
    references = [TAGS, other, other]
    assert (
        of(QualityPrecision, [other, other, other], references)
        < of(QualityPrecision, references, references)
        == 1.0
    )
