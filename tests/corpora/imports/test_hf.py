import os
import signal
import subprocess
import sys
from collections import Counter
from io import BytesIO

import pytest

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.imports import audio_copy
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.hf_dataset import HfDataset
from audio_lm.corpora.imports.importing import import_file
from audio_lm.data.audio import decode
from audio_lm.data.manifest.cuts import load_waves, read_cuts
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.manifest.shar import open_source
from tests.corpora.imports.hf_data import clip, rows, write_audio_folder, write_parquet, write_saved

pytest.importorskip("datasets")
COLUMNS = {"sentence": "text"}
KILLED_IMPORT = """
import os, signal, sys
from pathlib import Path
from audio_lm.corpora.imports import audio_copy
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.importing import import_file

add = audio_copy.AudioCopy.add
def add_or_die(self, row):
    add(self, row)
    self._shard.tar.fileobj.flush()
    if self.num_rows + self._shard.num_rows == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

audio_copy.MAX_ROWS = 4
audio_copy.AudioCopy.add = add_or_die
options = ImportOptions(columns={"sentence": "text"}, language="en")
import_file("hf", Path(sys.argv[1]), Path(sys.argv[2]), "mine", "all-train", options, print)
"""


def contents(folder):
    """Content of every file with rows or audio, by name."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.glob("*/*.audio-*/0*"))
        if path.suffix != ".part"
    }


@pytest.fixture
def run(tmp_path):
    """Function that imports a dataset, and reads its cuts."""

    def run(path, data=tmp_path / "data", subset_split="all-train", **options):
        run.lines = []
        given = {"columns": COLUMNS, "language": "en", **options}
        import_file("hf", path, data, "mine", subset_split, ImportOptions(**given), run.lines.append)
        return read_cuts(data, f"mine/{subset_split}")

    return run


@pytest.mark.parametrize("write", [write_parquet, write_saved])
def test_embedded_audio_is_kept_byte_for_byte(run, tmp_path, write):
    found = rows(7)
    cuts = run(write(tmp_path / "given", found))
    assert [cut.id for cut in cuts] == [row["id"] for row in found]
    assert [labels_of(cut)["text"] for cut in cuts] == [row["sentence"] for row in found]
    assert [labels_of(cut)["emotion"] for cut in cuts] == ["angry", "happy"] * 3 + ["angry"]
    for cut, row in zip(cuts, found, strict=True):
        assert open_source(cut.recording.sources[0].source).getvalue() == row["audio"]["bytes"]
        assert (
            len(load_waves(cut)[0])
            == decode.measure(open_source(cut.recording.sources[0].source)).num_samples
        )
    index = compile_source(
        tmp_path / "data/mine/all-train.jsonl", "mine/all-train", IndexRules(), cache=tmp_path / "cache"
    )
    assert (len(index), index.unreadable) == (7, ())


def test_files_of_a_folder_stay_in_place_and_folders_are_labels(run, tmp_path):
    folder = write_audio_folder(tmp_path / "given", 4)
    cuts = run(folder, columns={"label": "emotion"})
    assert Counter(labels_of(cut)["emotion"] for cut in cuts) == {"angry": 2, "happy": 2}
    for cut in cuts:
        assert cut.recording.sources[0].type == "file"
        assert cut.recording.sources[0].source.startswith(str(folder))
        assert len(load_waves(cut)[0]) > 0
    assert not [*tmp_path.glob("data/mine/*/*.tar")]


@pytest.mark.slow
def test_a_killed_import_continues_and_ends_like_one_that_was_not_killed(run, tmp_path, monkeypatch):
    found = rows(14)
    given = write_parquet(tmp_path / "given", found)
    arguments = [sys.executable, "-c", KILLED_IMPORT, str(given), str(tmp_path / "data")]
    for after in (6, 11):  # in the second shard, then in the third
        done = subprocess.run([*arguments, str(after)], capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "data/mine/all-train.jsonl").exists()
    monkeypatch.setattr(audio_copy, "MAX_ROWS", 4)
    read = []
    real = HfDataset._row
    monkeypatch.setattr(HfDataset, "_row", lambda self, row: read.append(row["id"]) or real(self, row))
    cuts = run(given)
    assert read == [f"row-{number}" for number in range(8, 14)]
    expected = run(given, data=tmp_path / "other")
    assert contents(tmp_path / "data") == contents(tmp_path / "other")
    assert len(contents(tmp_path / "data")) == 8
    assert [(cut.id, cut.duration, labels_of(cut)) for cut in cuts] == [
        (cut.id, cut.duration, labels_of(cut)) for cut in expected
    ]


def test_bad_audio_is_named_and_leaving_it_out_copies_nothing_again(run, tmp_path, monkeypatch):
    found = rows(5)
    found[2]["audio"] = {"bytes": b"404 not found", "path": "2.flac"}
    found[3]["audio"] = {"bytes": None, "path": "gone.flac"}
    given = write_parquet(tmp_path / "given", found)
    with pytest.raises(
        DataError, match=r"given/train:4: audio .*given/gone.flac is missing"
    ):  # before audio is measured
        run(given)
    with pytest.raises(DataError) as caught:
        run(given, skip_bad=1)
    sentence, *named = str(caught.value).splitlines()
    assert sentence.startswith("2 lines cannot be imported")
    assert "given/train:3: " in named[0]
    assert "cannot be decoded" in named[0]
    assert "given/train:4: " in named[1]
    assert "gone.flac is missing" in named[1]
    assert not [*tmp_path.glob("data/mine/*.jsonl")]
    monkeypatch.setattr(HfDataset, "rows", None)
    assert [cut.id for cut in run(given, skip_bad=2)] == ["row-0", "row-1", "row-4"]
    assert any("2 bad lines were left out" in line for line in run.lines)


def test_other_labels_of_the_same_dataset_need_no_second_copy(run, tmp_path, monkeypatch):
    given = write_parquet(tmp_path / "given", rows(3))
    run(given)
    monkeypatch.setattr(HfDataset, "rows", None)
    options = ImportOptions(columns={"sentence": "", "emotion": "emotion"})
    import_file("hf", given, tmp_path / "data", "mine", "all-train", options, print, overwrite=True)
    cuts = read_cuts(tmp_path / "data", "mine/all-train")
    assert [labels_of(cut)["emotion"] for cut in cuts] == ["angry", "happy", "angry"]
    assert not any("text" in labels_of(cut) for cut in cuts)


def test_a_changed_dataset_is_copied_anew_and_the_old_audio_is_named(run, tmp_path):
    given = write_parquet(tmp_path / "given", rows(3))
    run(given)
    write_parquet(given, rows(4))
    options = ImportOptions(columns=COLUMNS, language="en")
    lines = []
    import_file("hf", given, tmp_path / "data", "mine", "all-train", options, lines.append, overwrite=True)
    assert len(read_cuts(tmp_path / "data", "mine/all-train")) == 4
    assert len([*tmp_path.glob("data/mine/all-train.audio-*")]) == 2
    assert any("audio of earlier imports, all-train.audio-" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dataset_split": "dev"}, r"has the splits \['train'\], not 'dev'; choose one with --split"),
        ({"config": "en"}, "cannot be opened as a dataset"),
        ({"revision": "main"}, "a revision was given, but"),
        ({"columns": {"sound": "audio"}}, r"its audio is in \['sound'\] -- expected one"),
        ({"columns": {"wrong": "text"}}, r"no column \['wrong'\]"),
    ],
)
def test_wrong_options_are_one_sentence(run, tmp_path, options, reason):
    given = write_parquet(tmp_path / "given", rows(2))
    with pytest.raises(DataError, match=reason):
        run(given, **options)
    assert not [*tmp_path.glob("data/mine/*.jsonl")]


def test_options_of_this_format_are_refused_by_others(tmp_path):
    (tmp_path / "a.csv").write_text("audio,text\na.wav,one\n")
    with pytest.raises(UserError, match="config was given, which format 'table' does not read"):
        import_file(
            "table", tmp_path / "a.csv", tmp_path, "mine", "all-train", ImportOptions(config="en"), print
        )


def test_two_imports_of_one_dataset_do_not_write_at_once(run, tmp_path):
    given = write_parquet(tmp_path / "given", rows(2))
    run(given)
    (folder,) = tmp_path.glob("data/mine/all-train.audio-*")
    with audio_copy.AudioCopy(folder, "audio").locked():
        options = ImportOptions(columns=COLUMNS)
        with pytest.raises(UserError, match="another process writes"):
            import_file("hf", given, tmp_path / "data", "mine", "all-train", options, print, overwrite=True)


def test_splits_are_found_by_their_usual_names(run, tmp_path):
    given = write_parquet(tmp_path / "given", rows(3))
    write_parquet(given, [row | {"id": f"v-{row['id']}"} for row in rows(2)], split="validation", num_files=1)
    assert len(run(given)) == 3
    assert [cut.id for cut in run(given, subset_split="all-validation")] == ["v-row-0", "v-row-1"]
    with pytest.raises(DataError, match="not 'test'; choose one"):
        run(given, subset_split="all-test")
    assert len(run(given, subset_split="all-test", dataset_split="validation")) == 2


def test_compressed_audio_is_measured_by_decoding(run, tmp_path):
    found = rows(2)
    found[0]["audio"] = {"bytes": clip(0, "OGG"), "path": "0.ogg"}
    cuts = run(write_parquet(tmp_path / "given", found))
    measured = decode.measure(BytesIO(found[0]["audio"]["bytes"]))
    assert measured.is_counted
    assert cuts[0].recording.num_samples == measured.num_samples
    assert os.path.basename(cuts[0].recording.sources[0].source).startswith("000000.tar@")
