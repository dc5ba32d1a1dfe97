import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.writer import MAX_CLIPS, ImportWriter
from audio_lm.data.manifest.cuts import load_waves, read_cuts


@pytest.fixture
def writer(tmp_path):
    (tmp_path / "mine").mkdir()
    return ImportWriter(tmp_path / "mine", "mine")


def test_clips_of_any_rate_come_back_at_16_khz_and_in_order(writer, folder, tmp_path):
    clips = [folder / "wavs" / f"{name}.wav" for name in "cba"]
    clips += [clips[0]] * (MAX_CLIPS - 3)
    writer.add_conversation("all-train", "x", clips, {"conversation": []})
    writer.close(lambda line: None)
    (cut,) = read_cuts(tmp_path, "mine/all-train")
    assert [len(wave) for wave in load_waves(cut)] == [12_800, 9_600, 6_400, *[12_800] * (MAX_CLIPS - 3)]
    loudest = [float(np.abs(wave[2_000:-2_000]).max()) for wave in load_waves(cut)]
    assert loudest == pytest.approx([0.3] * MAX_CLIPS, abs=0.03)


def test_what_is_no_audio_and_what_is_too_short_is_refused(writer, folder):
    (folder / "text.wav").write_text("no audio")
    soundfile.write(folder / "click.wav", np.zeros(160), 16_000)
    a = folder / "wavs" / "a.wav"
    with pytest.raises(DataError, match=r"text\.wav is unusable"):
        writer.add("all-train", "x", folder / "text.wav", {"text": "one"})
    with pytest.raises(DataError, match=r"click\.wav lasts under 30 ms"):
        writer.add_conversation("all-train", "x", [a, folder / "click.wav"], {"conversation": []})
    with pytest.raises(DataError, match=r"click\.wav lasts under"):
        writer.add_conversation(
            "all-train", "x", [a], {"conversation": []}, rejected_clips=[folder / "click.wav"]
        )
    with pytest.raises(DataError, match="10 clips in one conversation"):
        writer.add_conversation("all-train", "x", [a] * 10, {"conversation": []})
    assert writer.num_cuts == 0


def test_a_clip_may_outlast_its_file_a_little_and_then_ends_with_it(writer, folder):
    a = folder / "wavs" / "a.wav"
    writer.add("all-train", "x", a, {"text": "one", "language": "en"}, start=0.1, duration=0.7)
    with pytest.raises(DataError, match=r"lasts from 0\.10 s to 1\.00 s"):
        writer.add("all-train", "y", a, {"text": "one"}, start=0.1, duration=0.9)
    (cut,) = writer._cuts["all-train"]
    assert cut.end == pytest.approx(0.4)


def test_ids_of_texts_are_unique_too(writer):
    writer.add_conversation("all-train", "x", [], {"conversation": []})
    with pytest.raises(DataError, match="duplicate id 'x'"):
        writer.add_conversation("all-train", "x", [], {"conversation": []})


@pytest.fixture
def sides(folder):
    """Two stereo files whose left and right differ in loudness: 0.1 and 0.2, 0.3 and 0.4."""
    paths = []
    for number in (0, 2):
        tone = np.sin(2 * np.pi * 300 * np.arange(8_000) / 16_000)
        paths.append(folder / f"sides-{number}.wav")
        soundfile.write(paths[-1], np.stack([tone * (number + 1) / 10, tone * (number + 2) / 10], 1), 16_000)
    return paths


@pytest.mark.parametrize(
    ("channel", "loudest"),
    [
        ("average", {"": [0.15, 0.35, 0.3]}),
        ("left", {"": [0.1, 0.3, 0.3]}),
        ("right", {"": [0.2, 0.4, 0.3]}),
        ("both", {"-left": [0.1, 0.3, 0.3], "-right": [0.2, 0.4, 0.3]}),
    ],
)
def test_all_clips_of_a_conversation_follow_one_rule(folder, sides, tmp_path, channel, loudest):
    (tmp_path / "mine").mkdir()
    writer = ImportWriter(tmp_path / "mine", "mine", channel=channel)
    clips = [*sides, folder / "wavs" / "a.wav"]
    writer.add_conversation("all-train", "x", clips, {"conversation": []}, rejected_clips=sides[::-1])
    writer.close(lambda line: None)
    cuts = read_cuts(tmp_path, "mine/all-train")
    assert [cut.id for cut in cuts] == [f"x{suffix}" for suffix in loudest]
    for cut, expected in zip(cuts, loudest.values(), strict=True):
        assert [np.abs(wave).max() for wave in load_waves(cut)] == pytest.approx(expected, abs=0.01)
        assert cut.custom["rejected_audio_1"].num_channels == (2 if channel == "average" else 1)


def test_a_note_tells_what_an_average_loses(folder, sides, tmp_path):
    (tmp_path / "mine").mkdir()
    wave = np.random.default_rng(0).normal(0, 0.1, 8_000)
    soundfile.write(folder / "right.wav", np.stack([0 * wave, wave], 1), 16_000)
    for channel, num_notes in (("average", 1), ("left", 0)):
        writer = ImportWriter(tmp_path / "mine", "mine", channel=channel)
        for number, path in enumerate([*sides, folder / "right.wav", folder / "wavs" / "a.wav"]):
            writer.add("all-train", str(number), path, {"text": "one", "language": "en"})
        said = []
        writer.close(said.append)
        notes = [line for line in said if "differ strongly" in line]
        assert len(notes) == num_notes
        assert all("1 of 3 files" in note and "right.wav" in note and "--channel" in note for note in notes)
