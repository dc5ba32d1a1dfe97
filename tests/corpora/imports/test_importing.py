import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.corpus import PREPARED
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.importing import import_file
from audio_lm.corpora.imports.splitting import SplitBy
from audio_lm.data.audio import file_lengths
from audio_lm.data.manifest.cuts import load_waves, read_cuts
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.labels import labels_of
from tests.data.audio_files import ffmpeg, seconds_by_ffmpeg, tone, wav_of_size

ROW = {"audio_filepath": "wavs/a.wav", "text": "one", "lang": "en"}


@pytest.fixture
def run(write_rows, tmp_path):
    """Function that imports rows as a NeMo manifest."""

    def run(
        rows=(ROW,), corpus="mine", subset_split="all-train", options=None, report=lambda line: None, **more
    ):
        path = write_rows(rows)
        data = tmp_path / "data"
        given = options or ImportOptions()
        return import_file("nemo", path, data, corpus, subset_split, given, report, **more)

    return run


def test_the_manifest_is_where_recipes_expect_it_and_can_be_indexed(run, tmp_path):
    rows = [ROW, ROW | {"audio_filepath": "wavs/c.wav"}]
    place = run(rows, subset_split="noise_1-validation")
    assert place == tmp_path / "data" / "mine" / "noise_1-validation.jsonl"
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    index = compile_source(place, "mine/noise_1-validation", IndexRules(), cache=tmp_path / "cache")
    assert len(index) == 2


def test_an_earlier_import_is_kept_unless_overwrite_is_set(run, tmp_path):
    run()
    with pytest.raises(UserError, match="exists; choose"):
        run([ROW | {"text": "two"}])
    with pytest.raises(DataError, match="is missing"):
        run([ROW | {"audio_filepath": "gone.wav"}], overwrite=True)
    (cut,) = read_cuts(tmp_path / "data", "mine/all-train")
    assert labels_of(cut)["text"] == "one"
    run([ROW | {"text": "two"}], overwrite=True)
    (cut,) = read_cuts(tmp_path / "data", "mine/all-train")
    assert labels_of(cut)["text"] == "two"


def test_two_imports_add_up_to_one_corpus(run):
    place = run()
    run(subset_split="all-test")
    assert sorted(path.name for path in place.parent.iterdir()) == ["all-test.jsonl", "all-train.jsonl"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"subset_split": "train"}, "expected a subset and one of train"),
        ({"subset_split": "all-dev"}, "expected a subset and one of train"),
        ({"subset_split": "../all-train"}, "expected a subset and one of train"),
        ({"corpus": "../mine"}, "a name starts with"),
        ({"corpus": ""}, "a name starts with"),
        ({"options": ImportOptions(split="test")}, "make them agree"),
        ({"options": ImportOptions(language="xx")}, "language 'xx' is unknown"),
        ({"rows": [ROW | {"_skipme": True}]}, r"no rows are left for split 'train' \(1 rows with _skipme"),
    ],
)
def test_a_failed_import_leaves_no_files(run, changed, reason, tmp_path):
    with pytest.raises((UserError, DataError), match=reason):
        run(**changed)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("language", ["English", "en-US", "eng", "<|en|>"])
def test_a_language_may_have_any_of_its_names(run, tmp_path, language):
    run([ROW | {"lang": None}], options=ImportOptions(language=language))
    (cut,) = read_cuts(tmp_path / "data", "mine/all-train")
    assert cut.supervisions[0].language == "en"


def test_languages_without_a_tag_are_imported_and_reported(run, tmp_path):
    lines = []
    rows = [ROW | {"lang": "Portuguese"}, ROW | {"lang": "hi", "audio_filepath": "wavs/c.wav"}]
    run(rows, report=lines.append)
    assert [labels_of(cut)["language"] for cut in read_cuts(tmp_path / "data", "mine/all-train")] == [
        "pt",
        "hi",
    ]
    assert (
        "mine: languages without a tag, for the prompts natural and chatml only: hi (1 clips), pt (1 clips)"
        in lines
    )


def test_a_prepared_corpus_is_not_mixed_with_an_import(run, tmp_path):
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / PREPARED).write_text("{}")
    with pytest.raises(UserError, match="choose another name"):
        run()


def test_a_folder_that_cannot_be_written_is_an_error(run, tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        run()


def test_a_missing_file_and_an_unknown_format_are_errors(tmp_path):
    for name, kind, reason in (
        ("nemo", DataError, "is missing"),
        ("nemmo", UserError, "Did you mean 'nemo'"),
    ):
        with pytest.raises(kind, match=reason):
            import_file(
                name, tmp_path / "gone", tmp_path, "mine", "all-train", ImportOptions(), lambda line: None
            )


def test_compressed_audio_is_imported_with_the_length_that_ffmpeg_decodes(run, folder, tmp_path):
    soundfile.write(folder / "source.wav", tone(44_100, 1, 2.0), 44_100)
    kinds = {
        "bare.mp3": "-b:a 64k -write_xing 0",
        "vbr.mp3": "-q:a 4 -write_xing 0",
        "xing.mp3": "-q:a 4",
        "a.ogg": "-c:a libvorbis",
        "a.opus": "-c:a libopus",
        "a.m4a": "-c:a aac",
        "a.webm": "-c:a libopus",
        "a.ac3": "-c:a ac3",
    }
    for name, options in kinds.items():
        ffmpeg("-i", str(folder / "source.wav"), *options.split(), str(folder / name))
    place = run([ROW | {"audio_filepath": name} for name in kinds])
    cuts = read_cuts(tmp_path / "data", "mine/all-train")
    decoded = seconds_by_ffmpeg(tmp_path, [folder / name for name in kinds])
    for cut, name in zip(cuts, kinds, strict=True):
        assert abs(cut.duration - decoded[folder / name]) < 0.001, name
        assert len(load_waves(cut)[0]) == round(cut.duration * 16_000), name
    index = compile_source(place, "mine/all-train", IndexRules(), cache=tmp_path / "cache")
    assert (len(index), index.unreadable) == (len(kinds), ())


def test_all_truncated_files_are_refused_in_one_error_with_lines(run, folder, tmp_path):
    wave = tone(16_000, 1, 1.5)
    (folder / "half.wav").write_bytes(wav_of_size(wave, 16_000, 4 * len(wave)))
    soundfile.write(folder / "b.flac", wave, 16_000)
    (folder / "b.flac").write_bytes((folder / "b.flac").read_bytes()[:9_000])
    (folder / "c.mp3").write_bytes(b"404 not found")
    rows = [ROW | {"audio_filepath": name} for name in ("half.wav", "wavs/a.wav", "b.flac", "c.mp3")]
    with pytest.raises(DataError) as caught:
        run(rows)
    sentence, *lines = str(caught.value).splitlines()
    assert sentence.startswith("3 lines cannot be imported")
    assert "rows.jsonl:1" in lines[0]
    assert "is shorter than its header states: 1.50 s of 3.00 s are present" in lines[0]
    assert "rows.jsonl:3" in lines[1]
    assert "rows.jsonl:4" in lines[2]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_wav_files_with_the_header_of_a_stream_are_imported_in_full(run, folder, tmp_path, size):
    (folder / "stream.wav").write_bytes(wav_of_size(tone(16_000, 1, 1.5), 16_000, size))
    run([ROW | {"audio_filepath": "stream.wav"}])
    (cut,) = read_cuts(tmp_path / "data", "mine/all-train")
    assert cut.duration == 1.5


KILLED_IMPORT = """
import os, signal, sys
from pathlib import Path
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.importing import import_file
from audio_lm.data.audio import file_lengths, length_cache

measure = file_lengths._measure
def measure_or_die(name):
    if name.endswith("/7.wav"):
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(name)

length_cache.FLUSH_EVERY = -1.0
file_lengths._measure = measure_or_die
import_file("nemo", Path(sys.argv[1]), Path(sys.argv[2]), "mine", "all-train", ImportOptions(), print)
"""


def test_a_killed_import_does_not_measure_again(run, folder, tmp_path, monkeypatch, write_rows):
    for number in range(12):
        soundfile.write(folder / f"{number}.wav", tone(16_000, 1, 0.3 + number / 100), 16_000)
    rows = [ROW | {"audio_filepath": f"{number}.wav"} for number in range(12)]
    arguments = [sys.executable, "-c", KILLED_IMPORT, str(write_rows(rows)), str(tmp_path / "data")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "data" / "mine").exists()
    measured = []
    real = file_lengths._measure
    monkeypatch.setattr(file_lengths, "_measure", lambda name: measured.append(Path(name).stem) or real(name))
    place = run(rows)
    assert measured == ["7", "8", "9", "10", "11"]
    monkeypatch.setattr(file_lengths, "_measure", real)
    assert place.read_bytes() == run(rows, corpus="other").read_bytes()


def test_bad_rows_are_reported_before_audio_is_measured(run, monkeypatch):
    monkeypatch.setattr(file_lengths, "_measure", None)
    with pytest.raises(DataError, match="is missing"):
        run([ROW, ROW | {"audio_filepath": "gone.wav"}])


@pytest.mark.parametrize(
    ("channel", "peaks"),
    [("average", [0.15]), ("left", [0.0]), ("right", [0.3]), ("both", [0.0, 0.3])],
)
def test_channels_are_averaged_or_chosen(run, folder, tmp_path, channel, peaks):
    wave = 0.3 * tone(16_000, 1, 0.5)[:, 0] / np.abs(tone(16_000, 1, 0.5)).max()
    soundfile.write(folder / "s.wav", np.stack([0 * wave, wave], 1), 16_000)
    run([ROW | {"audio_filepath": "s.wav"}], options=ImportOptions(channel=channel))
    cuts = read_cuts(tmp_path / "data", "mine/all-train")
    assert [np.abs(load_waves(cut)[0]).max() for cut in cuts] == pytest.approx(peaks, abs=0.001)
    assert len({cut.id for cut in cuts}) == len(peaks)
    assert all(labels_of(cut)["text"] == "one" for cut in cuts)


SPOKEN = [
    ROW | {"audio_filepath": f"wavs/{clip}.wav", "speaker": f"s{number}"}
    for number in range(5)
    for clip in "abc"
]


def test_one_import_writes_every_split_without_a_common_speaker(run, tmp_path):
    lines = []
    options = ImportOptions(split_by=SplitBy("speaker", test=0.2, validation=0.2))
    place = run(SPOKEN, options=options, report=lines.append)
    assert place.name == "all-train.jsonl"
    cuts = {
        split: read_cuts(tmp_path / "data", f"mine/all-{split}") for split in ("train", "validation", "test")
    }
    assert {split: len(found) for split, found in cuts.items()} == {"train": 9, "validation": 3, "test": 3}
    speakers = [{cut.supervisions[0].speaker for cut in found} for found in cuts.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 5
    assert any("split by speaker: train 9 clips (60.0%) of 3, test 3 clips" in line for line in lines)
    assert sum(line.startswith("source mine/all-") for line in lines) == 3


def test_a_split_import_is_refused_as_a_whole(run, tmp_path):
    run(SPOKEN, subset_split="all-test")
    options = ImportOptions(split_by=SplitBy("speaker", test=0.2))
    with pytest.raises(UserError, match=r"all-test\.jsonl exists"):
        run(SPOKEN, options=options)
    with pytest.raises(UserError, match="expected all-train"):
        run(SPOKEN, subset_split="all-validation", options=options)
    with pytest.raises(DataError, match="15 of 15 clips have no speaker"):
        run([row | {"speaker": ""} for row in SPOKEN], options=options, overwrite=True)
    assert [path.name for path in (tmp_path / "data" / "mine").iterdir()] == ["all-test.jsonl"]
    run(SPOKEN, options=options, overwrite=True)
    assert len(read_cuts(tmp_path / "data", "mine/all-test")) == 3


def test_bad_rows_are_left_out_and_named_up_to_the_limit(run, folder, tmp_path):
    (folder / "page.wav").write_bytes(b"404 not found")
    bad = [ROW | {"audio_filepath": "gone.wav"}, ROW | {"audio_filepath": "page.wav"}, ROW | {"offset": -1}]
    lines = []
    run([ROW, *bad], options=ImportOptions(skip_bad=3), report=lines.append)
    assert len(read_cuts(tmp_path / "data", "mine/all-train")) == 1
    (note,) = [line for line in lines if "bad lines were left out" in line]
    assert note.startswith("mine: 3 bad lines")
    assert all(f"rows.jsonl:{number}: " in note for number in (2, 3, 4))
    with pytest.raises(DataError, match="3 lines cannot be imported, and --skip-bad is 2"):
        run([ROW, *bad], options=ImportOptions(skip_bad=2), overwrite=True)


def test_rows_without_a_transcript_are_left_out_and_counted(run, tmp_path):
    lines = []
    run([ROW, ROW | {"text": ""}, ROW | {"text": "  "}], report=lines.append)
    assert len(read_cuts(tmp_path / "data", "mine/all-train")) == 1
    assert any("2 rows have no label and were left out, such as" in line for line in lines)


def test_an_option_of_another_format_is_refused(run, folder):
    for options in (ImportOptions(trim=True), ImportOptions(supervisions=folder)):
        with pytest.raises(UserError, match="which format 'nemo' does not read -- it is an option of lhotse"):
            run(options=options)
