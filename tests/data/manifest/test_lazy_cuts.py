import gzip
import pickle
from dataclasses import replace

import numpy as np
import pytest
from lhotse import CutSet
from lhotse.utils import fastcopy

from audio_lm.common.audio_units import MAX_SECONDS
from audio_lm.common.errors import DataError
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.lengths import cached_token_lengths, wording_of
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.prompts.conversation import Turn
from audio_lm.tasks.registry import TASKS


@pytest.fixture
def compiled(make_cuts, tmp_path):
    """Make cuts, and the same as rows."""

    def make(count=5, **rules):
        cuts = make_cuts(count)
        path = tmp_path / "data" / "made" / "noise-train.jsonl"
        index = compile_source(path, "made/noise-train", IndexRules(**rules), cache=tmp_path / "cache")
        return cuts, Rows(index)

    return make


def test_every_row_is_the_cut_of_its_line(compiled):
    cuts, rows = compiled()
    assert len(rows) == 5
    for number in (3, 0, 4, 1, 2):
        assert rows.cut(number).to_dict() == cuts[number].to_dict()


def test_rows_can_be_pickled_with_an_open_file(compiled):
    cuts, rows = compiled()
    rows.cut(0)
    assert pickle.loads(pickle.dumps(rows)).cut(4).id == cuts[4].id


def test_token_lengths_are_those_of_the_examples(compiled, vocabulary, tmp_path):
    _, rows = compiled()
    for prompt in ("tags", "natural", "chatml"):
        maker = ExampleMaker(vocabulary, prompt)
        lengths = cached_token_lengths(rows, maker, "asr", cache=tmp_path / "cache")
        assert lengths.num_choices == maker.num_choices("asr")
        for row in range(5):
            for choice in range(lengths.num_choices):
                found = lengths.of(np.array([row]), np.array([choice]))
                assert found.tolist() == [len(maker.example(rows.cut(row), "asr", choice=choice))]
        assert lengths.mean == pytest.approx(lengths.table.mean())


def test_token_lengths_are_counted_once(compiled, vocabulary, tmp_path, monkeypatch):
    _, rows = compiled()
    maker = ExampleMaker(vocabulary, "tags")
    cached_token_lengths(rows, maker, "asr", cache=tmp_path / "cache")
    cut, read = Rows.cut, set()
    monkeypatch.setattr(Rows, "cut", lambda self, row: read.add(row) or cut(self, row))
    cached_token_lengths(rows, maker, "asr", cache=tmp_path / "cache")
    assert read == {0, 2, 4}, "a few rows are encoded to detect changed prompts"


def long_cut(make_cuts, tmp_path):
    (cut,) = make_cuts(1, seconds=12.0)
    repeated = cut
    for _ in range(3):
        repeated = repeated.append(cut)
    path = tmp_path / "data" / "made" / "long-train.jsonl"
    whole = repeated.save_audio(tmp_path / "long.wav")
    whole.supervisions = cut.supervisions[:1]
    CutSet([whole]).to_file(path)
    return path


def test_a_long_clip_is_chunked(make_cuts, vocabulary, tmp_path):
    path, cache = long_cut(make_cuts, tmp_path), tmp_path / "cache"
    rows = Rows(compile_source(path, "made/long-train", IndexRules(long_audio="chunk"), cache=cache))
    assert [rows.cut(row).duration for row in range(2)] == pytest.approx([MAX_SECONDS, 18.0])
    assert rows.cut(1).start == pytest.approx(MAX_SECONDS)
    assert rows.cut(0).id != rows.cut(1).id
    whole = np.concatenate([rows.cut(row).load_audio() for row in range(2)], axis=1)
    assert whole.shape == (1, 48 * 16_000)
    cached_token_lengths(rows, ExampleMaker(vocabulary, "tags"), "sgc", cache=cache)
    with pytest.raises(DataError, match="task 'asr' has no labels for the chunks"):
        cached_token_lengths(rows, ExampleMaker(vocabulary, "tags"), "asr", cache=cache)


def test_a_long_clip_is_truncated(make_cuts, tmp_path):
    path = long_cut(make_cuts, tmp_path)
    rows = Rows(
        compile_source(path, "made/long-train", IndexRules(long_audio="truncate"), cache=tmp_path / "cache")
    )
    assert len(rows) == 1
    assert rows.cut(0).duration == pytest.approx(MAX_SECONDS)


def test_changed_templates_are_counted_again_even_if_their_total_length_is_equal(
    compiled, vocabulary, tmp_path
):
    _, rows = compiled()
    maker, cache = ExampleMaker(vocabulary, "natural"), tmp_path / "cache"
    before = cached_token_lengths(rows, maker, "asr", cache=cache)
    asr = TASKS["asr"]
    first, second, *others = asr.prompts
    changed = replace(asr, prompts=(second, first, *others))
    after = cached_token_lengths(rows, replace(maker, tasks={"asr": changed}), "asr", cache=cache)
    assert after.wording != before.wording
    assert len(list(cache.rglob("tokens-*.npy"))) == 2


def test_prompt_text_in_code_is_part_of_the_wording_digest(compiled, vocabulary, tmp_path, monkeypatch):
    _, rows = compiled()
    before = wording_of(rows, ExampleMaker(vocabulary, "chatml"), "asr")
    monkeypatch.setattr(
        "audio_lm.prompts.chatml.SYSTEM_TURN", Turn("system", ("You are a helpful assistant!",))
    )
    assert wording_of(rows, ExampleMaker(vocabulary, "chatml"), "asr") != before


def test_a_damaged_table_is_counted_again(compiled, vocabulary, tmp_path, caplog):
    _, rows = compiled()
    maker, cache = ExampleMaker(vocabulary, "tags"), tmp_path / "cache"
    before = cached_token_lengths(rows, maker, "asr", cache=cache).table.tolist()
    (path,) = cache.rglob("tokens-*.npy")
    for damage in (b"", path.read_bytes()[:50], path.read_bytes()[:-1] + b"\x40"):
        path.write_bytes(damage)
        assert cached_token_lengths(rows, maker, "asr", cache=cache).table.tolist() == before
    assert sum(path.name in record.message for record in caplog.records) == 3


def test_rows_of_a_gzip_manifest_equal_those_of_a_plain_one(compiled, tmp_path):
    cuts, plain = compiled()
    manifest = tmp_path / "data" / "made" / "noise-train.jsonl"
    packed = tmp_path / "packed" / "noise-train.jsonl.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(manifest.read_bytes().rstrip(b"\n")))
    rows = Rows(compile_source(packed, "packed/noise-train", IndexRules(), cache=tmp_path / "cache"))
    assert [rows.cut(row).to_dict() for row in range(len(cuts))] == [
        plain.cut(row).to_dict() for row in range(len(cuts))
    ]


CHANGES = {
    "emptied": lambda text: b"",
    "cut off": lambda text: text[:-40],
    "overwritten": lambda text: b"\0" * len(text),
    "other lines": lambda text: b"{}\n" * (len(text) // 3),
    "a command": lambda text: text.replace(b'"file"', b'"command"'),
    "a transform": lambda text: text.replace(
        b'"duration"', b'"transforms": [{"name": "Rir", "kwargs": {}}], "duration"'
    ),
    "another folder": lambda text: text.replace(b"/audio/", b"/../../../audio/"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_manifest_that_changes_during_a_run_is_a_fault_of_its_rows(compiled, tmp_path, kind):
    _, rows = compiled(roots=(str(tmp_path),))
    assert rows.cut(4).id
    path = rows.index.manifest
    path.write_bytes(CHANGES[kind](path.read_bytes()))  # in place, like an editor on a shared disk
    for again in (rows, pickle.loads(pickle.dumps(rows))):
        with pytest.raises(DataError, match=r"noise-train\.jsonl: the cut at byte \d+ can no longer be read"):
            again.cut(4)


def test_a_deleted_manifest_is_named(compiled):
    _, rows = compiled()
    rows.index.manifest.unlink()
    with pytest.raises(DataError, match=r"noise-train\.jsonl"):
        rows.cut(0)


def test_a_line_longer_than_a_block_is_read(compiled, tmp_path, monkeypatch):
    cuts, rows = compiled()
    for num_bytes in (1, 7, 100):
        monkeypatch.setattr("audio_lm.data.manifest.lazy_cuts.BLOCK_BYTES", num_bytes)
        assert [rows.cut(row).id for row in range(5)] == [cut.id for cut in cuts]


def test_a_chunk_has_the_labels_of_all_supervisions(make_cuts, vocabulary, tmp_path):
    path = long_cut(make_cuts, tmp_path)
    (cut,) = CutSet.from_file(path)
    (one,) = cut.supervisions
    other = fastcopy(one, id="other", start=20.0, duration=5.0, custom={**one.custom, "gender": "female"})
    cut.supervisions = [fastcopy(one, duration=5.0), other]
    CutSet.from_cuts([cut]).to_file(path)
    rows = Rows(
        compile_source(path, "made/long-train", IndexRules(long_audio="chunk"), cache=tmp_path / "cache")
    )
    with pytest.raises(DataError, match="'gender': 2 of its 2"):
        cached_token_lengths(rows, ExampleMaker(vocabulary, "tags"), "sgc", cache=tmp_path / "cache")
    cached_token_lengths(rows, ExampleMaker(vocabulary, "tags"), "lid", cache=tmp_path / "cache")
