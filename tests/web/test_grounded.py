import pytest

from audio_lm.web.grounded import Span, split_spans


def spans(text, num_clips=1):
    return [
        (part.text, part.start, part.end)
        for part in split_spans(text, num_clips=num_clips)
        if isinstance(part, Span)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<|0.00|><|sil|><|0.50|>she<|0.67|>sells<|1.01|>", [("she", 0.5, 0.67), ("sells", 0.67, 1.01)]),
        ("<|0.00|>speaker 1<|1.00|><|1.20|>speaker 2<|2.00|>", [("speaker 1", 0, 1), ("speaker 2", 1.2, 2)]),
        (
            "<|startofword|>dog<|endofword|><|1.00|><|2.00|><|delim|><|3.00|><|4.00|><|startofword|>cat<|endofword|><|0.10|><|0.20|>",
            [("dog", 1, 2), ("dog", 3, 4), ("cat", 0.1, 0.2)],
        ),
        ("0.50-0.67 she, 0.67-1.01 sells", [("she", 0.5, 0.67), ("sells", 0.67, 1.01)]),
        ('The word "sea" starts at <|6.28|> seconds and ends at <|7.15|> seconds.', [("sea", 6.28, 7.15)]),
        ("from <|1.00|> to <|2.00|>", []),
        ("<|2.00|>late<|1.00|>", []),
        ("no stamps <|en|>", []),
        ("<|0.00|>unfinis", []),
    ],
)
def test_each_form_of_answer_gives_its_spans(text, expected):
    assert spans(text) == expected


def test_the_text_around_an_interval_is_kept():
    parts = split_spans(
        'The word "sea" starts at <|6.28|> seconds and ends at <|7.15|> seconds.', num_clips=1
    )
    words = "".join(part if isinstance(part, str) else part.text for part in parts)
    assert words == "The word sea starts at 6.28 seconds and ends at 7.15 seconds."


def test_a_span_belongs_to_the_audio_that_was_named_last_or_to_the_latest():
    text = 'In audio 1, "a" is at <|1.00|> to <|2.00|>; in audio 2 "b" from <|0.50|> - <|0.70|>'
    assert [part.clip for part in split_spans(text, num_clips=3) if isinstance(part, Span)] == [1, 2]
    assert split_spans("<|0.00|>a<|1.00|>", num_clips=3) == [Span("a", 0, 1, clip=3)]
    assert split_spans("in audio 9 <|0.00|>a<|1.00|>", num_clips=3)[-1].clip == 3


def test_without_audio_stamps_are_plain_numbers():
    assert "".join(split_spans("<|0.00|>a<|1.00|>", num_clips=0)) == "0.00 a1.00 "
