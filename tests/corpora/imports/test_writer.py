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


def test_clips_of_any_sampling_rate_load_at_16_khz_in_order(writer, folder, tmp_path):
    clips = [folder / "wavs" / f"{name}.wav" for name in "cba"]
    clips += [clips[0]] * (MAX_CLIPS - 3)
    writer.add_conversation("all-train", "x", clips, {"conversation": []})
    writer.close(lambda line: None)
    (cut,) = read_cuts(tmp_path, "mine/all-train")
    assert [len(wave) for wave in load_waves(cut)] == [12_800, 9_600, 6_400, *[12_800] * (MAX_CLIPS - 3)]
    peaks = [float(np.abs(wave[2_000:-2_000]).max()) for wave in load_waves(cut)]
    assert peaks == pytest.approx([0.3] * MAX_CLIPS, abs=0.03)


def test_files_that_are_no_audio_or_too_short_are_refused(writer, folder):
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


def test_a_clip_slightly_longer_than_its_file_is_trimmed_to_it(writer, folder):
    a = folder / "wavs" / "a.wav"
    writer.add("all-train", "x", a, {"text": "one", "language": "en"}, start=0.1, duration=0.7)
    with pytest.raises(DataError, match=r"lasts from 0\.10 s to 1\.00 s"):
        writer.add("all-train", "y", a, {"text": "one"}, start=0.1, duration=0.9)
    (cut,) = writer._cuts["all-train"]
    assert cut.end == pytest.approx(0.4)


def test_ids_of_conversations_without_audio_are_unique_too(writer):
    writer.add_conversation("all-train", "x", [], {"conversation": []})
    with pytest.raises(DataError, match="duplicate id 'x'"):
        writer.add_conversation("all-train", "x", [], {"conversation": []})


@pytest.fixture
def sides(folder):
    """Two stereo files with the peaks 0.1 and 0.2, and 0.3 and 0.4, left and right."""
    paths = []
    for number in (0, 2):
        tone = np.sin(2 * np.pi * 300 * np.arange(8_000) / 16_000)
        paths.append(folder / f"sides-{number}.wav")
        soundfile.write(paths[-1], np.stack([tone * (number + 1) / 10, tone * (number + 2) / 10], 1), 16_000)
    return paths


@pytest.mark.parametrize(
    ("channel", "peaks_of_suffix"),
    [
        ("average", {"": [0.15, 0.35, 0.3]}),
        ("left", {"": [0.1, 0.3, 0.3]}),
        ("right", {"": [0.2, 0.4, 0.3]}),
        ("both", {"-left": [0.1, 0.3, 0.3], "-right": [0.2, 0.4, 0.3]}),
    ],
)
def test_the_channel_option_applies_to_all_clips_of_a_conversation(
    folder, sides, tmp_path, channel, peaks_of_suffix
):
    (tmp_path / "mine").mkdir()
    writer = ImportWriter(tmp_path / "mine", "mine", channel=channel)
    clips = [*sides, folder / "wavs" / "a.wav"]
    writer.add_conversation("all-train", "x", clips, {"conversation": []}, rejected_clips=sides[::-1])
    writer.close(lambda line: None)
    cuts = read_cuts(tmp_path, "mine/all-train")
    assert [cut.id for cut in cuts] == [f"x{suffix}" for suffix in peaks_of_suffix]
    for cut, expected in zip(cuts, peaks_of_suffix.values(), strict=True):
        assert [np.abs(wave).max() for wave in load_waves(cut)] == pytest.approx(expected, abs=0.01)
        assert cut.custom["rejected_audio_1"].num_channels == (2 if channel == "average" else 1)


def test_a_note_reports_channels_that_averaging_would_lose(folder, sides, tmp_path):
    (tmp_path / "mine").mkdir()
    wave = np.random.default_rng(0).normal(0, 0.1, 8_000)
    soundfile.write(folder / "right.wav", np.stack([0 * wave, wave], 1), 16_000)
    for channel, num_notes in (("average", 1), ("left", 0)):
        writer = ImportWriter(tmp_path / "mine", "mine", channel=channel)
        for number, path in enumerate([*sides, folder / "right.wav", folder / "wavs" / "a.wav"]):
            writer.add("all-train", str(number), path, {"text": "one", "language": "en"})
        lines = []
        writer.close(lines.append)
        notes = [line for line in lines if "differ strongly" in line]
        assert len(notes) == num_notes
        assert all("1 of 3 files" in note and "right.wav" in note and "--channel" in note for note in notes)
