from audio_lm.data.audio import length_cache
from audio_lm.data.audio.decode import AudioMeasurement
from audio_lm.data.audio.length_cache import LengthCache, cache_path

MONO = AudioMeasurement(16_000, 4_800, 1, is_counted=False)
STEREO = AudioMeasurement(44_100, 9_001, 2, is_counted=True, powers=(0.1, 1 / 3), mean_power=2 / 3)


def test_a_measurement_is_found_again_to_the_last_digit(tmp_path, monkeypatch):
    monkeypatch.setattr(length_cache, "FLUSH_EVERY", -1.0)
    path = cache_path(tmp_path / ".index", "mine/all-train")
    cache = LengthCache(path)
    cache.add("/a.wav", (1, 2), MONO)
    cache.add("/b \u00e9.mp3", (3, 4), STEREO)
    cache = LengthCache(path)
    assert cache.find("/a.wav", (1, 2)) == MONO
    assert cache.find("/b \u00e9.mp3", (3, 4)) == STEREO
    assert [cache.find("/a.wav", state) for state in ((1, 3), (2, 2))] == [None, None]
    assert cache.find("/c.wav", (1, 2)) is None


def test_lines_that_are_damaged_or_of_another_release_are_left_out(tmp_path):
    path = tmp_path / "lengths.jsonl"
    path.write_bytes(
        b'\xff\n["/a.wav", 1, 2]\n[1\n{}\n7\n["/a.wav", 1, 2, 16000, 4800, 1, false, [], 0.0]\n["/b'
    )
    cache = LengthCache(path)
    assert cache.find("/a.wav", (1, 2)) == MONO
    cache.add("/b.mp3", (3, 4), STEREO)
    cache.close()
    assert LengthCache(path).find("/b.mp3", (3, 4)) == STEREO
