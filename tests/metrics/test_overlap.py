import pytest

from audio_lm.metrics.overlap import bleu, caption_overlap, cider_d, rouge_l

CAPTIONS = [
    "a bell tone is heard twice",
    "a low hum and then a long beep",
    "rain falls on the roof of a house",
]
LANGUAGES = ["en"] * 3


@pytest.mark.parametrize(
    ("metric", "best"), [(bleu, 100.0), (caption_overlap, 1.0), (rouge_l, 1.0), (cider_d, 10.0)]
)
def test_identity_is_the_best_and_order_does_not_matter(metric, best):
    assert metric(CAPTIONS, CAPTIONS, LANGUAGES) == pytest.approx(best)
    answers = [CAPTIONS[0], CAPTIONS[2], "a beep"]
    assert metric(answers, CAPTIONS, LANGUAGES) < best
    assert metric(answers[::-1], CAPTIONS[::-1], LANGUAGES) == pytest.approx(
        metric(answers, CAPTIONS, LANGUAGES)
    )


@pytest.mark.parametrize("metric", [bleu, caption_overlap, rouge_l, cider_d])
def test_nothing_said_scores_nothing(metric):
    assert metric(["", "", ""], CAPTIONS, LANGUAGES) == 0.0


def test_shared_words_of_the_nearest_caption_count():
    assert caption_overlap(["a bell"], ["a bell tone\na cat"], ["en"]) == pytest.approx(2 * 2 / 5)


def test_the_longest_common_subsequence_counts_in_rouge():
    # 3 of 4 said and 3 of 5 meant, beta 1.2.
    p, r = 3 / 4, 3 / 5
    expected = (1 + 1.2**2) * p * r / (r + 1.2**2 * p)
    assert rouge_l(["a b x c"], ["a b c d e"], ["en"]) == pytest.approx(expected)


def test_words_of_every_clip_count_nothing_in_cider():
    answers = ["the the the", "the", "the"]
    assert cider_d(answers, ["the a", "the b", "the c"], LANGUAGES) == 0.0


def test_chinese_is_cut_into_characters_for_bleu():
    assert bleu(["今天天气很好啊"], ["今天天气很好啊"], ["zh"]) == pytest.approx(100.0)
