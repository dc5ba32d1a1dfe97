import pytest

from audio_lm.common.errors import DataError, UserError
from audio_lm.evaluation.answer_log import Answer, AnswerLog, partial_files
from audio_lm.evaluation.stamp import Stamp

STAMP = Stamp("m", "d", "s", "c")


def test_answers_of_all_ranks_are_read_by_any_number_of_ranks(tmp_path):
    for rank in (0, 1):
        with AnswerLog(tmp_path, "digits/asr", STAMP, rank) as log:
            log.append(rank, {f"clip-{rank}": Answer("one é\n")})
    with AnswerLog(tmp_path, "digits/asr", STAMP) as log:
        log.append(2, {"clip-2": Answer("two", {"one": -1.5, "two": -0.5})})
        assert log.answered() == {
            0: {"clip-0": Answer("one é\n")},
            1: {"clip-1": Answer("one é\n")},
            2: {"clip-2": Answer("two", {"one": -1.5, "two": -0.5})},
        }
        log.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_torn_line_is_dropped_and_its_pack_answered_again(tmp_path):
    with AnswerLog(tmp_path, "a", STAMP) as log:
        log.append(0, {"x": Answer("one")})
        log.append(1, {"y": Answer("two")})
    whole = log.path.read_bytes()
    for length in range(whole.rindex(b"\n", 0, -1) + 2, len(whole)):
        log.path.write_bytes(whole[:length])
        with AnswerLog(tmp_path, "a", STAMP) as again:
            assert again.answered().keys() == {0}
            again.append(1, {"y": Answer("two")})
        assert log.path.read_bytes() == whole


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        (Stamp("other", "d", "s", "c"), "another model, so"),
        (
            Stamp("m", "d2", "s2", "c"),
            "other clips, questions or references and other settings of the benchmark",
        ),
        (Stamp("m", "d", "s", "c2"), "another version of the code"),
    ],
)
def test_answers_of_another_stamp_are_refused_by_name(tmp_path, stamp, words):
    with AnswerLog(tmp_path, "a", STAMP) as log:
        log.append(0, {"x": Answer("one")})
    with (
        pytest.raises(DataError, match=rf"a\.partial-0\.jsonl holds answers that .* {words}"),
        AnswerLog(tmp_path, "a", stamp, rank=1),
    ):
        pass
    assert len(partial_files(tmp_path, "a")) == 1


def test_two_evaluations_do_not_write_one_file(tmp_path):
    with (
        AnswerLog(tmp_path, "a", STAMP),
        pytest.raises(UserError, match="is being written by another evaluation"),
        AnswerLog(tmp_path, "a", STAMP),
    ):
        pass


def test_files_of_a_benchmark_with_a_longer_name_are_not_its_own(tmp_path):
    for name in ("a", "a.partial-x", "ab"):
        with AnswerLog(tmp_path, name, STAMP):
            pass
    assert [path.name for path in partial_files(tmp_path, "a")] == ["a.partial-0.jsonl"]
