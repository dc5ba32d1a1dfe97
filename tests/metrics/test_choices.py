import random

import pytest
import torch

from audio_lm.common.errors import DataError
from audio_lm.metrics.choices import (
    AirBenchAccuracy,
    ChoiceAccuracy,
    ChoiceReference,
    LmmsEvalAccuracy,
    LmmsEvalLetterAccuracy,
    LmmsEvalMmarAccuracy,
    MmauAccuracy,
    UnclearChoice,
    airbench_letter,
    chosen,
    lmms_eval_letter,
)
from tests.golden.predictions.questions import questions

CHOICES = ("Man", "Woman", "Old man", "Robot")


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("B", 1),
        ("b.", 1),
        ("(C)", 2),
        ("**D**", 3),
        ("woman", 1),
        ("<|en|> Woman.", 1),
        ("B. Woman", 1),
        ("B) the lady", 1),
        ("The correct answer is (A), of course", 0),
        ("It sounds like an old man to me", 2),
        ("A man speaks", 0),
        ("B. Man", None),
        ("answer A or answer B", None),
        ("man or woman", None),
        ("E", None),
        ("", None),
        ("none of them", None),
    ],
)
def test_an_answer_names_a_choice_by_letter_or_text(answer, index):
    assert chosen(answer, CHOICES) == index


def test_sharps_and_numbers_are_parts_of_words():
    assert chosen("C# minor", ("C minor", "C# minor")) == 1
    assert chosen("in 1998", ("1998", "98")) == 0


@pytest.mark.parametrize(
    ("answer", "correct"),
    [("Woman", 1), ("b", 1), ("B", 1), ("B. woman", 1), ("Boy", None), ("B. Man", None)],
)
def test_a_reference_is_a_text_a_letter_or_both(answer, correct):
    assert ChoiceReference(answer, CHOICES).correct == correct


def value(metric, answers, answer="Woman", choices=CHOICES):
    references = [ChoiceReference(answer, choices, position) for position in range(len(answers))]
    return float(metric()(answers, references, ["en"] * len(answers)))


def test_unclear_answers_stay_in_the_denominator():
    answers = ["B", "woman", "Man", "man or woman", ""]
    assert value(ChoiceAccuracy, answers) == 2 / 5
    assert value(UnclearChoice, answers) == 2 / 5


def test_mmau_compares_words_so_that_letters_are_wrong():
    # Right: all words of the answer and none of the others'. "old" is a word of another choice.
    assert value(MmauAccuracy, ["a woman", "B", "woman or man", "old woman", "the WOMAN."]) == 2 / 5
    assert value(MmauAccuracy, ["B. Woman"], answer="B. Woman") == 1.0


def test_airbench_leaves_out_what_has_no_letter_at_two_places():
    assert [airbench_letter(text) for text in ("B", " Dog", "It is B.", "dog", "None", "\nA\n")] == [
        "B",
        "D",
        "B",
        None,
        None,
        "A",
    ]
    assert value(AirBenchAccuracy, ["B", "A", "woman"]) == 1 / 2
    with pytest.raises(DataError, match="no answer begins with a letter"):
        value(AirBenchAccuracy, ["woman"])
    with pytest.raises(DataError, match="where AIR-Bench's script stops"):
        value(AirBenchAccuracy, ["B"], answer="Boy")


def test_lmms_eval_draws_letters_in_the_order_of_the_file():
    draw = random.Random(0)
    drawn = [draw.choice("ABCD") for _ in range(3)]
    answers = ["hello", "B", "nothing here", "..."]
    expected = (drawn.count("B") + 1) / 4
    assert value(LmmsEvalAccuracy, answers) == expected
    assert lmms_eval_letter("(A) then B ", "ABCD") == "A", "brackets come first"
    assert value(LmmsEvalLetterAccuracy, [" B "], choices=("x", "Woman")) == 1.0
    assert value(LmmsEvalMmarAccuracy, ["I clearly hear the voice of a robot"], answer="D") == 1.0


@pytest.mark.parametrize("metric", [ChoiceAccuracy, MmauAccuracy, AirBenchAccuracy, LmmsEvalAccuracy])
def test_batches_and_ranks_do_not_matter(metric):
    rows = questions(60, 4)
    clips = [
        (row["prediction"] or "", ChoiceReference(row["answer"], tuple(row["choices"]), number), "en")
        for number, row in enumerate(rows)
    ]
    whole, first, second = metric(), metric(), metric()
    whole.update(*zip(*clips, strict=True))
    first.update(*zip(*clips[::2], strict=True))
    second.update(*zip(*clips[1::2], strict=True))
    if hasattr(whole, "sums"):
        merged = whole.value(*(first.sums + second.sums).tolist())
    else:
        first.lines = [*first.lines, *second.lines]
        merged = float(first.compute())
    assert torch.equal(whole.compute(), torch.tensor(merged, dtype=torch.float64))


def test_a_reference_that_is_no_choice_is_refused():
    with pytest.raises(DataError, match="the reference 'Boy' is none of the choices"):
        value(ChoiceAccuracy, ["A"], answer="Boy")


@pytest.mark.parametrize("seed", range(20))
def test_every_form_of_the_right_choice_is_right_and_of_every_other_one_wrong(seed):
    """Choices of one or two words that share none, so that no text names two of them."""
    rng = random.Random(seed)
    words = rng.sample(
        ["dog", "cat", "rain", "siren", "bell", "engine", "footsteps", "wind", "guitar", "speech"], 8
    )
    choices = tuple(
        f"{words[2 * at]} {words[2 * at + 1]}" if rng.random() < 0.5 else words[2 * at] for at in range(4)
    )
    right = rng.randrange(4)
    for index, (letter, text) in enumerate(zip("ABCD", choices, strict=True)):
        forms = [
            letter,
            f"({letter})",
            text,
            text.upper() + ".",
            f"{letter}. {text}",
            f"The answer is {letter}",
        ]
        forms += [f"I hear {text} in it", f"<|en|>{text}"]
        assert value(ChoiceAccuracy, forms, choices[right], choices) == float(index == right)
        assert value(UnclearChoice, forms, choices[right], choices) == 0.0
        assert value(MmauAccuracy, [text], choices[right], choices) == float(index == right)
        assert ChoiceReference(f"{letter}. {text}", choices).correct == index
    assert value(UnclearChoice, [f"{choices[0]} or {choices[1]}"], choices[right], choices) == 1.0
