import numpy as np
import pytest
from lhotse import CutSet

from audio_lm.corpora.synthetic.writing import CutWriter


def wave(num_samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples).astype(np.float32)


def test_every_clip_reads_back_exactly_from_any_position_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("audio_lm.corpora.synthetic.writing.SAMPLES_PER_FILE", 9_000)
    waves = [wave(1_111 + 777 * k, seed=k) for k in range(12)]
    writer = CutWriter(tmp_path, tmp_path)
    for added in waves:
        writer.add("noise-train", added, {"language": "unknown"})
    writer.close()
    assert len(list((tmp_path / "audio").iterdir())) > 2
    for cut, added in zip(CutSet.from_file(tmp_path / "noise-train.jsonl"), waves, strict=True):
        audio = cut.load_audio()[0]
        assert audio.shape == added.shape, cut.id
        assert abs(audio - added).max() <= 0.5 / 32768 + 1e-7, cut.id


def test_labels_units_and_further_clips_read_back_from_the_manifest(tmp_path):
    writer = CutWriter(tmp_path / "now", tmp_path / "later")
    labels = {"language": "en", "text": "two", "keyword": "two", "honesty": {"text": "exact"}}
    writer.add("words-test", wave(8_000), labels, units=[("two", 0.1, 0.4)], more_waves=[wave(500, 1)])
    writer.close()
    (tmp_path / "now").rename(tmp_path / "later")
    (cut,) = CutSet.from_file(tmp_path / "later" / "words-test.jsonl")
    (supervision,) = cut.supervisions
    assert (supervision.text, supervision.language) == ("two", "en")
    assert supervision.custom == {"keyword": "two", "honesty": {"text": "exact"}}
    assert [(unit.symbol, unit.start, unit.end) for unit in supervision.alignment["word"]] == [
        ("two", 0.1, 0.4)
    ]
    assert cut.audio_2.load_audio().shape == (1, 500)
    assert cut.load_audio().shape == (1, 8_000)


def test_cuts_can_be_read_before_the_writer_is_closed(tmp_path):
    writer = CutWriter(tmp_path / "now", tmp_path / "later")
    writer.add("words-train", wave(4_000), {})
    writer.add("words-train", wave(5_000), {})
    assert [cut.load_audio().shape[1] for cut in writer.cuts("words-train")] == [4_000, 5_000]
    assert writer.cuts("nothing-train") == []


def test_a_row_of_text_lasts_as_long_as_its_positions(tmp_path):
    writer = CutWriter(tmp_path, tmp_path)
    writer.add("text-train", None, {"text": "a", "places": [["", 3], ["a", 7]]})
    writer.add("text-train", None, {"text": "a"})
    writer.close()
    cuts = list(CutSet.from_file(tmp_path / "text-train.jsonl"))
    assert [cut.duration for cut in cuts] == [0.4, 0.04]
    assert not any(cut.has_recording for cut in cuts)


@pytest.mark.parametrize(
    ("wave", "labels", "message"),
    [
        (wave(8_000), {"txt": "two"}, "'txt'"),
        (wave(100), {}, "30 ms"),
        (wave(480_001), {}, "30 s"),
    ],
)
def test_invalid_clips_are_refused(tmp_path, wave, labels, message):
    with pytest.raises(ValueError, match=message):
        CutWriter(tmp_path, tmp_path).add("x-train", wave, labels)


def test_a_duplicate_id_is_refused(tmp_path):
    writer = CutWriter(tmp_path, tmp_path)
    writer.add("x-train", wave(8_000), {}, cut_id="one")
    with pytest.raises(ValueError, match="'one'"):
        writer.add("x-train", wave(8_000), {}, cut_id="one")


def test_a_conversation_refers_to_its_first_clip_and_copies_each_other_once(tmp_path):
    writer = CutWriter(tmp_path / "new", tmp_path / "new")
    waves = [np.linspace(-0.5, 0.5, 1_600 * (number + 1), dtype=np.float32) for number in range(3)]
    for wave in waves:
        writer.add("clips-train", wave, {"text": "x", "honesty": {}})
    first, second, third = writer.cuts("clips-train")
    labels = {"conversation": [], "honesty": {}}
    for _ in range(2):
        writer.add_conversation("talks-train", [second, third, first], labels, rejected_clips=[third])
    cut, again = writer.cuts("talks-train")
    assert (cut.id, again.id) == ("talks-train-00000", "talks-train-00001")
    assert cut.recording == second.recording
    assert np.array_equal(cut.load_audio(), second.load_audio())
    assert list(cut.custom) == ["audio_2", "audio_3", "rejected_audio_1"]
    for name, clip in (("audio_2", third), ("audio_3", first), ("rejected_audio_1", third)):
        assert np.array_equal(cut.custom[name].load_audio(), clip.load_audio())
    assert len(list((tmp_path / "new" / "audio").iterdir())) == 3
    writer.close()
    assert (tmp_path / "new" / "talks-train.jsonl").read_text().count("\n") == 2


def test_labels_of_another_package_are_allowed_where_they_are_named(tmp_path):
    wave = np.zeros(16_000, dtype=np.float32)
    with pytest.raises(ValueError, match="loudness"):
        CutWriter(tmp_path, tmp_path).add("a-train", wave, {"loudness": "loud"})
    writer = CutWriter(tmp_path, tmp_path, own_labels=("loudness",))
    writer.add("a-train", wave, {"loudness": "loud"})
    writer.close()
    (cut,) = CutSet.from_file(tmp_path / "a-train.jsonl")
    assert cut.supervisions[0].custom["loudness"] == "loud"


def test_each_clip_advances_the_progress_and_a_row_of_text_does_not(tmp_path):
    done = []
    writer = CutWriter(tmp_path, tmp_path)
    writer.advance = done.append
    writer.add("a-train", np.zeros(16_000, dtype=np.float32), {"language": "en"})
    writer.add("text-train", None, {"text": "a"})
    writer.add_conversation("a-train", writer.cuts("a-train")[:1], {"language": "en"})
    assert done == [1, 1]
