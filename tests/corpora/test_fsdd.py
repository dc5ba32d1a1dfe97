import numpy as np
import pytest
from lhotse import CutSet

from audio_lm.common.errors import RecipeError
from audio_lm.corpora.fsdd import at_16_khz, read_settings, split_of, write
from audio_lm.data.manifest.labels import units_of


@pytest.fixture(scope="module")
def corpus(spoken_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fsdd")
    settings = {"source": str(spoken_digits), "strings": 12, "validation_clips": 4, "test_clips": 6}
    write(folder, folder, read_settings(settings), print)
    return folder


def cuts(folder, name):
    return list(CutSet.from_file(folder / f"{name}.jsonl"))


def pitch_of(wave):
    """Of a pure tone at 16 kHz."""
    spectrum = abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 17))
    return np.argmax(spectrum) * 16_000 / (1 << 17)


def words_of(cut):
    (supervision,) = cut.supervisions
    audio = cut.load_audio()[0]
    for word, start, end in units_of(cut, supervision):
        yield word, audio[round(start * 16_000) : round(end * 16_000)]


def test_takes_are_shared_out_between_the_splits(corpus):
    names = {split: cuts(corpus, f"single-{split}") for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in names.items()} == {"train": 9, "validation": 27, "test": 45}
    for split, found in names.items():
        assert {split_of(int(cut.id.rpartition("_")[2])) for cut in found} == {split}


def test_a_string_is_made_of_takes_of_its_own_split(corpus):
    digits, speakers = ("zero", "one", "two"), ("george", "lucas", "theo")
    for split in ("validation", "test"):
        for cut in cuts(corpus, f"strings-{split}"):
            base = 200 + 300 * speakers.index(cut.supervisions[0].speaker)
            for word, wave in words_of(cut):
                take = (pitch_of(wave) - base - 100 * digits.index(word)) / 7
                assert abs(take - round(take)) < 0.2, (cut.id, word, take)
                assert split_of(round(take)) == split, (cut.id, word, take)


def test_words_are_heard_when_the_labels_say_so(corpus):
    for cut in cuts(corpus, "strings-test"):
        audio = abs(cut.load_audio()[0])
        is_word = np.zeros(len(audio), dtype=bool)
        for _, start, end in units_of(cut, cut.supervisions[0]):
            is_word[round(start * 16_000) : round(end * 16_000)] = True
        assert audio[is_word].mean() > 0.05, cut.id
        assert audio[~is_word].max() < 0.02, cut.id
        assert cut.supervisions[0].text.split() == [word for word, _ in words_of(cut)], cut.id


def test_the_speaker_held_out_is_heard_in_the_test_alone(corpus):
    for split in ("train", "validation"):
        heard = {cut.supervisions[0].speaker for cut in cuts(corpus, f"strings_without_theo-{split}")}
        assert heard == {"george", "lucas"}, split
    assert {cut.supervisions[0].speaker for cut in cuts(corpus, "strings_theo-test")} == {"theo"}


def test_text_rows_mirror_training_strings(corpus):
    rows, heard = cuts(corpus, "words_strings-train"), cuts(corpus, "strings-train")
    assert [row.supervisions[0].text for row in rows] == [cut.supervisions[0].text for cut in heard]
    assert not any(row.has_recording for row in rows)


def test_the_same_seed_gives_the_same_bytes(spoken_digits, tmp_path):
    settings = read_settings(
        {"source": str(spoken_digits), "strings": 3, "validation_clips": 1, "test_clips": 1}
    )
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, tmp_path / "final", settings, print)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) > 12
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.07])
def test_speed_changes_length_and_pitch_alike(speed):
    tone = np.sin(2 * np.pi * 1_000 * np.arange(4_000) / 8_000).astype(np.float32)
    wave = at_16_khz(tone, speed)
    assert abs(len(wave) - 8_000 / speed) < 3
    assert abs(pitch_of(wave) - 1_000 * speed) < 1
    assert abs(abs(wave[1_000:-1_000]).max() - 1) < 0.01


def test_an_unknown_speaker_cannot_be_held_out(spoken_digits, tmp_path):
    settings = read_settings({"source": str(spoken_digits), "held_out": "teo"})
    with pytest.raises(RecipeError, match="Did you mean 'theo'"):
        write(tmp_path, tmp_path, settings, print)


def test_a_speed_nobody_speaks_at_is_refused():
    with pytest.raises(RecipeError, match=r"max_speed_change is 2\.0"):
        read_settings({"max_speed_change": 2.0})
