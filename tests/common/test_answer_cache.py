"""Kept answers."""

import pytest

from audio_lm.common.answer_cache import AnswerCache, Reply, request_hash
from audio_lm.common.errors import UserError

REPLY = Reply("zwei \u00fc\n", "tiny", "stop")


def test_answers_survive_the_process_and_a_line_that_was_cut(tmp_path):
    path = tmp_path / "folder" / "answers.jsonl"
    cache = AnswerCache(path)
    cache.put("a", REPLY)
    cache.put("b", Reply("two", "tiny"))
    cache.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"request": "c", "te')
    cache = AnswerCache(path)
    assert (len(cache), cache.get("a"), cache.get("c")) == (2, REPLY, None)
    cache.put("c", REPLY)
    cache.close()
    assert path.read_bytes().startswith(whole)
    assert AnswerCache(path).get("c") == REPLY


def test_a_changed_answer_is_not_used(tmp_path):
    path = tmp_path / "answers.jsonl"
    cache = AnswerCache(path)
    cache.put("a", Reply("two", "tiny"))
    cache.put("b", Reply("six", "tiny"))
    cache.close()
    path.write_text(path.read_text().replace("two", "ten"))
    cache = AnswerCache(path)
    assert (cache.get("a"), cache.get("b")) == (None, Reply("six", "tiny"))


def test_one_process_writes_a_file(tmp_path):
    path = tmp_path / "answers.jsonl"
    first = AnswerCache(path)
    with pytest.raises(UserError, match="written by another process"):
        AnswerCache(path)
    first.close()
    AnswerCache(path).close()


def test_a_folder_in_its_place_is_an_error(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        AnswerCache(tmp_path)


def test_every_part_of_a_request_counts():
    hashes = {
        request_hash("http://a", {"model": "m", "messages": []}),
        request_hash("http://b", {"model": "m", "messages": []}),
        request_hash("http://a", {"model": "n", "messages": []}),
        request_hash("http://a", {"model": "m", "messages": [], "seed": 1}),
    }
    assert len(hashes) == 4
    assert request_hash("http://a", {"x": 1, "y": "\ud800"}) == request_hash(
        "http://a", {"y": "\ud800", "x": 1}
    )
