import json

import pytest
from lhotse import MonoCut, MultiCut, Recording
from lhotse.serialization import deserialize_item

from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.lhotse_cut import read_cut
from tests.data.manifest.test_line import line, recording


def built(value):
    """Objects in a cut that are not plain data."""
    if isinstance(value, dict):
        return [found for inner in value.values() for found in built(inner)]
    if isinstance(value, list | tuple):
        return [found for inner in value for found in built(inner)]
    return [] if value is None or isinstance(value, str | int | float) else [value]


def test_a_cut_equals_the_one_that_lhotse_reads():
    supervision = {
        "id": "s",
        "recording_id": "r",
        "start": 0.1,
        "duration": 1.5,
        "channel": 0,
        "text": "one",
        "language": "en",
        "speaker": "a",
        "gender": "male",
        "custom": {"emotion": "sad", "deep": {"list": [1, {"a": None}]}},
        "alignment": {"word": [["one", 0.1, 0.2, 0.9], ["two", 0.3, 0.2, None]]},
    }
    resampled = Recording.from_dict(recording()).resample(8_000).to_dict()
    custom = {"audio_2": recording(1.0, "/audio/b.wav"), "note": "a"}
    for changed in (
        {},
        {"supervisions": [supervision]},
        {"custom": custom},
        {"recording": resampled},
        {"recording": None},
        {"type": "MultiCut", "channel": [0]},
    ):
        text = line(**changed)
        ours, theirs = read_cut(text), deserialize_item(json.loads(text))
        assert ours.to_dict() == theirs.to_dict()
        assert type(ours) is type(theirs)
        assert ours == theirs
    assert isinstance(read_cut(line(type="MultiCut", channel=[0])), MultiCut)
    assert isinstance(read_cut(line()), MonoCut)


def test_the_number_of_samples_overrides_a_contradicting_duration():
    assert read_cut(line(recording=recording(2.0, duration=50.0))).recording.duration == 2.0
    assert read_cut(line(recording=recording(2.0, duration=2.001))).recording.duration == 2.001


ARRAY = {"storage_type": "numpy_files", "storage_path": "/etc", "storage_key": "passwd", "shape": [1]}
UNKNOWN_FIELDS = {
    "array": ARRAY,
    "temporal": {"array": ARRAY, "temporal_dim": 0, "frame_shift": 0.1, "start": 0},
    "image": {
        "width": 1,
        "height": 1,
        "storage_type": "pillow_files",
        "storage_path": "/etc",
        "storage_key": "x",
    },
    "target_recording": recording(kind="command", source="touch x"),
    "audio_rir": recording(kind="command", source="touch x"),
    "audio_2_raw": recording(kind="command", source="touch x"),
    "audio_2": "/audio/b.wav",
    "audio_filepath": "/somewhere/p.wav",
    "audio_quality": 3,
    "audio_": None,
    "audio_\u0662": recording(kind="command", source="touch x"),
}


def test_custom_fields_that_lhotse_would_build_stay_data():
    custom = {**UNKNOWN_FIELDS, "list": [UNKNOWN_FIELDS]}
    cut = read_cut(line(custom=custom, supervisions=[{"id": "s", "duration": 2.0, "custom": dict(custom)}]))
    assert cut.custom == cut.supervisions[0].custom == json.loads(json.dumps(custom))
    assert not built(cut.custom)
    assert not built(cut.supervisions[0].custom)
    assert built(deserialize_item(json.loads(line(custom=dict(custom)))).custom), "the control"


def test_features_are_not_built():
    features = {
        "type": "fbank",
        "storage_type": "lilcom_url",
        "storage_path": "http://127.0.0.1:9",
        "num_features": 80,
    }
    assert read_cut(line(features=features)).features is None
    with pytest.raises(InvalidLineError, match="features"):
        read_cut(line(features=features, recording=None))


def test_a_further_clip_is_checked_like_the_first():
    with pytest.raises(InvalidLineError, match="could run a command"):
        read_cut(line(custom={"audio_2": recording(kind="command")}))
    with pytest.raises(InvalidLineError, match="could run a command"):
        read_cut(line(custom={"rejected_audio_1": recording(kind="command")}))
    with pytest.raises(InvalidLineError, match="transform"):
        read_cut(line(custom={"audio_3": recording(transforms=[{"name": "Reverb", "kwargs": {}}])}))
    with pytest.raises(InvalidLineError, match="expected a list of objects"):
        read_cut(
            line(
                custom={
                    "audio_2": {
                        "sources": "x",
                        "id": "a",
                        "sampling_rate": 16_000,
                        "num_samples": 16_000,
                        "duration": 1.0,
                    }
                }
            )
        )
