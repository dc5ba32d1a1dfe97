import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.labels import labels_of

WHOLE = {
    "wav.scp": "s1-a wavs/a.wav\ns2-b wavs/b.wav\n",
    "text": "s1-a one two\ns2-b three\n",
    "utt2spk": "s1-a s1\ns2-b s2\n",
    "spk2gender": "s1 f\ns2 m\n",
    "utt2dur": "s1-a 0.4\ns2-b 0.6\n",
}
PARTS = {
    "wav.scp": "talk wavs/c.wav\n",
    "segments": "talk-1 talk 0.1 0.35\ntalk-2 talk 0.5 -1\n",
    "text": "talk-1 one\ntalk-2 two three\n",
    "utt2lang": "talk-1 en\ntalk-2 en\n",
}


@pytest.fixture
def write(folder):
    def write(files):
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    return write


def test_a_directory_gives_transcripts_speakers_and_genders(write, import_cuts, render_example):
    first, second = import_cuts("kaldi", write(WHOLE), language="en")
    assert (first.id, second.id) == ("s1-a", "s2-b")
    assert [cut.supervisions[0].speaker for cut in (first, second)] == ["s1", "s2"]
    assert [labels_of(cut)["gender"] for cut in (first, second)] == ["female", "male"]
    text, num_samples = render_example(first, "asr")
    assert text.endswith("assistant\none two<|im_end|>")
    assert num_samples == (6_400,)
    assert render_example(second, "sgc")[0].endswith("male<|im_end|>")


def test_segments_cut_recordings_and_minus_one_is_the_end(write, import_cuts, render_example):
    first, second = import_cuts("kaldi", write(PARTS))
    assert (first.start, first.duration) == (0.1, pytest.approx(0.25))
    assert render_example(first, "asr")[1] == (4_000,)
    assert render_example(second, "asr")[1] == (4_800,)
    assert len(load_waves(second)[0]) == 4_800
    assert labels_of(first)["language"] == "en"


def test_pipes_that_decode_one_file_are_that_file_and_nothing_runs(write, import_cuts, folder):
    wave, rate = soundfile.read(folder / "wavs" / "a.wav")
    soundfile.write(folder / "wavs" / "a.flac", wave, rate)
    soundfile.write(folder / "wavs" / "a.sph", wave, rate, format="NIST")
    commands = {
        "u1": "flac -c -d -s wavs/a.flac |",
        "u2": "cat wavs/a.wav |",
        "u3": "sox wavs/a.wav -t wav - |",
        "u4": "/opt/kaldi/tools/sph2pipe -f wav wavs/a.sph |",
        "u5": "ffmpeg -i wavs/a.wav -f wav - |",
    }
    files = {
        "wav.scp": "".join(f"{key} {command}\n" for key, command in commands.items()),
        "text": "".join(f"{key} one\n" for key in commands),
    }
    cuts = import_cuts("kaldi", write(files), language="en")
    assert [cut.id for cut in cuts] == list(commands)
    for cut in cuts:
        assert np.allclose(load_waves(cut)[0], wave, atol=1e-4)


def test_utterances_without_a_text_are_left_out_and_counted(write, import_cuts):
    files = {**WHOLE, "text": "s1-a one\ns2-b\n"}
    del files["spk2gender"]
    (cut,) = import_cuts("kaldi", write(files), language="en")
    assert cut.id == "s1-a"
    assert any("1 rows have no label and were left out, such as" in line for line in import_cuts.lines)


def test_paths_may_be_relative_to_another_folder(write, import_cuts, folder):
    files = {**WHOLE, "wav.scp": "s1-a a.wav\ns2-b b.wav\n"}
    assert len(import_cuts("kaldi", write(files), audio_root=folder / "wavs")) == 2


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"wav.scp": "s1-a gunzip -c x.wav.gz |\ns2-b wavs/b.wav\n"},
            "wav.scp:1: .* commands are not run",
        ),
        ({"wav.scp": "s1-a wavs/a.wav\ns2-b\n"}, "wav.scp:2: 's2-b' has no value"),
        ({"wav.scp": "s1-a wavs/a.wav\ns1-a wavs/b.wav\n"}, "wav.scp:2: 's1-a' is already in line 1"),
        ({"text": "s1-a one two\n"}, "wav.scp:2: text has no 's2-b'"),
        ({"text": "s1-a one\ns2-b two\ns3-c three\n"}, "text:3: wav.scp has no 's3-c'"),
        ({"utt2spk": "s1-a s1\n"}, "wav.scp:2: utt2spk has no 's2-b'"),
        ({"spk2gender": "s1 f\ns2 x\n"}, "wav.scp:2: 'spk2gender' is 'x'"),
        (
            {"utt2dur": "s1-a 0.4\ns2-b 6.0\n"},
            "wav.scp:2: the clip lasts 0.60 s -- the declared duration is 6.00 s",
        ),
        ({"segments": "s1-a talk 0 1\n"}, "segments:1: wav.scp has no 'talk'"),
        ({"segments": "s1-a s1-a 0.3 0.1\ns2-b s2-b 0 0.5\n"}, "segments:1: the segment ends at 0.1"),
        ({"segments": "s1-a s1-a 0 0.4 1\ns2-b s2-b 0 0.5\n"}, "segments:1: 5 fields"),
        ({"segments": "s1-a s1-a 0 0.4\ns2-b s2-b 0.7 0.8\n"}, "segments:2: the clip lasts from 0.70 s"),
    ],
)
def test_the_error_for_a_bad_line_names_it(write, import_cuts, changed, reason, tmp_path):
    with pytest.raises(DataError, match=reason):
        import_cuts("kaldi", write({**WHOLE, **changed}))
    assert not (tmp_path / "data").exists()


def test_a_directory_needs_its_files_and_has_no_columns(write, import_cuts, folder):
    with pytest.raises(DataError, match="text is missing"):
        import_cuts("kaldi", write({"wav.scp": WHOLE["wav.scp"]}))
    with pytest.raises(DataError, match="not a folder"):
        import_cuts("kaldi", folder / "wav.scp")
    with pytest.raises(DataError, match="has no columns"):
        import_cuts("kaldi", write(WHOLE), columns={"a": "text"})


def test_unread_files_of_the_directory_are_reported(write, import_cuts):
    more = {"feats.scp": "s1-a x\n", "spk2utt": "s1 s1-a\n"}
    import_cuts("kaldi", write(WHOLE | more), language="en")
    assert "mine: files not read: feats.scp" in import_cuts.lines
    for name in ("utt2spk", "feats.scp"):
        (write({}) / name).unlink()
    import_cuts("kaldi", write({}), "more-train", language="en")
    assert "mine: files not read: spk2gender" in import_cuts.lines, "genders are those of speakers"
