import numpy as np
import pytest

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, samples_in
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.music import (
    MOOD_OF_MODE,
    MUSIC_SUBSETS,
    NUM_BEATS,
    THUMPS_AND_TICKS,
    TUNES,
    Melody,
    melody_question,
    render_melody,
    write_music,
)
from audio_lm.corpora.synthetic.notes import (
    HIGHEST_PITCH,
    INSTRUMENTS,
    LOWEST_PITCH,
    VELOCITIES,
    frequency_of,
)
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.writing import CutWriter

CLIPS = {"notes": 125, "melodies": 12, "validation": 25, "test": 30}
MELODY = Melody("Ode to Joy", "minor", "slow", "waltz", "organ", 57)


def labels_of(cut):
    return cut.supervisions[0].custom


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    writer = CutWriter(folder, folder)
    write_music(writer, clips=CLIPS, seed=5)
    return writer


def strength(wave, hertz):
    """Magnitude of a waveform at a frequency."""
    turns = np.exp(-2j * np.pi * hertz * np.arange(len(wave)) / SAMPLES_PER_SECOND)
    return float(np.abs(np.sum(wave * np.hanning(len(wave)) * turns)))


def test_every_split_has_the_configured_number_of_clips(writer):
    for subset in MUSIC_SUBSETS:
        for split in SPLITS:
            expected = CLIPS[subset] if split == "train" else CLIPS[split]
            assert len(writer.cuts(f"{subset}-{split}")) == expected, f"{subset}-{split}"


def test_the_same_seed_gives_the_same_clips(tmp_path, writer):
    again = CutWriter(tmp_path, tmp_path)
    write_music(again, clips={"melodies": 3, "validation": 0, "test": 0}, seed=5)
    for cut, same in zip(writer.cuts("melodies-train"), again.cuts("melodies-train"), strict=False):
        np.testing.assert_array_equal(cut.load_audio(), same.load_audio())


def test_notes_of_all_pitches_on_all_instruments_are_equally_frequent(writer):
    pairs = {(labels_of(cut)["instrument"], labels_of(cut)["pitch"]) for cut in writer.cuts("notes-train")}
    assert pairs == {
        (name, pitch) for name in INSTRUMENTS for pitch in range(LOWEST_PITCH, HIGHEST_PITCH + 1)
    }
    assert {labels_of(cut)["velocity"] for cut in writer.cuts("notes-train")} == set(VELOCITIES)


def test_no_two_clips_are_equal(writer):
    id_of_wave = {}
    for subset in MUSIC_SUBSETS:
        for split in SPLITS:
            for cut in writer.cuts(f"{subset}-{split}"):
                wave = cut.load_audio()[0]
                assert id_of_wave.setdefault(wave.tobytes(), cut.id) == cut.id


def test_written_notes_have_their_labelled_pitch_and_loudness(writer):
    for cut in writer.cuts("notes-test"):
        labels, wave = labels_of(cut), cut.load_audio()[0]
        own = frequency_of(labels["pitch"])
        tones = {
            steps: sum(strength(wave, k * own * 2 ** (steps / 12)) for k in (1, 2, 3)) for steps in (-2, 0, 2)
        }
        assert max(tones, key=tones.get) == 0, cut.id
        assert np.max(np.abs(wave)) == pytest.approx((labels["velocity"] / 127) ** 2, rel=0.15), cut.id


def test_every_tune_has_eight_beats_and_a_degree_that_depends_on_the_mode():
    assert len(TUNES) == 6
    for title, tune in TUNES.items():
        assert sum(num_beats for _, num_beats in tune) == pytest.approx(NUM_BEATS), title
        assert {degree for degree, _ in tune} & {2, 5, 6}, title


def test_minor_lowers_the_third():
    major = Melody("Ode to Joy", "major", "slow", "waltz", "organ", 57)
    assert [pitch for pitch, _, _ in MELODY.notes][:4] == [60, 60, 62, 64]
    assert [pitch for pitch, _, _ in major.notes][:4] == [61, 61, 62, 64]


def test_a_melody_plays_its_notes_at_their_beats():
    wave = render_melody(MELODY, 0.3, SplitRandom("test", 0))
    assert len(wave) == samples_in(NUM_BEATS * 0.3)
    for pitch, beat, num_beats in MELODY.notes:
        part = wave[samples_in(beat * 0.3) : samples_in((beat + num_beats) * 0.3)]
        near = {other: strength(part, frequency_of(other)) for other in (pitch - 2, pitch, pitch + 2)}
        assert max(near, key=near.get) == pitch, f"beat {beat}"


def test_genres_have_different_rhythms():
    waves = [
        render_melody(Melody("Ode to Joy", "major", "fast", genre, "organ", 57), 0.2, SplitRandom("train", 0))
        for genre in THUMPS_AND_TICKS
    ]
    assert len(waves) == 3
    assert np.max(np.abs(waves[0] - waves[1])) > 0.05
    assert np.max(np.abs(waves[1] - waves[2])) > 0.05


@pytest.mark.parametrize("split", SPLITS)
def test_answers_follow_from_the_melody(split):
    answers = set()
    for number in range(120):
        question, answer = melody_question(MELODY, SplitRandom(split, number))
        answers.add(answer)
        if answer in ("yes", "no"):
            assert ("organ" in question) == (answer == "yes"), question
    assert answers == {"yes", "no", "Ode to Joy", "slow", "minor", "organ"}


def test_mood_and_genre_are_proxies_and_everything_else_is_exact(writer):
    for subset in MUSIC_SUBSETS:
        for cut in writer.cuts(f"{subset}-test"):
            labels = labels_of(cut)
            assert labels["honesty"].keys() == {"language", *labels} - {"honesty"}
            proxies = {key for key, value in labels["honesty"].items() if value != "exact"}
            assert proxies == ({"mood", "genre"} if subset == "melodies" else set())


def test_captions_and_moods_describe_the_melody(writer):
    assert MELODY.caption == "Ode to Joy played on an organ, slow and in minor"
    for cut in writer.cuts("melodies-validation"):
        labels = labels_of(cut)
        assert labels["title"] in labels["caption"]
        mode = "minor" if "minor" in labels["caption"] else "major"
        assert labels["mood"] == MOOD_OF_MODE[mode]
