import io
import json
import tarfile

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.webdataset import find_tars
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.manifest.shar import open_source
from tests.corpora.imports.hf_data import clip


def write_tar(path, members):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def sample(key, number, **more):
    return [
        (f"{key}.flac", clip(number)),
        (f"{key}.json", json.dumps({"speaker": f"s{number}", "duration": 1.0} | more).encode()),
        (f"{key}.txt", f"clip {number}\n".encode()),
    ]


@pytest.fixture
def shards(tmp_path):
    """Folder of three tars with two samples each."""
    for number in range(3):
        members = sample(f"{number}a", 2 * number) + sample(f"{number}b", 2 * number + 1)
        write_tar(tmp_path / "shards" / f"{number:06d}.tar", members)
    return tmp_path / "shards"


def test_clips_are_byte_ranges_of_their_tars(shards, import_cuts, tmp_path):
    cuts = import_cuts("webdataset", shards, language="en")
    assert [cut.id for cut in cuts] == ["0a", "0b", "1a", "1b", "2a", "2b"]
    for number, cut in enumerate(cuts):
        labels = labels_of(cut)
        assert (labels["text"], labels["language"]) == (f"clip {number}", "en")
        assert cut.supervisions[0].speaker == f"s{number}"
        assert open_source(cut.recording.sources[0].source).getvalue() == clip(number)
        assert len(load_waves(cut)[0]) == 8_000 + 160 * number
    assert any("columns not read: duration (6 rows)" in line for line in import_cuts.lines)
    assert [path.name for path in (tmp_path / "data" / "mine").iterdir()] == ["all-train.jsonl"]
    index = compile_source(
        tmp_path / "data/mine/all-train.jsonl", "mine/all-train", IndexRules(), cache=tmp_path / "cache"
    )
    assert (len(index), index.unreadable) == (6, ())


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("{000000..000002}.tar", [0, 1, 2]),
        ("00000{0,2}.tar", [0, 2]),
        ("*{1..2}.tar", [1, 2]),
        ("00000[01].tar", [0, 1]),
        ("000001.tar", [1]),
        ("", [0, 1, 2]),
    ],
)
def test_patterns_name_tars_as_in_a_shell(shards, pattern, numbers):
    assert find_tars(shards / pattern) == [shards / f"{number:06d}.tar" for number in numbers]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{000001..000004}.tar", "2 of the 4 tars of .* are missing, such as .*000003.tar"),
        ("{9..1}.tar", "has the tars 9 to 1 -- expected at most"),
        ("*.tgz", "has no .tar; give a folder"),
    ],
)
def test_a_pattern_without_tars_is_one_sentence(shards, pattern, reason):
    with pytest.raises(DataError, match=reason):
        find_tars(shards / pattern)


def test_urls_and_commands_are_refused(tmp_path):
    for text in ("https://host/{0..9}.tar", "pipe:cat a.tar", "s3://bucket/a.tar"):
        with pytest.raises(DataError, match="is a URL or a command, which is not read"):
            find_tars(tmp_path.__class__(text))


def test_keys_that_start_anew_in_every_tar_get_the_name_of_the_tar(tmp_path, import_cuts):
    for number in range(2):
        write_tar(tmp_path / "shards" / f"s{number}.tar", sample("000", number))
    cuts = import_cuts("webdataset", tmp_path / "shards", language="en")
    assert [cut.id for cut in cuts] == ["s0/000", "s1/000"]


def test_text_members_are_columns(tmp_path, import_cuts):
    members = [
        ("a.wav", clip(0, "WAV")),
        ("a.lang", b"fr"),
        ("a.cls", b"7"),
        ("a.transcript", b"bonjour"),
        ("a.npy", b"\0" * 8),
        ("__MACOSX/._a.wav", b"x"),
    ]
    path = write_tar(tmp_path / "a.tar", members)
    (cut,) = import_cuts("webdataset", path, columns={"cls": "emotion"})
    labels = labels_of(cut)
    assert (labels["text"], labels["language"], labels["emotion"]) == ("bonjour", "fr", "7")
    assert any("columns not read: npy (1 rows)" in line for line in import_cuts.lines)


def test_one_of_several_audio_members_is_chosen(tmp_path, import_cuts):
    members = [("a.near.wav", clip(0, "WAV")), ("a.far.wav", clip(9, "WAV")), ("a.txt", b"one")]
    path = write_tar(tmp_path / "a.tar", members)
    with pytest.raises(
        DataError, match=r"has the audio \['near.wav', 'far.wav'\] .* choose one with --audio-column"
    ):
        import_cuts("webdataset", path)
    (cut,) = import_cuts("webdataset", path, columns={"far.wav": "audio"}, language="en")
    assert open_source(cut.recording.sources[0].source).getvalue() == clip(9, "WAV")


def test_bad_samples_are_named_together_and_can_be_left_out(tmp_path, import_cuts):
    members = [
        *sample("good", 0),
        ("silent.txt", b"no audio"),
        ("../up.flac", clip(1)),
        ("../up.txt", b"up"),
        ("/root.flac", clip(1)),
        ("damaged.flac", b"404 not found"),
        ("damaged.txt", b"damaged"),
        ("twice.txt", b"one"),
        ("twice.txt", b"two"),
        ("list.flac", clip(2)),
        ("list.json", b"[1, 2]"),
        ("good.flac", clip(3)),
        *sample("last", 4),
    ]
    path = write_tar(tmp_path / "a.tar", members)
    with pytest.raises(DataError) as caught:
        import_cuts("webdataset", path, language="en")
    _, *named = str(caught.value).splitlines()
    for reason in (
        "a.tar:2: sample 'silent' has the audio []",
        "a.tar:3: sample '../up': the name of member '../up.flac' leads out of the tar",
        "a.tar:4: sample '/root': the name of member '/root.flac' leads out of the tar",
        "a.tar:6: sample 'twice': it has two members 'twice.txt'",
        "a.tar:7: sample 'list': its .json is a list",
        "a.tar:8: sample 'good': its key came before",
    ):
        assert any(reason in line for line in named), (reason, named)
    cuts = import_cuts("webdataset", path, language="en", skip_bad=7)
    assert [cut.id for cut in cuts] == ["good", "last"]


def test_a_truncated_tar_is_named_and_its_first_samples_can_be_kept(shards, import_cuts):
    whole = (shards / "000001.tar").read_bytes()
    (shards / "000001.tar").write_bytes(whole[: len(clip(2)) + 512 * 10])
    with pytest.raises(DataError, match=r"000001\.tar is truncated in member '1b.flac'"):
        import_cuts("webdataset", shards, language="en")
    cuts = import_cuts("webdataset", shards, language="en", skip_bad=2)
    assert [cut.id for cut in cuts] == ["0a", "0b", "1a", "2a", "2b"]


def test_an_audio_root_without_effect_is_refused(shards, import_cuts, tmp_path):
    with pytest.raises(DataError, match="an audio root was given"):
        import_cuts("webdataset", shards, audio_root=tmp_path)
