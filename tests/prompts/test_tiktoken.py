import base64
import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
from tokenizers import Regex, pre_tokenizers

from audio_lm.common.errors import CheckpointError
from audio_lm.prompts.tiktoken import FILE_NAME, SPECIAL_TOKENS, qwen_audio_tokenizer, read_ranks
from audio_lm.prompts.tokenizer import load_tokenizer
from audio_lm.prompts.tokenizer_json import WORD_PATTERN
from audio_lm.prompts.vocabulary import AUDIO_TOKENS, Vocabulary

TEXTS = (
    "the theme there then other mother",
    "ananas banana, bandana!",
    "你好世界 你好吗",
    "Cafe\u0301 déjà vu 1234 's",
)


def ranks_of(texts, num_merges=30):
    """Train a BPE: ranks of byte strings, by merging the most frequent pair first."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    words = [[bytes([byte]) for byte in word.encode()] for text in texts for word in text.split(" ")]
    for _ in range(num_merges):
        pairs = Counter(pair for word in words for pair in pairwise(word))
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        ranks.setdefault(b"".join(best), len(ranks))
        words = [merge_pair(word, b"".join(best)) for word in words]
    return ranks


def merge_pair(parts, whole):
    result = []
    for part in parts:
        if result and result[-1] + part == whole:
            result[-1] = whole
        else:
            result.append(part)
    return result


def ids_by_rank(text, ranks):
    """Reference encoder: merge the adjacent pair whose union has the lowest rank, until none is left."""
    splitter = pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated")
    ids = []
    for word, _ in splitter.pre_tokenize_str(unicodedata.normalize("NFC", text)):
        parts = [bytes([byte]) for byte in word.encode()]
        while True:
            known = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
            if not known:
                break
            _, place = min(known)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        ids += [ranks[part] for part in parts]
    return ids


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("qwen") / FILE_NAME
    rows = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks_of(TEXTS).items())
    path.write_text("".join(rows))
    return path


@pytest.mark.parametrize("text", [*TEXTS, "banana theme 7", "\n\n  two  spaces\n", "anan na nan"])
def test_token_ids_equal_those_of_the_reference_encoder(file, text):
    tokenizer = qwen_audio_tokenizer(file)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids == ids_by_rank(text, ranks_of(TEXTS))
    assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)


def test_the_texts_of_these_tests_need_merges(file):
    assert len(qwen_audio_tokenizer(file)("banana theme")["input_ids"]) < len("banana theme") / 1.5


def test_special_tokens_follow_in_the_released_order(file):
    tokenizer, first = load_tokenizer(str(file.parent)), len(read_ranks(file))
    ids = tokenizer.convert_tokens_to_ids([*SPECIAL_TOKENS, *AUDIO_TOKENS])
    assert ids == list(range(first, first + 209 + 3313))
    vocabulary = Vocabulary(tokenizer, num_base=len(tokenizer))
    assert vocabulary.id_of["</audio>"] == vocabulary.id_of["<audio>"] + 1
    assert tokenizer.decode(ids[:1] + ids[-1:], skip_special_tokens=True) == AUDIO_TOKENS[-1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not-base64! 3", r"qwen.tiktoken:2[0-9]+: .*expected a byte string"),
        ("YQ==", r"qwen.tiktoken:2[0-9]+: .*expected a byte string"),
        ("enp6eg== 999", "expected ranks 0, 1, 2"),
    ],
)
def test_the_error_for_a_damaged_file_names_the_line(file, tmp_path, line, message):
    path = tmp_path / FILE_NAME
    path.write_text(file.read_text() + line + "\n")
    with pytest.raises(CheckpointError, match=message):
        qwen_audio_tokenizer(path)


def test_a_missing_file_and_one_without_all_bytes_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_ranks(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).write_text("YQ== 0\n")
    with pytest.raises(CheckpointError, match="every single byte"):
        read_ranks(tmp_path / FILE_NAME)
