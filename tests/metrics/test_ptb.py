import pytest

from audio_lm.metrics.ptb import caption_words

# Expected tokens: output of PTBTokenizer (corenlp 3.4.1, -lowerCase) without pycocoevalcap's punctuation.
CASES = [
    ("A man's voice is deep; he doesn't stop, and it's loud.", "a man 's voice is deep he does n't stop and it 's loud"),
    ("High-pitched beeps (an alarm) ring twice - then stop.", "high-pitched beeps -lrb- an alarm -rrb- ring twice then stop"),
    ('"Hello," she says. Birds chirp... a dog barks!', "hello she says birds chirp a dog barks"),
    ("They cannot hear; we're gonna leave, I'd say", "they can not hear we 're gon na leave i 'd say"),
    ("3.5 Hz and/or 10,000 times, 50% of it, $5.", "3.5 hz and/or 10,000 times 50 % of it $ 5"),
    ("Mr. Smith of the U.S. speaks, etc. and so on", "mr. smith of the u.s. speaks etc. and so on"),
    ("tin roof -- it rains?!", "tin roof it rains ?!"),
    ("people’s voices “quoted” text… and an em—dash", "people 's voices quoted text and an em dash"),
    ("a woman,man, and child", "a woman man and child"),
    ("rock 'n' roll 'til dawn, '90s synths", "rock 'n' roll 'til dawn '90s synths"),
    ("don't won't shouldn't've", "do n't wo n't should n't 've"),
    ("5 o'clock at 10:30 a.m. [live] {mains}", "5 o'clock at 10:30 a.m. -lsb- live -rsb- -lcb- mains -rcb-"),
    ("1/2 of a 3rd, 5-10 times 1,000.50 -5 .5", "1/2 of a 3rd 5-10 times 1,000.50 -5 .5"),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("caption", "expected"), CASES)
def test_captions_are_tokenized_like_ptb_tokenizer(caption, expected):
    assert caption_words(caption) == expected.split()
