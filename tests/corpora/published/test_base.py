import json

import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import (
    CutSetWriter,
    Facts,
    PublishedCorpus,
    read_table_rows,
)
from audio_lm.corpora.published.download import Archive
from audio_lm.data.manifest.line import read_line

FACTS = Facts(what="clips", licence="CC0", url="https://example.org/clips")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for name, seconds in (("a", 2.0), ("b", 1.0), ("tiny", 0.01)):
        wave = np.random.default_rng(0).normal(0, 0.1, int(22_050 * seconds))
        soundfile.write(folder / f"{name}.wav", wave, 22_050)
    return folder


def read(source, writer):
    for path in sorted(source.glob("*.wav")):
        labels = {"language": "en", "text": path.stem}
        writer.add("all-train", path.stem, path, labels, units=[(path.stem, 0.1, 0.2)])


CORPUS = PublishedCorpus("clips", FACTS, read, by_hand="ask them")


def write(corpus, tmp_path, lines, **settings):
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    corpus.write(folder, tmp_path / "data" / corpus.name, corpus.read_settings(settings), lines.append)
    return [json.loads(line) for line in (folder / "all-train.jsonl").read_text().splitlines()]


def test_cuts_refer_to_the_files_of_the_publisher(source, tmp_path):
    lines = []
    cuts = write(CORPUS, tmp_path, lines, source=str(source))
    assert [cut["id"] for cut in cuts] == ["a", "b"]
    for cut in cuts:
        manifest_line = read_line(json.dumps(cut).encode(), roots=[source])
        assert manifest_line.files == (str(source / f"{cut['id']}.wav"),)
        assert cut["supervisions"][0]["custom"]["honesty"] == {"language": "exact", "text": "exact"}
    assert cuts[0]["duration"] == pytest.approx(2.0)
    assert any("all-train, 2 clips" in line for line in lines)
    assert any("1 clips under 30 ms were left out" in line for line in lines)


def test_a_cut_may_be_a_part_of_a_file_and_have_further_clips(source, tmp_path):
    writer = CutSetWriter(tmp_path, "clips")
    labels = {"same_speaker": "no"}
    writer.add(
        "all-train", "x", source / "a.wav", labels, start=0.5, duration=9.0, more_audio=[source / "b.wav"]
    )
    writer.close(lambda line: None)
    cut = json.loads((tmp_path / "all-train.jsonl").read_text())
    assert (cut["start"], cut["duration"]) == (0.5, pytest.approx(1.5))
    assert cut["custom"]["audio_2"]["duration"] == pytest.approx(1.0)


def test_the_error_for_a_bad_file_names_it(source, tmp_path):
    writer = CutSetWriter(tmp_path, "clips")
    (source / "broken.wav").write_bytes(b"no audio")
    with pytest.raises(DataError, match=r"gone\.wav is missing"):
        writer.add("all-train", "x", source / "gone.wav", {})
    with pytest.raises(DataError, match=r"broken\.wav is unusable"):
        writer.add("all-train", "x", source / "broken.wav", {})
    with pytest.raises(DataError, match=r"'x' starts at 9.00 s"):
        writer.add("all-train", "x", source / "a.wav", {}, start=9.0)
    with pytest.raises(ValueError, match="no labels"):
        writer.add("all-train", "x", source / "a.wav", {"colour": "red"})
    writer.add("all-train", "x", source / "a.wav", {})
    with pytest.raises(DataError, match="duplicate id"):
        writer.add("all-train", "x", source / "b.wav", {})
    with pytest.raises(DataError, match="no clip was found"):
        CutSetWriter(tmp_path, "clips").close(print)


def test_the_error_for_a_missing_corpus_explains_how_to_get_it(source, tmp_path):
    with pytest.raises(DataError, match=r"a manual download \(ask them\); then set corpora\.clips\.source"):
        write(CORPUS, tmp_path, [])
    with pytest.raises(DataError, match="is not a folder"):
        write(CORPUS, tmp_path, [], source=str(tmp_path / "none"))
    offered = PublishedCorpus("clips", FACTS, read, archives=(Archive("file:///nowhere/clips.tar"),))
    with pytest.raises(DataError, match=r"corpora\.clips\.download=true"):
        write(offered, tmp_path, [])
    with pytest.raises(DataError, match="could not be downloaded"):
        write(offered, tmp_path, [], download=True)


def test_tables_have_headings_or_take_given_ones(tmp_path):
    (tmp_path / "a.csv").write_text('file,caption\nx.wav,"rain, and wind"\n')
    assert read_table_rows(tmp_path / "a.csv") == [{"file": "x.wav", "caption": "rain, and wind"}]
    (tmp_path / "b.tsv").write_text('x.wav\tsaid "yes\n')
    assert read_table_rows(tmp_path / "b.tsv", separator="\t", columns=("file", "text")) == [
        {"file": "x.wav", "text": 'said "yes'}
    ]
    (tmp_path / "c.csv").write_text("file,caption\nx.wav\n")
    with pytest.raises(DataError, match=r"c\.csv:2"):
        read_table_rows(tmp_path / "c.csv")
    with pytest.raises(DataError, match="is missing"):
        read_table_rows(tmp_path / "none.csv")


def test_escaped_characters_lose_their_escape_character(tmp_path):
    (tmp_path / "a.tsv").write_text('text\tby\nsaid \\"yes\\" \\\\ \\\tno\tme\n')
    assert read_table_rows(tmp_path / "a.tsv", separator="\t", escape="\\") == [
        {"text": 'said "yes" \\ \tno', "by": "me"}
    ]


def test_the_error_for_a_file_that_is_no_table_names_it(tmp_path):
    (tmp_path / "latin.csv").write_bytes("file,caption\nx.wav,caf\xe9\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv:\d: this is not UTF-8"):
        read_table_rows(tmp_path / "latin.csv")
    (tmp_path / "open.csv").write_text('file,caption\nx.wav,"rain\n')
    with pytest.raises(DataError, match=r"open\.csv:2: this is not CSV .*not closed"):
        read_table_rows(tmp_path / "open.csv")


def test_channels_are_averaged_and_formats_detected_by_content(source, tmp_path):
    wave = np.random.default_rng(1).normal(0, 0.1, 22_050)
    soundfile.write(source / "stereo.wav", np.stack([wave, 0 * wave], 1), 22_050)
    soundfile.write(source / "c.ogg", wave, 22_050, format="OGG", subtype="VORBIS")
    (source / "c.wav").symlink_to(source / "c.ogg")  # the format is detected from the content
    lines = []
    cuts = {cut["id"]: cut for cut in write(CORPUS, tmp_path, lines, source=str(source))}
    assert (cuts["stereo"]["type"], cuts["stereo"]["channel"]) == ("MultiCut", [0, 1])
    assert (cuts["a"]["type"], cuts["a"]["channel"]) == ("MonoCut", 0)
    assert cuts["c"]["duration"] == pytest.approx(1.0, abs=0.05)
    assert sum("1 of 1 files of several channels" in line for line in lines) == 1


def test_reading_and_writing_of_many_clips_show_their_progress(source, tmp_path, monkeypatch, shown_progress):
    monkeypatch.setattr("audio_lm.corpora.published.base.MIN_CLIPS", 2)
    assert len(write(CORPUS, tmp_path, [], source=str(source))) == 2
    assert shown_progress() == [
        *(f"reading clips  {number}/3 clips" for number in (1, 2, 3)),
        *(f"writing all-train  {number}/2 clips" for number in (1, 2)),
    ]
