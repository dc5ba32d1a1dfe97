import subprocess
import sys

import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples


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
