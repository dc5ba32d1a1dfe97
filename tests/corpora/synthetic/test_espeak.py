import json
import select
import subprocess
import sys

from audio_lm.corpora.synthetic.espeak import LIST_END, PHONEME, WORD, word_spans


def test_a_word_lasts_from_its_first_phoneme_to_the_next_pause():
    events = [
        (WORD, 1, 1, b""),
        (PHONEME, 1, 1_080, b"t"),
        (PHONEME, 1, 1_962, b"u:"),
        (PHONEME, 4, 5_000, b"_:"),
        (PHONEME, 4, 5_100, b"_"),
    ]
    assert word_spans(events, num_samples=6_000) == [[0, 1_080, 5_000]]


def test_a_word_without_a_pause_lasts_to_the_next_one():
    events = [(WORD, 1, 0, b""), (PHONEME, 1, 0, b"w"), (WORD, 5, 4_000, b""), (PHONEME, 5, 4_900, b"t")]
    assert word_spans(events, num_samples=9_000) == [[0, 0, 4_000], [4, 4_900, 9_000]]


def test_phonemes_before_the_first_word_belong_to_no_word():
    assert word_spans([(PHONEME, 1, 10, b"_:"), (LIST_END, 0, 20, b"")], num_samples=100) == []


SPEAKING = """
from audio_lm.corpora.synthetic import espeak
class Library:
    samples_per_second = 22_050
espeak.EspeakLibrary = lambda library, data: Library()
espeak.main()
"""


def test_the_process_writes_its_sampling_rate_before_any_request():
    with subprocess.Popen(
        [sys.executable, "-c", SPEAKING, "library", "data"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        is_readable, _, _ = select.select([child.stdout], [], [], 60)
        child.stdin.close()
        assert is_readable, "a reader of the rate would block forever"
        assert json.loads(child.stdout.readline()) == {"samples_per_second": 22_050}
