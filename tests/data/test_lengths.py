import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from audio_lm.common.audio_units import AudioTokenCount, Window
from audio_lm.common.errors import DataError, UserError
from audio_lm.data import lengths
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.lengths import folder_lock, token_lengths
from audio_lm.data.manifest.index import SourceIndex
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.prompts.render import PROMPTS
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.tasks.dummy_labels import DUMMY_LABELS, labels_for
from audio_lm.tasks.labels import CONVERSATION
from audio_lm.tasks.registry import CHAT, TASKS
from tests.prompts.fixtures import small_vocabulary

ALL = [*TASKS, CHAT]
TEXT = st.lists(
    st.sampled_from(
        ["she sells", "<|en|>", "<|endoftext|>", "<audio>", "\n", "  ", "it's", "7", "{language}"]
    )
    | st.text(max_size=8)
).map("".join)
OTHER_WINDOWS = AudioTokenCount((Window(400, 320), Window(3, 2)))


def recording(name, seconds, rate):
    count = round(seconds * rate)
    source = {"type": "file", "channels": [0], "source": f"{name}.wav"}
    known = {"id": name, "sources": [source], "sampling_rate": rate, "num_samples": count}
    return {**known, "duration": count / rate, "channel_ids": [0]}


def line(number, labels, *, seconds=1.25, rate=16_000, more=(), is_text=False, words=True, start=0.0):
    """JSON of a cut whose audio does not exist."""
    own = {key: labels[key] for key in ("text", "language", "gender") if key in labels}
    custom = {key: value for key, value in labels.items() if key not in own and key != "units"}
    supervision = {"id": "a", "recording_id": "a", "start": 0.0, "duration": seconds, "channel": 0, **own}
    if custom:
        supervision["custom"] = custom
    if words and "units" in labels:
        supervision["alignment"] = {
            "word": [[word, begin, end - begin] for word, begin, end in labels["units"]]
        }
    cut = {
        "id": f"cut-{number}",
        "start": start,
        "duration": seconds,
        "channel": 0,
        "supervisions": [supervision],
    }
    if not is_text:
        cut["recording"] = recording(f"clip-{number}", start + seconds, rate)
    if more:
        cut["custom"] = {
            f"audio_{place}": recording(f"clip-{number}-{place}", *one)
            for place, one in enumerate(more, start=2)
        }
    return {**cut, "type": "MonoCut"}


def rows_of(folder, lines, starts=None):
    path = folder / f"{time.monotonic_ns()}.jsonl"
    texts = [json.dumps(cut).encode() + b"\n" for cut in lines]
    path.write_bytes(b"".join(texts))
    offsets = np.cumsum([0, *map(len, texts)])[:-1]
    kept = range(len(lines))
    if starts is not None:  # (line, seconds) of every row
        kept = [number for number, _ in starts]
    start = np.array(
        [int(16_000 * seconds) for _, seconds in starts or [(0, 0)] * len(lines)], dtype=np.int32
    )
    known = {"source": "made/all", "manifest": path, "offset": offsets[list(kept)], "start": start}
    others = dict.fromkeys((field.name for field in fields(SourceIndex)), ())
    return Rows(SourceIndex(**others | known))


def of_examples(rows, maker, task):
    choices = range(maker.num_choices(task))
    return [
        [len(maker.example(rows.cut(row), task, choice=choice)) for choice in choices]
        for row in range(len(rows))
    ]


def outcome(measured, *arguments):
    """Result of a function, or its error message."""
    try:
        return np.asarray(measured(*arguments)).tolist()
    except UserError as error:
        return f"{type(error).__name__}: {error}"


def check(rows, maker, task):
    """Check that lengths, or the error message, equal those of the examples."""
    expected = outcome(of_examples, rows, maker, task)
    if isinstance(expected, str):
        assert outcome(token_lengths, rows, maker, task) == expected
        return
    with patch.object(lengths._RowCounter, "_example_lengths", side_effect=AssertionError("made an example")):
        assert outcome(token_lengths, rows, maker, task) == expected


@pytest.fixture(scope="session")
def other_vocabulary():
    """Vocabulary of a tokenizer that splits words differently from Qwen's."""
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(letters, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    return Vocabulary(wrapped, num_base=len(wrapped))


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("task", ALL)
def test_lengths_are_those_of_the_examples(task, prompt, tmp_path, other_vocabulary):
    known = {**(labels_for(TASKS[task]) if task in TASKS else DUMMY_LABELS), "conversation": CONVERSATION}
    lines = [
        line(
            number,
            {**known, "language": language},
            seconds=seconds,
            rate=rate,
            more=[(2.0, 44_100), (0.7, 16_000)],
        )
        for number, (language, seconds, rate) in enumerate(
            [(known["language"], 1.25, 16_000), ("zh", 12.34567, 8_000), ("unknown", 0.05, 22_050)]
        )
    ]
    if task in TASKS and TASKS[task].language:
        lines = lines[:1]
    rows = rows_of(tmp_path, [*lines, *lines])
    for vocabulary in (small_vocabulary(), other_vocabulary):
        for token_count in (ExampleMaker.token_count, OTHER_WINDOWS):
            check(rows, ExampleMaker(vocabulary, prompt, token_count=token_count), task)
    check(rows, ExampleMaker(small_vocabulary(), prompt, is_evaluation=True, with_answer=False), task)


@st.composite
def labels(draw):
    """Labels of a corpus, some of them missing."""
    known = {
        key: draw(TEXT)
        for key, value in DUMMY_LABELS.items()
        if isinstance(value, str) and key not in ("language", "target_language")
    }
    known["language"] = draw(st.sampled_from(["en", "zh", "de", "unknown", "tlh", ""]))
    known["target_language"] = draw(st.sampled_from(["en", "zh", "fr", "tlh"]))
    known["texts"], known["events"], known["qualities"] = draw(st.tuples(*[st.lists(TEXT, max_size=3)] * 3))
    known["units"] = [
        [draw(TEXT), 0.1 * number, 0.1 * number + 0.09] for number in range(draw(st.integers(0, 3)))
    ]
    known["turns"] = [[draw(TEXT), 0.5, 1.0], ["b", 0.25, 31.0 if draw(st.booleans()) else 0.5]]
    known["entities"] = [[known["text"][:3], draw(TEXT)]]
    known["slots"] = [[draw(TEXT), draw(TEXT)]] * draw(st.integers(0, 2))
    known["event_times"] = [[draw(TEXT), 0.5, 1.0], [draw(TEXT), 0.0, 2.0]]
    known["pitch"], known["velocity"] = draw(st.sampled_from([0, 60, 127, 128])), 3
    answers = [{"role": "assistant", "content": [{"text": draw(TEXT)}]}]
    questions = [{"role": "user", "content": [{"audio": 1}, {"text": draw(TEXT)}, {"audio": 2}]}]
    known["conversation"] = (questions + answers) * draw(st.integers(1, 2))
    for key in draw(st.sets(st.sampled_from(sorted(known)), max_size=2)):
        del known[key]
    if draw(st.booleans()):
        known["places"] = [[draw(TEXT), draw(st.integers(0, 4))] for _ in range(draw(st.integers(0, 4)))]
    return known


@settings(max_examples=50)
@given(
    several=st.lists(labels(), min_size=1, max_size=3),
    is_text=st.booleans(),
    more=st.sampled_from([[], [(1.0, 8_000)]]),
    prompt=st.sampled_from(PROMPTS),
    tasks=st.sets(st.sampled_from(ALL), min_size=8, max_size=8),
)
def test_any_labels_have_the_length_of_their_example_or_its_error(
    tmp_path_factory, several, is_text, more, prompt, tasks
):
    lines = [line(number, one, more=more, is_text=is_text) for number, one in enumerate(several)]
    rows = rows_of(tmp_path_factory.mktemp("rows"), lines)
    for task in tasks:
        check(rows, ExampleMaker(small_vocabulary(), prompt), task)


def test_chats_with_several_clips_and_text_only_rows_are_counted(tmp_path):
    chat = [
        {"role": "user", "content": [{"text": "A:"}, {"audio": 1}, {"text": "B:"}, {"audio": 2}]},
        {"role": "assistant", "content": [{"text": "<|im_end|> the same\n"}]},
        {"role": "user", "content": [{"audio": 3}]},
        {"role": "assistant", "content": [{"text": ""}]},
    ]
    places = [["", 2], ["über alles", 7], ["<|en|>", 3], ["a", 0]]
    lines = [
        # Half a sample at 16 kHz, where rounding decides about an audio token.
        line(0, {"conversation": chat}, more=[(32_641 / 32_000, 32_000), (0.51, 48_000)]),
        line(1, {"conversation": CONVERSATION, "places": places}, is_text=True),
        line(2, {"conversation": CONVERSATION, "places": []}, is_text=True),
    ]
    rows = rows_of(tmp_path, lines)
    for token_count in (ExampleMaker.token_count, OTHER_WINDOWS):
        check(rows, ExampleMaker(small_vocabulary(), "chatml", token_count=token_count), CHAT)
    check(
        rows_of(tmp_path, [line(9, {"conversation": chat})]), ExampleMaker(small_vocabulary(), "chatml"), CHAT
    )


def test_different_questions_are_counted_separately(tmp_path):
    changes = [{"question": "why? " * number, "dialect": "x y " * number} for number in range(3)]
    changes += [{"target_language": code} for code in ("zh", "fr")] + [{"language": "zh"}]
    rows = rows_of(
        tmp_path, [line(number, {**DUMMY_LABELS, **change}) for number, change in enumerate(changes)]
    )
    for prompt in PROMPTS:
        for task in ("aqa", "mqa", "dasr", "s2tt", "asr"):
            check(rows, ExampleMaker(small_vocabulary(), prompt), task)


def test_fields_of_lhotse_without_custom_labels_are_enough(tmp_path):
    known = {key: DUMMY_LABELS[key] for key in ("text", "language", "units")}
    rows = rows_of(tmp_path, [line(0, known), line(1, {"text": "one", "language": "en"}, start=0.5)])
    check(Rows(rows.index, np.array([0])), ExampleMaker(small_vocabulary(), "tags"), "srwt-en")
    check(rows, ExampleMaker(small_vocabulary(), "tags"), "srwt-en")
    check(rows, ExampleMaker(small_vocabulary(), "tags"), "asr")


def test_places_are_counted_as_they_are_encoded(tmp_path):
    places = [["", 2], ["she sells", 7], ["<|en|>", 3], ["a", 0]]
    rows = rows_of(tmp_path, [line(0, {**DUMMY_LABELS, "places": places}, is_text=True)])
    maker = ExampleMaker(small_vocabulary(), "tags")
    assert maker.example(rows.cut(0), "asr").token_ids.count(maker.vocabulary.audio_id) == 2
    check(rows, maker, "asr")


def test_chunks_of_a_long_clip_are_counted_if_their_labels_are_valid(tmp_path):
    whole = line(0, DUMMY_LABELS, seconds=70.013, rate=44_100, start=2.0)
    pieces = [(0, 0.0), (0, 30.0), (0, 60.0), (1, 0.0)]
    rows = rows_of(tmp_path, [whole, line(1, DUMMY_LABELS)], pieces)
    maker = ExampleMaker(small_vocabulary(), "natural")
    check(rows, maker, "sgc")
    with pytest.raises(DataError, match=r"cut 'cut-0@30': task 'asr' has no labels for the chunks"):
        token_lengths(rows, maker, "asr")


def test_rows_of_several_supervisions_are_counted_if_unambiguous(tmp_path):
    lines = [
        line(number, {"text": "one two", "language": "en", "units": DUMMY_LABELS["units"]})
        for number in range(2)
    ]
    for number, cut in enumerate(lines):
        first = cut["supervisions"][0]
        second = {**first, "start": 0.5, "duration": 0.5, "text": "three", "speaker": "b", "alignment": None}
        cut["supervisions"] = [{**first, "speaker": "a" if number == 0 else None}, second]
    for prompt in PROMPTS:
        maker = ExampleMaker(small_vocabulary(), prompt)
        for task in ("osr", "sd", "asr", "lid"):
            for kept in ([0], [1]):
                check(Rows(rows_of(tmp_path, lines).index, np.array(kept)), maker, task)


def test_a_changed_line_is_named(tmp_path):
    rows = rows_of(tmp_path, [line(0, DUMMY_LABELS), line(1, DUMMY_LABELS)])
    for text in (b"{}", b"[1, 2]", b'{"id": "a", "duration": "x"}', b"", b"\xff"):
        rows.index.manifest.write_bytes(text)
        with pytest.raises(DataError, match=r"the cut at byte 0 can no longer be read"):
            token_lengths(rows, ExampleMaker(small_vocabulary(), "tags"), "asr")


def test_a_subset_of_rows_has_the_lengths_of_those_rows(tmp_path):
    rows = rows_of(tmp_path, [line(number, {**DUMMY_LABELS, "text": "one " * number}) for number in range(9)])
    maker = ExampleMaker(small_vocabulary(), "tags")
    some = [7, 2, 2]
    kept = token_lengths(Rows(rows.index, np.array(some)), maker, "asr")
    assert kept.tolist() == token_lengths(rows, maker, "asr")[some].tolist()


def test_the_first_invalid_row_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(lengths, "ROWS_AT_ONCE", 2)
    without = {key: value for key, value in DUMMY_LABELS.items() if key != "text"}
    several = [line(number, DUMMY_LABELS if number < 5 else without) for number in range(8)]
    maker = ExampleMaker(small_vocabulary(), "tags")
    for num_processes in (1, 2):
        with pytest.raises(DataError, match="cut 'cut-5': no label 'text'"):
            token_lengths(rows_of(tmp_path, several), maker, "asr", num_processes=num_processes)


def test_worker_processes_count_the_same_lengths_and_exit(tmp_path, monkeypatch):
    monkeypatch.setattr(lengths, "ROWS_AT_ONCE", 3)
    rows = rows_of(
        tmp_path, [line(number, {**DUMMY_LABELS, "text": "ein wörd " * number}) for number in range(20)]
    )
    maker = ExampleMaker(small_vocabulary(), "natural")
    alone = token_lengths(rows, maker, "asr", num_processes=1)
    others = set(multiprocessing.active_children())
    assert np.array_equal(alone, token_lengths(rows, maker, "asr", num_processes=2))
    assert set(multiprocessing.active_children()) <= others


def test_few_rows_are_measured_in_this_process(tmp_path, monkeypatch):
    monkeypatch.setattr(lengths, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("a process was started"))
    rows = rows_of(tmp_path, [line(0, DUMMY_LABELS)])
    token_lengths(rows, ExampleMaker(small_vocabulary(), "tags"), "asr")


def test_rows_are_shared_by_as_many_processes_as_have_enough_to_do(tmp_path, monkeypatch):
    found = []

    def in_this_process(counter, chunks, num_processes):
        found.append(num_processes)
        yield from map(counter.lengths, chunks)

    monkeypatch.setattr(lengths, "_count_chunks", in_this_process)
    monkeypatch.setattr(lengths, "MIN_ROWS", 2)
    rows = rows_of(tmp_path, [line(number, DUMMY_LABELS) for number in range(9)])
    for cores in (1, 3, 64):
        monkeypatch.setattr(lengths, "num_cores", lambda cores=cores: cores)
        token_lengths(rows, ExampleMaker(small_vocabulary(), "tags"), "asr")
    assert found == [1, 3, 4]


def test_a_killed_worker_process_is_reported_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(lengths._RowCounter, "lengths", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    rows = rows_of(tmp_path, [line(number, DUMMY_LABELS) for number in range(3)])
    with pytest.raises(
        UserError, match=r"one of 2 processes that counted the tokens of 'made/all' was killed.*free some"
    ):
        token_lengths(rows, ExampleMaker(small_vocabulary(), "tags"), "asr", num_processes=2)


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs without
sys.path.insert(0, {root!r})
from tests.data.test_lengths import *
counting = lengths._RowCounter.lengths
lengths._RowCounter.lengths = lambda *arguments: (time.sleep(0.2), counting(*arguments))[1]
lengths.ROWS_AT_ONCE = 1
rows = rows_of(Path({folder!r}), [line(number, DUMMY_LABELS) for number in range(500)])
print("ready", flush=True)
token_lengths(rows, ExampleMaker(small_vocabulary(), "tags"), "asr", num_processes=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_ends_all_processes_at_once(tmp_path):
    script = SLOW.format(root=str(Path(__file__).parents[2]), folder=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as started:
        assert started.stdout.readline() == b"ready\n"
        time.sleep(1.0)
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does, to all of them
        errors = started.communicate(timeout=20)[1]
        assert errors.count(b"KeyboardInterrupt") == 1, errors
    with pytest.raises(ProcessLookupError):
        os.killpg(started.pid, 0)


def test_one_process_of_a_machine_measures(tmp_path):
    other = os.open(tmp_path, os.O_RDONLY)
    with folder_lock(tmp_path), pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_a_file_system_without_locks_lets_everybody_in(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with folder_lock(tmp_path):
        pass
