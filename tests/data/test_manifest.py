import json

import pytest

from audio_lm.data.json_lines import UnfitError
from audio_lm.data.manifest import is_long, read_line


def recording(seconds=2.0, source="/audio/a.wav", kind="file", **changed):
    return {
        "id": "r",
        "sources": [{"type": kind, "channels": [0], "source": source}],
        "sampling_rate": 16_000,
        "num_samples": int(16_000 * seconds),
        "duration": seconds,
    } | changed


def line(**changed):
    cut = {
        "id": "c",
        "type": "MonoCut",
        "start": 0.0,
        "duration": 2.0,
        "channel": 0,
        "supervisions": [{"id": "s", "recording_id": "r", "start": 0.0, "duration": 2.0, "channel": 0}],
        "recording": recording(),
    } | changed
    return json.dumps({key: value for key, value in cut.items() if value is not None}).encode()


def test_a_fit_line_tells_id_lengths_and_files():
    found = read_line(line(custom={"audio_2": recording(1.0, "/audio/b.wav")}))
    assert found == ("c", (32_000, 16_000), ("/audio/a.wav", "/audio/b.wav"))
    assert not is_long(found)


def test_a_row_of_text_has_no_clip():
    assert read_line(line(recording=None)) == ("c", (), ())


def test_half_a_minute_is_not_long_and_a_sample_more_is():
    half_a_minute = {"supervisions": [{"start": 0.0, "duration": 30.0}], "recording": recording(40.0)}
    assert not is_long(read_line(line(duration=30.0, **half_a_minute)))
    assert is_long(read_line(line(duration=30.0 + 1 / 16_000, **half_a_minute)))


UNFIT = [
    (b"{", "no JSON"),
    (b"\n", "no JSON"),
    (b"[1]", "no cut"),
    (b'{"id": "\xe9"}', "not UTF-8"),
    (line(type="MixedCut"), "type 'MixedCut'"),
    (line(id=None), "no id"),
    (line(id=7), "id of the cut is 7"),
    (line(duration=0), "duration is 0"),
    (line(duration=-1.0), "duration is -1"),
    (line(duration=None), "duration is None"),
    (line(duration=float("nan")), "duration is nan"),
    (line(duration=float("inf")), "duration is inf"),
    (line(duration=1e9), "ends at|recording of"),
    (line(start=-0.5), "start is -0.5"),
    (line(start=1.0), "recording of 2.000 s"),
    (line(duration=0.02, supervisions=[{"start": 0.0, "duration": 0.02}]), "needs 3"),
    (line(supervisions=[]), "no supervision"),
    (line(supervisions=[{"start": 0.0, "duration": 9.0}]), "supervision ends at 9.00"),
    (line(supervisions=[{"start": 0.0, "duration": None}]), "duration is None"),
    (line(recording=recording(sampling_rate=0)), "at 0 Hz"),
    (line(recording=recording(num_samples=-5)), "-5 samples"),
    (line(recording=recording(sources=[])), "no source"),
    (line(recording=recording(kind="command")), "could run a command"),
    (line(recording=recording(kind="url")), "type 'url'"),
    (line(recording=recording(source="pipe:cat x")), "could run a command"),
    (line(recording=recording(source="sox x -t wav - |")), "could run a command"),
]


@pytest.mark.parametrize(("text", "reason"), UNFIT)
def test_unfit_lines_say_why(text, reason):
    with pytest.raises(UnfitError, match=reason):
        read_line(text)


def test_audio_outside_the_allowed_folders_is_refused(tmp_path):
    inside = line(recording=recording(source=str(tmp_path / "a.wav")))
    assert read_line(inside, roots=[tmp_path]).files == (str(tmp_path / "a.wav"),)
    with pytest.raises(UnfitError, match="lies outside"):
        read_line(line(recording=recording(source=f"{tmp_path}/../b.wav")), roots=[tmp_path])
