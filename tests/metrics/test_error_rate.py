import itertools
import logging
import random
import sys
import time

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import UserError
from audio_lm.metrics import error_rate
from audio_lm.metrics.error_rate import (
    CharacterErrorRate,
    OfficialWordErrorRate,
    SpeakerErrorRate,
    TurnErrorRate,
    WordErrorRate,
    num_edits,
)

turns = st.lists(st.text("abc ", max_size=5), min_size=1, max_size=3)
texts = st.lists(st.sampled_from(["a", "b", "c d", "d e f", ""]), min_size=1, max_size=6)


def score(metric, answers, references, languages):
    return float(metric()(answers, references, languages))


def en(count):
    return ["en"] * count


def test_edits_are_divided_by_all_reference_words_once():
    # One of three words wrong, none of one: 1 / 4, and not the mean of 1/3 and 0.
    assert score(WordErrorRate, ["a x c", "a"], ["a b c", "a"], en(2)) == 0.25


@given(texts, texts)
def test_words_are_counted_as_jiwer_counts_them(said, meant):
    pairs = [(a, b) for a, b in zip(said, meant, strict=False) if b]  # jiwer refuses an empty reference
    if pairs:
        answers, references = map(list, zip(*pairs, strict=True))
        assert score(WordErrorRate, answers, references, en(len(pairs))) == jiwer.wer(references, answers)


def test_capitals_and_commas_cost_only_officially():
    assert score(WordErrorRate, ["One, two."], ["one two"], en(1)) == 0.0
    assert score(OfficialWordErrorRate, ["One, two."], ["one two"], en(1)) == 1.0


def test_stamps_and_tags_are_no_words():
    assert (
        score(WordErrorRate, ["<|0.00|>one<|0.50|>two<|0.90|>"], ["<|0.00|>one<|0.40|>two<|1.00|>"], en(1))
        == 0.0
    )


def test_some_languages_are_counted_by_the_character():
    assert score(WordErrorRate, ["一二四"], ["一二三"], ["zh"]) == pytest.approx(1 / 3)
    assert score(WordErrorRate, ["안녕"], ["안녕 하세요"], ["ko"]) == pytest.approx(3 / 5)
    assert score(CharacterErrorRate, ["abd"], ["abc"], en(1)) == pytest.approx(1 / 3)


def test_words_where_nothing_was_said_are_insertions():
    assert score(WordErrorRate, ["x y", "a"], ["", "a"], en(2)) == 2.0
    assert score(WordErrorRate, [""], [""], en(1)) == 0.0


def test_the_order_of_speakers_is_free_and_their_words_are_not():
    assert score(SpeakerErrorRate, ["c d <sc> a b"], ["a b <sc> c d"], en(1)) == 0.0
    assert score(SpeakerErrorRate, ["a b"], ["a b <sc> c d"], en(1)) == 0.5


def test_a_model_that_never_stops_changing_speakers_is_scored_too():
    assert score(SpeakerErrorRate, ["x <sc> " * 9 + "a"], ["a <sc> b"], en(1)) == pytest.approx(9 / 2)


def test_turns_in_one_stream_are_perfect_when_nobody_asks_who_spoke():
    assert score(TurnErrorRate, ["a b c d"], ["a b <sc> c d"], en(1)) == 0.0
    assert score(TurnErrorRate, ["c d <sc> a b"], ["a b <sc> c d"], en(1)) == 0.0
    assert score(TurnErrorRate, ["c d a b"], ["a b <sc> c d"], en(1)) == 1.0
    assert score(TurnErrorRate, [""], ["a b <sc> c d"], en(1)) == 1.0


@given(turns, turns)
def test_the_cheapest_order_and_sharing_are_found(said, meant):
    """By trying all of them."""
    answer, reference = "<sc>".join(said), "<sc>".join(meant)
    words = max(1, len(" ".join(meant).split()))
    length = max(len(said), len(meant))
    rows = [[turn.split() for turn in side] + [[]] * (length - len(side)) for side in (said, meant)]
    orders = (sum(map(num_edits, order, rows[1])) for order in itertools.permutations(rows[0]))
    shares = (
        sum(
            num_edits(
                stream.split(),
                [w for turn, to in zip(meant, share, strict=True) if to == i for w in turn.split()],
            )
            for i, stream in enumerate(said)
        )
        for share in itertools.product(range(len(said)), repeat=len(meant))
    )
    if any(turn.split() for turn in meant):
        assert score(SpeakerErrorRate, [answer], [reference], en(1)) == pytest.approx(min(orders) / words)
        assert score(TurnErrorRate, [answer], [reference], en(1)) == pytest.approx(min(shares) / words)


@pytest.fixture
def reference_errors(monkeypatch):
    """Error rates of meeteval's public functions, by name."""
    from meeteval import wer

    monkeypatch.setattr(logging.getLogger("preprocess"), "disabled", True)

    def errors(name, said, meant):
        score = getattr(wer, name)
        return score(meant, said, reference_sort=False, hypothesis_sort=False).error_rate

    return errors


def meeting(rng, num_turns, num_speakers, num_words=10, noise=0.1):
    """The turns of a meeting, and an answer with one stream for each speaker, some words wrong."""
    words = [f"w{number}" for number in range(200)]
    turns = [" ".join(rng.choices(words, k=num_words)) for _ in range(num_turns)]
    streams = [[] for _ in range(num_speakers)]
    for turn in turns:
        said = (rng.choice(words) if rng.random() < noise else word for word in turn.split())
        rng.choice(streams).append(" ".join(said))
    return turns, [" ".join(stream) for stream in streams]


def test_a_small_meeting_is_scored_as_meeteval_scores_it(reference_errors):
    rng = random.Random(0)
    for _ in range(50):
        meant, said = meeting(
            rng, rng.randint(1, 6), rng.randint(1, 3), num_words=rng.randint(1, 5), noise=0.4
        )
        answer, reference = "<sc>".join(said), "<sc>".join(meant)
        for metric, name in (
            (SpeakerErrorRate, "cp_word_error_rate"),
            (TurnErrorRate, "orc_word_error_rate"),
        ):
            expected = reference_errors(name, said, meant)
            assert score(metric, [answer], [reference], en(1)) == pytest.approx(expected), (name, said, meant)


def test_a_large_meeting_is_never_scored_below_the_truth_nor_above_meetevals_search(
    reference_errors, monkeypatch
):
    monkeypatch.setattr(error_rate, "EXACT_OPERATIONS", 0)
    rng = random.Random(1)
    for _ in range(30):
        meant, said = meeting(rng, rng.randint(2, 6), rng.randint(2, 3), num_words=4, noise=0.5)
        ours = score(TurnErrorRate, ["<sc>".join(said)], ["<sc>".join(meant)], en(1))
        assert ours <= reference_errors("greedy_orc_word_error_rate", said, meant)
        assert ours <= score(SpeakerErrorRate, ["<sc>".join(said)], ["<sc>".join(meant)], en(1))
        assert ours >= reference_errors("orc_word_error_rate", said, meant)


@pytest.mark.parametrize("num_streams", [1, 4, 60, 200])
def test_sixty_turns_are_scored_in_a_second(num_streams):
    meant, said = meeting(random.Random(2), 60, num_streams)
    _, perfect = meeting(random.Random(2), 60, num_streams, noise=0)
    began = time.process_time()
    for metric in (TurnErrorRate, SpeakerErrorRate):
        assert score(metric, ["<sc>".join(said)], ["<sc>".join(meant)], en(1)) > 0
    assert score(TurnErrorRate, ["<sc>".join(perfect)], ["<sc>".join(meant)], en(1)) == 0
    assert time.process_time() - began < 2


def test_a_missing_meeteval_is_named_before_and_while_answers_are_scored(monkeypatch):
    TurnErrorRate.check(["en"])
    for name in [name for name in sys.modules if name.partition(".")[0] == "meeteval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "meeteval", None)
    for use in (lambda: TurnErrorRate.check(["en"]), lambda: score(TurnErrorRate, ["a"], ["a"], en(1))):
        with pytest.raises(UserError, match=r"ORC-WER needs the package 'meeteval'.*'audio-lm\[eval\]'"):
            use()
    assert score(SpeakerErrorRate, ["a"], ["a"], en(1)) == 0


@given(texts)
def test_identity_is_perfect(references):
    for metric in (
        WordErrorRate,
        OfficialWordErrorRate,
        CharacterErrorRate,
        SpeakerErrorRate,
        TurnErrorRate,
    ):
        assert score(metric, references, references, en(len(references))) == 0.0


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edits_are_symmetric_and_bounded(one, other):
    assert num_edits(one, other) == num_edits(other, one) <= max(len(one), len(other))


@pytest.mark.parametrize("metric", [WordErrorRate, OfficialWordErrorRate, SpeakerErrorRate])
@pytest.mark.parametrize("language", ["zh-CN", "Chinese", "cmn", "unknown"])
def test_chinese_is_scored_by_characters_whatever_it_is_called(metric, language):
    assert score(metric, ["一二四"], ["一二三"], [language]) == score(metric, ["一二四"], ["一二三"], ["zh"])
