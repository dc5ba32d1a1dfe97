import json

import numpy as np
import pytest
import soundfile
from lhotse import MultiCut, Recording, SupervisionSegment

from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.line import id_in, is_long, read_line


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


def test_a_valid_line_gives_id_lengths_and_files():
    found = read_line(line(custom={"audio_2": recording(1.0, "/audio/b.wav")}))
    assert found == ("c", (32_000, 16_000), ("/audio/a.wav", "/audio/b.wav"), (2.0, 1.0))
    assert not is_long(found)


def test_a_row_of_text_has_no_clip():
    assert read_line(line(recording=None)) == ("c", (), (), ())


def test_thirty_seconds_are_not_long_and_one_sample_more_is():
    half_a_minute = {"supervisions": [{"start": 0.0, "duration": 30.0}], "recording": recording(40.0)}
    assert not is_long(read_line(line(duration=30.0, **half_a_minute)))
    assert is_long(read_line(line(duration=30.0 + 1 / 16_000, **half_a_minute)))


def source(channels):
    return {"type": "file", "channels": channels, "source": "/audio/a.wav"}


def rir():
    """Impulse response whose audio is a command, in Lhotse's JSON form."""
    kwargs = {"rir": recording(kind="command", source="touch marker"), "rir_channels": [0]}
    return {"name": "ReverbWithImpulseResponse", "kwargs": kwargs}


def stereo(channel, *spoken):
    """Fields of a MultiCut with supervisions of these channels."""
    supervisions = [
        {"duration": 1.0, "channel": channels if len(channels) > 1 else channels[0]} for channels in spoken
    ]
    recorded = recording(sources=[source([0, 1])])
    return {"type": "MultiCut", "channel": channel, "recording": recorded, "supervisions": supervisions}


INVALID = [
    (b"{", "not JSON"),
    (b"\n", "not JSON"),
    (b"[1]", "not a cut"),
    (b'{"id": "\xe9"}', "not UTF-8"),
    (line(type="MixedCut"), "type 'MixedCut'"),
    (line(id=None), "no id"),
    (line(id=7), "no id"),
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
    (line(type=["MonoCut"]), r"of type \['MonoCut'\]"),
    (line(durations=2.0), "has the key 'durations' -- expected channel"),
    (line(start=True), "start is True"),
    (line(start=1e300), "start is 1e"),
    (line(duration="2"), "duration is '2'"),
    (line(duration=10**100), "duration is an integer of"),
    (line(id="x" * 2000), "no id that is a text"),
    (line(supervisions={"id": "s"}), "expected a list"),
    (line(supervisions="s"), "expected a list"),
    (line(supervisions=["s"]), "a supervision is 's'"),
    (line(supervisions=[{"id": 1, "duration": 1.0}]), "its supervision has no id that is a text, but 1"),
    (line(supervisions=[{"duration": 1.0, "txt": "a"}]), "has the key 'txt'"),
    (line(supervisions=[{"duration": 1.0, "custom": [1]}]), "custom of its supervision"),
    (line(supervisions=[{"duration": 1.0, "alignment": [1]}]), "alignment of its supervision"),
    (line(supervisions=[{"duration": 1.0}, {"duration": "1"}]), "duration is '1'"),
    (line(supervisions=[{"duration": 1.0}, {"duration": 1.0, "text": 5}]), "its text is 5"),
    (line(custom=["audio_2"]), "custom of the cut"),
    (line(channel=None), "channel is None"),
    (line(channel=[0]), r"channel is \[0\]"),
    (line(channel=1), "channel is 1 -- expected one of its recording"),
    (line(channel=True), "channel is True"),
    (line(recording=[1]), r"its recording is \[1\]"),
    (line(recording=True), "its recording is True"),
    (line(recording={}), "its recording has no id"),
    (line(recording=recording(id=5)), "its recording has no id that is a text"),
    (line(recording=recording(video={})), "has the key 'video'"),
    (line(recording=recording(sampling_rate=16_000.0)), "at 16000.0 Hz"),
    (line(recording=recording(sampling_rate=True)), "at True Hz"),
    (line(recording=recording(sampling_rate=10**6)), "1000000 Hz"),
    (line(recording=recording(num_samples="32000")), "'32000' samples"),
    (line(recording=recording(num_samples=10**30)), "samples at"),
    (line(recording=recording(duration=None)), "duration is None"),
    (line(recording=recording(duration=float("nan"))), "duration is nan"),
    (line(recording=recording(sources={"type": "file"})), "expected a list of objects"),
    (line(recording=recording(sources=["a.wav"])), "expected a list of objects"),
    (line(recording=recording(sources=[{"type": "file", "source": "/a.wav"}])), "the channels of a source"),
    (line(recording=recording(sources=[source("0")])), "the channels of a source"),
    (line(recording=recording(sources=[source([])])), "the channels of a source"),
    (line(recording=recording(sources=[source([0, 0])])), "with a duplicate"),
    (line(recording=recording(sources=[source([-1])])), "the channels of a source"),
    (line(recording=recording(sources=[source([0]), source([0])])), "the same channel"),
    (line(recording=recording(sources=[source([0]) | {"shell": "x"}])), "has the key 'shell'"),
    (line(recording=recording(transforms={"name": "Speed"})), "its transforms are"),
    (line(recording=recording(transforms=[rir()])), "could run a command"),
    (line(custom={"audio_2": recording(transforms=[rir()])}), "could run a command"),
    (line(duration=2e5, recording=recording(3e5)), "expected at most 36 hours"),
    (line(duration=2e5, recording=None), "expected at most 36 hours"),
    (line(**stereo([0, 1], [0], [1])), "would be averaged.*trim_to_supervisions"),
    (line(**stereo([0, 1], [1])), "would be averaged"),
    (line(**stereo([0, 1], [0, 1], [0])), "would be averaged"),
    (line(**stereo([0, 2], [0, 2])), "expected some of its recording"),
    (line(**stereo(0, [0])), "the channels of the cut are 0"),
    (line(**stereo([0, 1], ["left"])), "the channels of its supervision"),
]


@pytest.mark.parametrize(("text", "reason"), INVALID)
def test_invalid_lines_are_refused_with_the_reason(text, reason):
    with pytest.raises(InvalidLineError, match=reason):
        read_line(text)


def test_audio_outside_the_allowed_folders_is_refused(tmp_path):
    inside = line(recording=recording(source=str(tmp_path / "a.wav")))
    assert read_line(inside, roots=[tmp_path]).files == (str(tmp_path / "a.wav"),)
    with pytest.raises(InvalidLineError, match="lies outside"):
        read_line(line(recording=recording(source=f"{tmp_path}/../b.wav")), roots=[tmp_path])


def test_a_multi_cut_without_a_speaker_per_channel_is_read():
    for spoken in ([[0, 1]], [[0]], [[0, 1], [0, 1]], [[0], [0]]):
        assert read_line(line(**stereo([0, 1], *spoken))).num_samples == (32_000,)
    assert read_line(line(**stereo([1], [1]))).cut_id == "c"


def test_the_remedy_for_a_speaker_per_channel_works(tmp_path):
    soundfile.write(tmp_path / "s.wav", np.random.default_rng(0).normal(0, 0.1, (32_000, 2)), 16_000)
    recorded = Recording.from_file(tmp_path / "s.wav")
    spoken = [
        SupervisionSegment(f"s{channel}", recorded.id, 0.2 * channel, 1.0, channel=channel, text="a")
        for channel in (0, 1)
    ]
    cut = MultiCut("c", 0.0, 2.0, [0, 1], recording=recorded, supervisions=spoken)
    with pytest.raises(InvalidLineError, match="would be averaged"):
        read_line(json.dumps(cut.to_dict()).encode())
    for trimmed in cut.trim_to_supervisions(keep_overlapping=False):
        assert read_line(json.dumps(trimmed.to_dict()).encode()).num_samples == (16_000,)


def test_further_clips_are_ordered_by_number():
    more = {f"audio_{number}": recording(number / 10, f"/audio/{number}.wav") for number in (10, 9, 2, 11)}
    found = read_line(line(custom={**more, "audio_filepath": "/a.wav", "audio_3": "/b.wav"}))
    assert found.files == ("/audio/a.wav", *(f"/audio/{number}.wav" for number in (2, 9, 10, 11)))
    assert found.num_samples == (32_000, 3_200, 14_400, 16_000, 17_600)


def test_clips_of_a_rejected_answer_are_not_clips_of_the_question():
    found = read_line(line(custom={"rejected_audio_1": recording(1.0, "/audio/b.wav")}))
    assert found[:3] == ("c", (32_000,), ("/audio/a.wav", "/audio/b.wav"))


def test_the_id_of_an_invalid_line_is_found_if_it_has_one():
    assert id_in(b'{"id": "c"}') == "c"
    assert len(id_in(line(id="x" * 5000))) < 100
    for text in (b"{", b"[1]", b'{"id": 5}', b"\xff"):
        assert id_in(text) == "?"
