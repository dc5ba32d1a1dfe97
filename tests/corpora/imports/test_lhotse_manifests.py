"""Kinds of Lhotse's own test fixtures, made here: JSON lists, JSONL, gzip, recordings with supervisions, Shar."""

import json

import numpy as np
import pytest
from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet

from audio_lm.common.errors import DataError, UserError
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.labels import labels_of


def supervision(number, recording, start, seconds, text, **more):
    return SupervisionSegment(f"s{number}", recording, start, seconds, text=text, language="English", **more)


@pytest.fixture
def recordings(folder):
    return [Recording.from_file(folder / "wavs" / f"{name}.wav") for name in "ac"]


@pytest.fixture
def supervisions():
    return [
        supervision(0, "a", 0.0, 0.4, "one", speaker="x", gender="F"),
        supervision(1, "c", 0.1, 0.2, "two"),
        supervision(2, "c", 0.4, 0.3, "three", custom={"dynamic": "loud"}),
    ]


@pytest.fixture
def recipe_folder(folder, recordings, supervisions):
    """Folder as a recipe of Lhotse writes it."""
    place = folder / "manifests"
    place.mkdir()
    RecordingSet.from_recordings(recordings).to_file(place / "mine_recordings_train.jsonl.gz")
    SupervisionSet.from_segments(supervisions).to_file(place / "mine_supervisions_train.jsonl.gz")
    return place


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz", "cuts.json"])
def test_cuts_are_read_in_every_serialization(folder, recordings, supervisions, import_cuts, name):
    cuts = CutSet.from_manifests(
        RecordingSet.from_recordings(recordings), SupervisionSet.from_segments(supervisions)
    )
    cuts.to_file(folder / name)
    first, second = import_cuts("lhotse", folder / name)
    assert labels_of(first) | {"units": None} == {
        "language": "en",
        "text": "one",
        "speaker": "x",
        "gender": "female",
        "units": None,
    }
    assert len(second.supervisions) == 2
    assert any("1 cuts have several supervisions; --trim" in line for line in import_cuts.lines)


def test_a_json_list_on_one_line_is_a_list_of_cuts(folder, recordings, import_cuts):
    cuts = [
        MonoCut(
            f"c{number}",
            0,
            one.duration,
            0,
            [supervision(number, one.id, 0, one.duration, "x")],
            recording=one,
        )
        for number, one in enumerate(recordings)
    ]
    (folder / "cuts.json").write_text(json.dumps([cut.to_dict() for cut in cuts]))
    assert [cut.id for cut in import_cuts("lhotse", folder / "cuts.json")] == ["c0", "c1"]


def test_recordings_get_the_supervisions_beside_them(recipe_folder, import_cuts):
    whole = import_cuts("lhotse", recipe_folder / "mine_recordings_train.jsonl.gz")
    assert [cut.id for cut in whole] == ["a-0", "c-1"]
    trimmed = import_cuts("lhotse", recipe_folder, "all-test", trim=True)
    assert [cut.supervisions[0].text for cut in trimmed] == ["one", "two", "three"]
    assert [round(cut.duration, 3) for cut in trimmed] == [0.4, 0.2, 0.3]
    assert labels_of(trimmed[2])["dynamic"] == "loud"
    assert len(load_waves(trimmed[1])[0]) == 3_200


def test_supervisions_of_another_name_are_given(recipe_folder, import_cuts):
    other = recipe_folder.parent / "text.jsonl.gz"
    (recipe_folder / "mine_supervisions_train.jsonl.gz").rename(other)
    with pytest.raises(DataError, match="give them with --supervisions"):
        import_cuts("lhotse", recipe_folder)
    assert len(import_cuts("lhotse", recipe_folder, supervisions=other)) == 2


def test_supervisions_of_other_recordings_are_counted(recipe_folder, supervisions, import_cuts):
    more = [*supervisions, supervision(3, "gone", 0, 1, "four")]
    SupervisionSet.from_segments(more).to_file(recipe_folder / "mine_supervisions_train.jsonl.gz")
    import_cuts("lhotse", recipe_folder)
    assert any("1 supervisions of 1 recordings that are not in" in line for line in import_cuts.lines)


def test_shar_is_read_from_its_tars(folder, recordings, supervisions, import_cuts):
    cuts = CutSet.from_manifests(
        RecordingSet.from_recordings(recordings), SupervisionSet.from_segments(supervisions)
    )
    (folder / "shar").mkdir()
    cuts.to_shar(folder / "shar", fields={"recording": "flac"}, shard_size=1)
    (folder / "shar" / "features.000000.tar").touch()
    trimmed = import_cuts("lhotse", folder / "shar", trim=True)
    assert [cut.supervisions[0].text for cut in trimmed] == ["one", "two", "three"]
    kept = cuts.subset(last=1)[0].trim_to_supervisions()[1]
    assert np.allclose(load_waves(trimmed[2])[0], kept.resample(16_000).load_audio()[0], atol=2e-3)
    assert any("fields of Shar not read: features (1 files)" in line for line in import_cuts.lines)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("cuts.yaml", "", r"convert it with `lhotse copy cuts.yaml cuts.jsonl.gz`"),
        ("feats.jsonl", '{"storage_path": "x", "type": "fbank"}', "give the manifest of the audio"),
        (
            "sups.jsonl",
            '{"id": "s", "recording_id": "r"}',
            "give the manifest of the recordings, .* --supervisions",
        ),
        ("rows.jsonl", '{"text": "one"}', "no manifest of Lhotse"),
        ("empty.jsonl", "", "has no objects"),
        ("cuts.json", '{"a": 1}', "expected a list"),
    ],
)
def test_other_files_are_refused_with_the_cure(folder, import_cuts, name, text, reason):
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=reason):
        import_cuts("lhotse", folder / name)


def test_a_folder_of_several_manifests_and_supervisions_of_cuts_are_refused(
    recipe_folder, recordings, import_cuts
):
    cuts = CutSet.from_manifests(RecordingSet.from_recordings(recordings))
    cuts.to_file(recipe_folder / "cuts_train.jsonl")
    with pytest.raises(
        DataError, match=r"has 2 manifests of cuts or recordings: cuts_train\.jsonl, mine_rec"
    ):
        import_cuts("lhotse", recipe_folder)
    with pytest.raises(UserError, match="omit --supervisions"):
        import_cuts("lhotse", recipe_folder / "cuts_train.jsonl", supervisions=recipe_folder)
