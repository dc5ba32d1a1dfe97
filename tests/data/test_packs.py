import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_lm.common.errors import DataError
from audio_lm.data.example import Example
from audio_lm.data.packs import LENGTH_STEP, pack_examples


def example(cut_id, ids, learned, *, num_samples=()):
    return Example(cut_id, "asr", 0, ids, learned, [1] if num_samples else [], num_samples)


def test_labels_are_shifted_inside_each_conversation():
    first = example("a", [5, 6, 7], [False, False, True])
    second = example("b", [8, 9], [True, True])
    pack = pack_examples([first, second], [])
    assert pack.learned_index.tolist() == [1, 3]
    assert pack.labels.tolist() == [7, 9]
    assert pack.cu_seq_lens.tolist() == [0, 3, 5]


def test_a_clip_of_another_length_is_named():
    with pytest.raises(DataError, match="'late'"):
        pack_examples([example("late", [1, 2], [False, True], num_samples=(160,))], [np.zeros(100)])


def test_packing_imports_no_library_of_audio():
    script = (
        "import sys; import audio_lm.bench.step; "
        "print(sorted({'lhotse', 'mlflow', 'jiwer', 'langcodes', 'omegaconf'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@st.composite
def conversations(draw):
    """Random conversations with up to two clips each."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        size = draw(st.integers(2, 12))
        ids = draw(st.lists(st.integers(0, 99), min_size=size, max_size=size))
        learned = draw(st.lists(st.booleans(), min_size=size, max_size=size))
        clips = draw(st.lists(st.integers(1, 400), max_size=2))
        places = sorted(draw(st.sets(st.integers(0, size - 1), max_size=3))) if clips else []
        task, source = draw(st.sampled_from(["asr", "sec"])), draw(st.sampled_from(["a/x", "a/y"]))
        found.append(Example(str(number), task, number, ids, learned, places, tuple(clips), source))
    return found


@given(conversations())
@settings(max_examples=60)
def test_every_token_label_and_sample_of_the_conversations_is_in_the_pack(examples):
    counts = [count for one in examples for count in one.num_samples]
    waves = [np.full(count, number, dtype=np.float32) for number, count in enumerate(counts)]
    pack = pack_examples(examples, waves)
    rows, audio, labels, tasks = [], [], [], []
    for place, one in enumerate(examples):
        for position, token in enumerate(one.token_ids):
            rows.append((place, position, token))
            if position in one.audio_index:
                audio.append(len(rows) - 1)
            if position and one.is_learned[position]:  # predicted at the position before
                labels.append((len(rows) - 2, token))
                tasks.append(one.task)
    documents = [place for place, one in enumerate(examples) for _ in one.token_ids]
    starts = pack.cu_seq_lens.tolist()
    assert [np.searchsorted(starts, at, side="right") - 1 for at in range(len(rows))] == documents
    assert list(zip(documents, pack.position_ids.tolist(), pack.token_ids.tolist(), strict=True)) == rows
    assert list(zip(pack.learned_index.tolist(), pack.labels.tolist(), strict=True)) == labels
    assert [pack.tasks[index] for index in pack.task_index.tolist()] == tasks
    assert pack.audio_index.tolist() == audio
    assert pack.num_learned == len(labels)
    assert pack.waves.tolist() == [number for number, count in enumerate(counts) for _ in range(count)]
    assert 0 <= pack.max_length - max(map(len, examples)) < LENGTH_STEP
    for task, source, clips, seconds, tokens, learned in pack.source_counts:
        own = [one for one in examples if (one.task, one.source) == (task, source)]
        assert (clips, tokens) == (len(own), sum(map(len, own)))
        assert seconds == pytest.approx(sum(sum(one.num_samples) for one in own) / 16_000)
        assert learned == sum(sum(one.is_learned[1:]) for one in own)
    assert sum(row[2] for row in pack.source_counts) == len(examples)
