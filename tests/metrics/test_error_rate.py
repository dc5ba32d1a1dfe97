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
    QwenAudioWordErrorRate,
    SpeakerErrorRate,
    TurnErrorRate,
    WordErrorRate,
    num_edits,
)
from audio_lm.metrics.registry import find_metric

turns = st.lists(st.text("abc ", max_size=5), min_size=1, max_size=3)
texts = st.lists(st.sampled_from(["a", "b", "c d", "d e f", ""]), min_size=1, max_size=6)


def score(metric, answers, references, languages):
    return float(metric()(answers, references, languages))


def en(count):
    return ["en"] * count


def test_all_edits_are_divided_by_all_reference_words():
    # One of three words wrong, none of one: 1 / 4, and not the mean of 1/3 and 0.
    assert score(WordErrorRate, ["a x c", "a"], ["a b c", "a"], en(2)) == 0.25


@given(texts, texts)
def test_the_word_error_rate_equals_that_of_jiwer(outputs, targets):
    pairs = [(a, b) for a, b in zip(outputs, targets, strict=False) if b]  # jiwer rejects an empty reference
    if pairs:
        answers, references = map(list, zip(*pairs, strict=True))
        assert score(WordErrorRate, answers, references, en(len(pairs))) == jiwer.wer(references, answers)


def test_case_and_punctuation_count_only_in_the_published_rate():
    assert score(WordErrorRate, ["One, two."], ["one two"], en(1)) == 0.0
    assert score(QwenAudioWordErrorRate, ["One, two."], ["one two"], en(1)) == 1.0


def test_time_stamps_and_tags_are_no_words():
    assert (
        score(WordErrorRate, ["<|0.00|>one<|0.50|>two<|0.90|>"], ["<|0.00|>one<|0.40|>two<|1.00|>"], en(1))
        == 0.0
    )


def test_some_languages_are_scored_per_character():
    assert score(WordErrorRate, ["一二四"], ["一二三"], ["zh"]) == pytest.approx(1 / 3)
    assert score(WordErrorRate, ["안녕"], ["안녕 하세요"], ["ko"]) == pytest.approx(3 / 5)
    assert score(CharacterErrorRate, ["abd"], ["abc"], en(1)) == pytest.approx(1 / 3)


def test_words_with_an_empty_reference_are_insertions():
    assert score(WordErrorRate, ["x y", "a"], ["", "a"], en(2)) == 2.0
    assert score(WordErrorRate, [""], [""], en(1)) == 0.0


def test_the_order_of_speakers_does_not_matter_but_their_words_do():
    assert score(SpeakerErrorRate, ["c d <sc> a b"], ["a b <sc> c d"], en(1)) == 0.0
    assert score(SpeakerErrorRate, ["a b"], ["a b <sc> c d"], en(1)) == 0.5


def test_an_answer_with_many_speaker_changes_is_scored():
    assert score(SpeakerErrorRate, ["x <sc> " * 9 + "a"], ["a <sc> b"], en(1)) == pytest.approx(9 / 2)


def test_turns_in_one_stream_have_no_errors_in_orc_wer():
    assert score(TurnErrorRate, ["a b c d"], ["a b <sc> c d"], en(1)) == 0.0
    assert score(TurnErrorRate, ["c d <sc> a b"], ["a b <sc> c d"], en(1)) == 0.0
    assert score(TurnErrorRate, ["c d a b"], ["a b <sc> c d"], en(1)) == 1.0
    assert score(TurnErrorRate, [""], ["a b <sc> c d"], en(1)) == 1.0


@given(turns, turns)
def test_the_best_permutation_and_assignment_are_found(outputs, targets):
    """Compared with an exhaustive search."""
    answer, reference = "<sc>".join(outputs), "<sc>".join(targets)
    words = max(1, len(" ".join(targets).split()))
    length = max(len(outputs), len(targets))
    rows = [[turn.split() for turn in side] + [[]] * (length - len(side)) for side in (outputs, targets)]
    permutations = (sum(map(num_edits, order, rows[1])) for order in itertools.permutations(rows[0]))
    assignments = (
        sum(
            num_edits(
                stream.split(),
                [w for turn, to in zip(targets, assignment, strict=True) if to == i for w in turn.split()],
            )
            for i, stream in enumerate(outputs)
        )
        for assignment in itertools.product(range(len(outputs)), repeat=len(targets))
    )
    if any(turn.split() for turn in targets):
        assert score(SpeakerErrorRate, [answer], [reference], en(1)) == pytest.approx(
            min(permutations) / words
        )
        assert score(TurnErrorRate, [answer], [reference], en(1)) == pytest.approx(min(assignments) / words)


@pytest.fixture
def reference_errors(monkeypatch):
    """Error rates of meeteval's public functions, by name."""
    from meeteval import wer

    monkeypatch.setattr(logging.getLogger("preprocess"), "disabled", True)

    def errors(name, outputs, targets):
        score = getattr(wer, name)
        return score(targets, outputs, reference_sort=False, hypothesis_sort=False).error_rate

    return errors


def meeting(rng, num_turns, num_speakers, num_words=10, noise=0.1):
    """Turns of a meeting, and an answer with one stream per speaker and some wrong words."""
    words = [f"w{number}" for number in range(200)]
    turns = [" ".join(rng.choices(words, k=num_words)) for _ in range(num_turns)]
    streams = [[] for _ in range(num_speakers)]
    for turn in turns:
        noisy = (rng.choice(words) if rng.random() < noise else word for word in turn.split())
        rng.choice(streams).append(" ".join(noisy))
    return turns, [" ".join(stream) for stream in streams]


def test_scores_of_a_small_meeting_equal_those_of_meeteval(reference_errors):
    rng = random.Random(0)
    for _ in range(50):
        targets, outputs = meeting(
            rng, rng.randint(1, 6), rng.randint(1, 3), num_words=rng.randint(1, 5), noise=0.4
        )
        answer, reference = "<sc>".join(outputs), "<sc>".join(targets)
        for metric, name in (
            (SpeakerErrorRate, "cp_word_error_rate"),
            (TurnErrorRate, "orc_word_error_rate"),
        ):
            expected = reference_errors(name, outputs, targets)
            assert score(metric, [answer], [reference], en(1)) == pytest.approx(expected), (
                name,
                outputs,
                targets,
            )


def test_the_bound_of_a_large_meeting_is_between_the_exact_score_and_the_greedy_one(
    reference_errors, monkeypatch
):
    monkeypatch.setattr(error_rate, "EXACT_OPERATIONS", 0)
    rng = random.Random(1)
    for _ in range(30):
        targets, outputs = meeting(rng, rng.randint(2, 6), rng.randint(2, 3), num_words=4, noise=0.5)
        ours = score(TurnErrorRate, ["<sc>".join(outputs)], ["<sc>".join(targets)], en(1))
        assert ours <= reference_errors("greedy_orc_word_error_rate", outputs, targets)
        assert ours <= score(SpeakerErrorRate, ["<sc>".join(outputs)], ["<sc>".join(targets)], en(1))
        assert ours >= reference_errors("orc_word_error_rate", outputs, targets)


@pytest.mark.parametrize("num_streams", [1, 4, 60, 200])
def test_sixty_turns_are_scored_in_a_second(num_streams):
    targets, outputs = meeting(random.Random(2), 60, num_streams)
    _, perfect = meeting(random.Random(2), 60, num_streams, noise=0)
    start_time = time.process_time()
    for metric in (TurnErrorRate, SpeakerErrorRate):
        assert score(metric, ["<sc>".join(outputs)], ["<sc>".join(targets)], en(1)) > 0
    assert score(TurnErrorRate, ["<sc>".join(perfect)], ["<sc>".join(targets)], en(1)) == 0
    assert time.process_time() - start_time < 2


def test_the_error_names_meeteval_in_the_check_and_while_scoring(monkeypatch):
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
        QwenAudioWordErrorRate,
        CharacterErrorRate,
        SpeakerErrorRate,
        TurnErrorRate,
    ):
        assert score(metric, references, references, en(len(references))) == 0.0


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edits_are_symmetric_and_bounded(one, other):
    assert num_edits(one, other) == num_edits(other, one) <= max(len(one), len(other))


@pytest.mark.parametrize("metric", [WordErrorRate, QwenAudioWordErrorRate, SpeakerErrorRate])
@pytest.mark.parametrize("language", ["zh-CN", "Chinese", "cmn", "unknown"])
def test_chinese_is_scored_per_character_under_every_language_name(metric, language):
    assert score(metric, ["一二四"], ["一二三"], [language]) == score(metric, ["一二四"], ["一二三"], ["zh"])


@pytest.mark.parametrize(
    ("answer", "reference", "language", "rate"),
    [
        ("It's twenty-one dollars!", "it is 21 dollars", "en", 0.0),
        ("twenty one euros", "21 dollars", "en", 1.0),
        ("she isn't here", "she is not here", "en", 0.0),
        ("<|0.00|>twelve<|0.50|>percent<|1.00|>", "12%", "en", 0.0),
        ("会议在20个人", "会议在二十个人。", "zh", 0.0),
        ("zwanzig", "20", "de", 1.0),
    ],
)
def test_numbers_and_contractions_of_equal_meaning_are_equal(answer, reference, language, rate):
    assert float(find_metric("wer_spoken").build()([answer], [reference], [language])) == rate


def test_raw_error_rate_compares_texts_as_they_are():
    assert float(find_metric("wer_nemo").build()(["She sells."], ["she sells"], ["en"])) == 1.0
