import json
from pathlib import Path

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.audio_references import AudioReference, AudioReferences, clip_files
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.writer import ImportListing


@pytest.fixture
def references(folder, write_rows, import_cuts, tmp_path):
    """References of a file that names two cuts of mine/clips-train, and one that it lacks."""
    clips = [
        {"audio_filepath": "wavs/c.wav", "offset": 0.1, "duration": 0.5, "text": "hello"},
        {"audio_filepath": "wavs/a.wav", "duration": 0.4, "text": "you"},
    ]
    import_cuts("nemo", write_rows(clips, "clips.jsonl"), "clips-train", language="en")
    path = folder / "rows.jsonl"
    names = ("clips-train-000001", "clips-train-000002", "z")
    rows = [{"audios": [{"cut": f"mine/clips-train/{name}"}]} for name in names]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return AudioReferences(path, ImportOptions(data_dir=tmp_path / "data", subset="all", split="train"))


def test_a_path_is_a_whole_file_and_a_span_a_part(references, folder):
    whole = references.resolve("wavs/a.wav")
    assert whole == AudioReference((folder / "wavs" / "a.wav").absolute())
    assert whole.is_whole
    span = references.resolve({"path": "wavs/a.wav", "start": 0.1, "end": 0.3})
    assert (span.start, span.duration) == pytest.approx((0.1, 0.2))
    assert not span.is_whole


def test_a_cut_is_the_file_it_is_of(references):
    part = references.resolve({"cut": "mine/clips-train/clips-train-000001", "start": 0.1})
    assert part.path.name == "c.wav"
    assert (part.start, part.duration) == pytest.approx((0.2, 0.4))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "expected a path, or an object"),
        ({"path": "wavs/a.wav", "cut": "x"}, "expected a path, or an object"),
        ({"path": "wavs/a.wav", "offset": 1}, "expected a path, or an object"),
        ({"path": "wavs/gone.wav"}, "is missing"),
        ({"path": "wavs/a.wav", "start": 1, "end": 0.5}, "expected an end after the start"),
        ({"path": "wavs/a.wav", "start": "x"}, "start is 'x'"),
        ({"cut": "x"}, "expected corpus/subset-split/id"),
        ({"cut": "mine/clips-train/z"}, "cut 'z' is missing in 'mine/clips-train'"),
        ({"cut": "mine/other-train/x"}, "cut-set 'mine/other-train'"),
        ({"cut": "mine/clips-train/clips-train-000001", "start": 0.6}, "before the span"),
    ],
)
def test_a_reference_that_cannot_be_resolved_is_refused(references, value, reason):
    with pytest.raises(DataError, match=reason):
        references.resolve(value)


def test_a_listing_collects_the_files_of_spans_and_copies_nothing(references, tmp_path):
    listing = ImportListing(tmp_path / "new", "mine")
    options = ImportOptions(subset="all", split="train")
    found = [references.resolve(value) for value in ("wavs/a.wav", {"path": "wavs/b.wav", "start": 0.1})]
    assert [path.name for path in clip_files(found, listing, options)] == ["a.wav", "b.wav"]
    assert [Path(path).name for path in listing.files] == ["b.wav"]
    assert not (tmp_path / "new").exists()
