import io
import json
import tarfile

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.nemo_tars import expand
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.labels import labels_of


@pytest.fixture
def tarred(folder):
    """Folder as NeMo's converter writes it: two tars, a manifest, and one manifest of each shard."""
    place = folder / "tarred"
    (place / "sharded_manifests").mkdir(parents=True)
    names = {0: {"_clips_a.wav": "a", "_clips_b.wav": "b"}, 1: {"_clips_c.flac": "c"}}
    for shard, members in names.items():
        with tarfile.open(place / f"audio_{shard}.tar", "w") as tar:
            for name, clip in members.items():
                content = (folder / "wavs" / f"{clip}.wav").read_bytes()
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    rows = [
        {"audio_filepath": "_clips_a.wav", "duration": 0.4, "text": "one", "lang": "en", "shard_id": 0},
        {"audio_filepath": "_clips_b.wav", "duration": 0.6, "text": "two", "lang": "en", "shard_id": 0},
        {"audio_filepath": "_clips_c.wav", "offset": 0.0, "duration": 0.3, "text": "three", "shard_id": 1},
        {
            "audio_filepath": "_clips_c-sub1.wav",
            "offset": 0.4,
            "duration": 0.4,
            "text": "four",
            "shard_id": 1,
        },
    ]
    texts = [json.dumps(row) + "\n" for row in rows]
    (place / "tarred_audio_manifest.json").write_text("".join(texts))
    (place / "sharded_manifests" / "manifest_0.json").write_text("".join(texts[:2]))
    (place / "sharded_manifests" / "manifest_1.json").write_text("".join(texts[2:]))
    return place


@pytest.mark.parametrize(
    ("manifest", "tars"),
    [
        ("tarred_audio_manifest.json", ""),
        ("tarred_audio_manifest.json", "."),
        ("sharded_manifests", ""),
        ("sharded_manifests/manifest_{0..1}.json", "audio_{0..1}.tar"),
        ("sharded_manifests/manifest__OP_0..1_CL_.json", "audio__OP_0..1_CL_.tar"),
    ],
)
def test_clips_are_byte_ranges_of_the_tars(tarred, import_cuts, manifest, tars):
    cuts = import_cuts("nemo", tarred / manifest, tars=str(tarred / tars) if tars else "")
    assert [labels_of(cut)["text"] for cut in cuts] == ["one", "two", "three", "four"]
    assert [len(load_waves(cut)[0]) for cut in cuts] == [6_400, 9_600, 4_800, 6_400]
    assert [cut.start for cut in cuts] == [0.0, 0.0, 0.0, 0.4]
    assert {cut.recording.sources[0].type for cut in cuts} == {"shar"}


def test_missing_tars_and_members_are_named_with_the_cure(tarred, import_cuts):
    manifest = tarred / "tarred_audio_manifest.json"
    (tarred / "audio_1.tar").rename(tarred / "other.tar")
    with pytest.raises(DataError, match=r"json:3: shard 1 .* has the tars 0 to 0 -- .*with --tars"):
        import_cuts("nemo", manifest)
    (tarred / "audio_0.tar").rename(tarred / "audio_1.tar")
    with pytest.raises(DataError, match=r"shard 0 .*has the tars 1 to 1"):
        import_cuts("nemo", manifest)
    with pytest.raises(DataError, match=r"has no '_clips_c\.wav', but"):
        import_cuts("nemo", tarred / "sharded_manifests" / "manifest_1.json")


def test_a_compressed_or_truncated_tar_is_an_error(tarred, import_cuts):
    tar = tarred / "audio_1.tar"
    content = tar.read_bytes()
    for damaged, reason in ((b"\x1f\x8b" + content, "unpack it"), (content[:2_000], "truncated in member")):
        tar.write_bytes(damaged)
        with pytest.raises(DataError, match=reason):
            import_cuts("nemo", tarred / "sharded_manifests" / "manifest_1.json")


def test_tars_without_shards_are_refused(folder, write_rows, import_cuts):
    path = write_rows([{"audio_filepath": "wavs/a.wav", "text": "one", "lang": "en"}])
    with pytest.raises(DataError, match="has no shard_id"):
        import_cuts("nemo", path, tars=str(folder))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pipe:ais get ais://bucket/audio_{0..1}.tar -", "download the tars"),
        ("s3://bucket/audio_{0..1}.tar", "download the tars"),
        ("audio_{0..9999999}.tar", "at most"),
        ("audio_{3..1}.tar", "at most"),
        ("gone_{00..03}.tar", r"4 of the 4 files .* such as gone_00\.tar"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_refused(text, reason):
    with pytest.raises(DataError, match=reason):
        expand(text)
