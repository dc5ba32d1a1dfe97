import math
import random
from collections import Counter

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import LCSseq

from audio_lm.common.errors import UserError
from audio_lm.metrics import overlap
from audio_lm.metrics.overlap import Bleu, CaptionOverlap, CiderD, RougeL


def score(metric, answers, references, languages):
    return float(metric()(answers, references, languages))


CAPTIONS = [
    "a bell tone sounds twice",
    "a low hum and then a long beep",
    "rain falls on the roof of a house",
]
LANGUAGES = ["en"] * 3


@pytest.mark.parametrize(
    ("metric", "best"), [(Bleu, 100.0), (CaptionOverlap, 1.0), (RougeL, 1.0), (CiderD, 10.0)]
)
def test_identity_is_the_best_and_order_does_not_matter(metric, best):
    assert score(metric, CAPTIONS, CAPTIONS, LANGUAGES) == pytest.approx(best)
    answers = [CAPTIONS[0], CAPTIONS[2], "a beep"]
    assert score(metric, answers, CAPTIONS, LANGUAGES) < best
    assert score(metric, answers[::-1], CAPTIONS[::-1], LANGUAGES) == pytest.approx(
        score(metric, answers, CAPTIONS, LANGUAGES)
    )


@pytest.mark.parametrize("metric", [Bleu, CaptionOverlap, RougeL, CiderD])
def test_empty_answers_score_zero(metric):
    assert score(metric, ["", "", ""], CAPTIONS, LANGUAGES) == 0.0


def test_overlap_is_computed_with_the_most_similar_caption():
    assert score(CaptionOverlap, ["a bell"], ["a bell tone\na cat"], ["en"]) == pytest.approx(2 * 2 / 5)


def test_rouge_l_uses_the_longest_common_subsequence():
    # 3 of 4 words of the answer and 3 of 5 of the reference, beta 1.2.
    p, r = 3 / 4, 3 / 5
    expected = (1 + 1.2**2) * p * r / (r + 1.2**2 * p)
    assert score(RougeL, ["a b x c"], ["a b c d e"], ["en"]) == pytest.approx(expected)


def test_words_that_occur_in_every_clip_have_no_weight_in_cider():
    answers = ["the the the", "the", "the"]
    assert score(CiderD, answers, ["the a", "the b", "the c"], LANGUAGES) == 0.0


def test_chinese_is_split_into_characters_for_bleu():
    assert score(Bleu, ["今天天气很好啊"], ["今天天气很好啊"], ["zh"]) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("language", "tokenizer", "outputs", "targets"),
    [
        (
            "en",
            "13a",
            ["A cat, it's here.", "one two three four"],
            ["A cat: it's here.", "one two four three"],
        ),
        ("ko", "13a", ["오늘 날씨가 좋다.", "고양이 가 온다"], ["오늘 날씨가 좋다!", "고양이 가 간다"]),
        ("zh", "zh", ["今天天气很好啊。", "你好 world"], ["今天天气真好啊。", "你好 word"]),
    ],
)
def test_bleu_of_one_language_equals_that_of_sacrebleu(language, tokenizer, outputs, targets):
    expected = sacrebleu.corpus_bleu(outputs, [targets], tokenize=tokenizer).score
    assert score(Bleu, outputs, targets, [language] * 2) == pytest.approx(expected)


def test_every_clip_is_tokenized_in_its_own_language():
    outputs, targets, languages = (
        ["今天天气很好啊", "a b c d e"],
        ["今天天气真好啊", "a b c d e"],
        ["zh", "en"],
    )
    assert score(Bleu, outputs, targets, languages) == pytest.approx(
        score(Bleu, outputs[::-1], targets[::-1], languages[::-1])
    )


def test_the_error_of_a_missing_tokenizer_names_the_package(monkeypatch):
    def absent(tokenize):
        raise RuntimeError("Please install the following package")

    overlap._tokenizer.cache_clear()
    monkeypatch.setattr("audio_lm.metrics.overlap.BLEU", absent)
    with pytest.raises(UserError, match=r"sacrebleu\[ja\]"):
        score(Bleu, ["今日は"], ["今日は"], ["ja"])


def test_cider_equals_a_value_computed_by_hand():
    # The n-grams of both clips have weight log 2. The first answer has one of two words and no bigram in common with its
    # reference, the second answer equals its reference; orders 3 and 4 are empty: (0.5 * 1/4 + 2 * 1/4) / 2 * 10.
    answers, references = ["b x", "d e"], ["b c", "d e"]
    assert score(CiderD, answers, references, LANGUAGES[:2]) == pytest.approx(
        10 * (0.25 * 0.5 + 0.25 * 2) / 2
    )


@pytest.mark.parametrize("language", ["zh-CN", "zh_cn", "cmn", "Mandarin", "Chinese", "unknown", "yue"])
def test_every_name_of_a_language_has_the_same_bleu(language):
    outputs, targets = ["今天天气很好啊。", "你好世界"], ["今天天气真好啊。", "你好世界"]
    assert score(Bleu, outputs, targets, [language] * 2) == pytest.approx(
        score(Bleu, outputs, targets, ["zh"] * 2)
    )


def test_bleu_of_several_references_equals_that_of_sacrebleu():
    outputs = ["the cat is on the mat", "a dog barks at night"]
    targets = [["there is a cat on the mat", "the cat is on a mat"], ["dogs bark at night"]]
    expected = sacrebleu.corpus_bleu(outputs, [[targets[0][0], targets[1][0]], [targets[0][1], None]]).score
    assert score(Bleu, outputs, targets, ["en"] * 2) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [CaptionOverlap, RougeL, CiderD])
def test_references_may_be_lists_whose_texts_have_line_breaks(metric):
    answers = ["a bell rings", "rain on a roof"]
    lists = [["a bell is ringing", "someone rings a bell"], ["rain falls", "it rains on the roof"]]
    lines = ["\n".join(texts) for texts in lists]
    assert score(metric, answers, lists, LANGUAGES[:2]) == pytest.approx(
        score(metric, answers, lines, LANGUAGES[:2])
    )
    broken = [["a bell\nis ringing", "someone rings a bell"], lists[1]]
    assert score(metric, answers, broken, LANGUAGES[:2]) == pytest.approx(
        score(metric, answers, lists, LANGUAGES[:2])
    )


def test_several_references_are_scored_like_pycocoevalcap():
    # Expected values: Cider().compute_score and Rouge().compute_score of pycocoevalcap 1.2 on the same texts.
    answers = ["a dog barks in a yard", "water runs from a tap", "people talk in a room"]
    references = [
        [
            "a dog barks outside",
            "a dog is barking in the yard",
            "barking of a dog",
            "a dog barks",
            "dog in a yard",
        ],
        ["water flows from a tap", "a tap is running", "water runs", "someone opens a tap", "running water"],
        [
            "people are talking",
            "a crowd talks in a hall",
            "people talk",
            "voices in a room",
            "many people speak",
        ],
    ]
    assert score(CiderD, answers, references, LANGUAGES) == pytest.approx(2.2326073154256485)
    assert score(RougeL, answers, references, LANGUAGES) == pytest.approx(0.8408009650456755)
    separate = (
        [answer for answer in answers for _ in range(5)],
        [text for texts in references for text in texts],
    )
    assert score(CiderD, *separate, ["en"] * 15) == pytest.approx(1.8016, abs=1e-4)
    assert score(RougeL, *separate, ["en"] * 15) == pytest.approx(0.5334, abs=1e-4)


def test_the_published_bleu_keeps_tags():
    texts = ["<|de|>guten Morgen an alle hier"], ["guten Morgen an alle hier"], ["de"]
    assert score(Bleu, *texts) == pytest.approx(100.0)
    assert score(overlap.QwenAudioBleu, *texts) < 100.0


WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=8).map(" ".join)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=3))
def test_rouge_l_has_the_longest_common_subsequence_of_rapidfuzz(answer, references):
    words, captions = answer.split(), [text.split() for text in references]
    common = [LCSseq.similarity(words, caption) for caption in captions]
    precision, recall = (
        max(common) / len(words),
        max(n / len(c) for n, c in zip(common, captions, strict=True)),
    )
    expected = (1 + 1.44) * precision * recall / (recall + 1.44 * precision) if max(common) else 0.0
    assert score(RougeL, [answer], [references], ["en"]) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_cider_d_is_the_clipped_cosine_of_tf_idf_vectors(seed):
    """Written out with vectors over the whole vocabulary; the length is the number of bigrams, as in pycocoevalcap."""
    rng = random.Random(seed)
    texts = [
        [rng.choices("abcde", k=rng.randint(2, 7)) for _ in range(1 + rng.randint(1, 3))] for _ in range(6)
    ]

    def grams(words, order):
        return Counter(tuple(words[at : at + order]) for at in range(len(words) - order + 1))

    total = 0.0
    for answer, *references in texts:
        for reference in references:
            for order in range(1, 5):
                names = sorted(grams(answer, order) | grams(reference, order))
                of_clips = [set().union(*(grams(text, order) for text in clip[1:])) for clip in texts]
                idf = np.array(
                    [math.log(6 / max(1, sum(name in clip for clip in of_clips))) for name in names]
                )
                ours, theirs = (
                    np.array([grams(t, order)[n] for n in names]) * idf for t in (answer, reference)
                )
                norms = np.linalg.norm(ours) * np.linalg.norm(theirs)
                product = np.minimum(ours, theirs) @ theirs / (norms or 1.0)
                gaussian = math.exp(-((len(answer) - len(reference)) ** 2) / (2 * 6**2))
                total += 10 * gaussian * product / 4 / len(references) / len(texts)
    answers = [" ".join(clip[0]) for clip in texts]
    captions = [[" ".join(text) for text in clip[1:]] for clip in texts]
    assert score(CiderD, answers, captions, ["en"] * 6) == pytest.approx(total)
