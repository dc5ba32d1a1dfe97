import json

import pytest

from audio_lm.data.contamination.places import ClipPlace, places_of
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.lazy_cuts import Rows


@pytest.fixture
def table(make_cuts, tmp_path):
    make_cuts(1)
    return json.loads((tmp_path / "data" / "made" / "noise-train.jsonl").read_text())


def rows_of(table, tmp_path):
    path = tmp_path / "data" / "made" / "other-train.jsonl"
    path.write_text(json.dumps(table) + "\n")
    return Rows(compile_source(path, "made/other-train", IndexRules("truncate"), cache=tmp_path / "cache"))


def test_facts_and_cut_name_the_same_place(table, tmp_path):
    rows = rows_of(table | {"start": 0.1, "duration": 0.2}, tmp_path)
    (place,) = places_of(rows.facts(0))
    assert places_of(rows.cut(0)) == [place]
    path = table["recording"]["sources"][0]["source"]
    assert place == ClipPlace(path, 0.1, 0.2, (0,))
    assert place.end == pytest.approx(0.3)


def test_a_speed_change_has_no_samples_of_its_own_and_resampling_has(table, tmp_path):
    faster = [{"name": "Speed", "kwargs": {"factor": 1.1}}]
    recording = table["recording"] | {
        "transforms": faster,
        "num_samples": 5818,
        "duration": 5818 / 16000,
    }
    speech = {key: table["supervisions"][0][key] for key in ("id", "recording_id", "start", "channel")}
    changed = table | {"recording": recording, "duration": 0.3, "supervisions": [speech | {"duration": 0.3}]}
    assert places_of(rows_of(changed, tmp_path).facts(0)) == [None]
    resampled = [
        {"name": "Resample", "kwargs": {"source_sampling_rate": 16000, "target_sampling_rate": 8000}}
    ]
    half = table["recording"] | {"transforms": resampled, "sampling_rate": 8000, "num_samples": 3200}
    assert places_of(rows_of(table | {"recording": half}, tmp_path).facts(0))[0].duration == 0.4


def test_a_text_has_no_place(table, tmp_path):
    text = table | {"recording": None, "custom": {}}
    assert places_of(rows_of(text, tmp_path).facts(0)) == []
