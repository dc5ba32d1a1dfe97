import json

import pytest

from audio_lm.bench.contamination import TEST, TRAINING, rows_found, write_sets
from audio_lm.data.contamination.find import ComparedSet, find_matches, references_of
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.tasks.registry import TASKS


def compared(folder, source, tasks=("asr",)):
    path = folder / f"{source}.jsonl"
    return ComparedSet(
        source, tasks, Rows(compile_source(path, source, IndexRules(), cache=folder / "cache"))
    )


def search(folder, tests=TEST, training=TRAINING):
    sets = ([compared(folder, source)] for source in (tests, training))
    return find_matches(*sets, tasks=TASKS, cache=folder / "cache")


def edit(folder, source, change):
    path = folder / f"{source}.jsonl"
    tables = [json.loads(line) for line in path.read_text().splitlines()]
    for row, table in enumerate(tables):
        change(row, table)
    path.write_text("".join(json.dumps(table) + "\n" for table in tables))
    return tables


@pytest.mark.parametrize("num_tests", [20, 60])
def test_exactly_the_planted_clips_are_found(tmp_path, num_tests):
    planted = write_sets(tmp_path, 120, num_tests)
    matches = search(tmp_path)
    assert rows_found(matches) == planted
    assert len(matches.audio) == 1
    assert matches.test_speakers[0]
    assert not set(matches.test_speakers[0]) & set(matches.speakers)
    assert not matches.num_unread


def test_a_segment_of_a_training_file_is_found_by_its_place(tmp_path):
    write_sets(tmp_path, 8, 4)
    files = [
        table["recording"]["sources"][0]["source"] for table in edit(tmp_path, TRAINING, lambda *_: None)
    ]

    def cut(row, table):
        table["recording"]["sources"][0]["source"] = files[row]
        table["start"], table["duration"] = 0.05, 0.2
        table["supervisions"][0]["text"] = "short"
        if row == 0:  # no more than a tenth of this clip is in the segment of training
            table["start"], table["duration"] = 0.0, 0.2

    def shorten(row, table):
        if row == 0:
            table["start"], table["duration"] = 0.18, 0.07

    edit(tmp_path, TEST, cut)
    edit(tmp_path, TRAINING, shorten)
    assert rows_found(search(tmp_path)) == {1, 2, 3}


def test_the_same_name_is_the_same_speaker_in_one_corpus_only(tmp_path):
    write_sets(tmp_path, 8, 4)
    for source in (TEST, TRAINING):
        edit(tmp_path, source, lambda row, table: table["supervisions"][0].update(speaker=f"anna{row % 6}"))
    matches = search(tmp_path)
    assert len(set(matches.test_speakers[0]) & set(matches.speakers)) == 4
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "all-train.jsonl").write_bytes((tmp_path / f"{TRAINING}.jsonl").read_bytes())
    matches = search(tmp_path, training="other/all-train")
    assert not set(matches.test_speakers[0]) & set(matches.speakers)


def test_only_words_that_were_spoken_or_written_are_a_text(tmp_path):
    write_sets(tmp_path, 3, 3)
    turns = [{"role": "user", "content": [{"audio": 1}, {"text": "What?"}]}]
    turns += [{"role": "assistant", "content": [{"text": "A dog that barks."}]}]

    def label(row, table):
        speech = table["supervisions"][0]
        speech["text"] = "one two"
        speech["alignment"] = {"word": [["one", 0.0, 0.1, None], ["two", 0.1, 0.1, None]]}
        speech["custom"] = {
            "pitch": 60, "velocity": 90, "instrument": "flute", "qualities": ["bright"],
            "caption": ["a dog", "a bark"], "translation": "eins zwei", "target_language": "de",
            "conversation": turns,
        }  # fmt: skip

    edit(tmp_path, TEST, label)
    cut = compared(tmp_path, TEST).rows.facts(0)
    assert references_of(cut, ("mna", "ks"), TASKS) == set()
    assert references_of(cut, ("asr", "srwt-en"), TASKS) == {("one two", "en")}
    assert references_of(cut, ("s2tt",), TASKS) == {("eins zwei", "de")}
    assert references_of(cut, ("aac",), TASKS) == {("a dog", "en"), ("a bark", "en")}
    assert references_of(cut, ("chat",), TASKS) == {("A dog that barks.", "en")}


def test_a_label_that_is_missing_gives_no_text(tmp_path):
    write_sets(tmp_path, 3, 3)
    cut = compared(tmp_path, TEST).rows.facts(0)
    assert references_of(cut, ("s2tt", "aac"), TASKS) == set()
    assert references_of(cut, ("chat",), TASKS) == {("", "en")}
