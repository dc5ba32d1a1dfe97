from dataclasses import asdict, replace

from audio_lm.evaluation.stamp import DECIDING, MEANINGS, PACKAGE, Stamp, code_digest, digest_of

STAMP = Stamp("m", "d", "s", "c")


def test_every_part_changes_the_digest_and_is_named():
    for name in asdict(STAMP):
        other = replace(STAMP, **{name: "x"})
        assert other.digest != STAMP.digest
        assert STAMP.differences(asdict(other)) == [MEANINGS[name]]
    assert STAMP.differences(asdict(STAMP)) == []
    assert len(STAMP.differences({})) == 4


def test_the_order_of_keys_does_not_count():
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 2, "b": 1})


def test_the_code_that_decides_answers_exists():
    assert all((PACKAGE / name).exists() for name in DECIDING)
    assert len(code_digest()) == 16
