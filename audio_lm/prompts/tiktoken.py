"""The tokenizer of Qwen-Audio: ranked byte strings in ``qwen.tiktoken``, and tokens that its remote code adds.

Converted to a fast tokenizer (``tokenizers``) with the same ids, so that the remote code is not run.

Source: ``qwen.tiktoken`` and ``tokenization_qwen.py`` of Qwen-Audio at commit b50fb95.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from audio_lm.common.errors import CheckpointError
from audio_lm.prompts.conversation import END_TOKEN
from audio_lm.prompts.tokenizer_json import WORD_PATTERN
from audio_lm.prompts.vocabulary import AUDIO_TOKENS

FILE_NAME = "qwen.tiktoken"
NUM_EXTRAS = 205
CLIP_PAD = "[[[AUDIO:modality]]]"
SPECIAL_TOKENS = (
    END_TOKEN,
    "<|im_start|>",
    "<|im_end|>",
    *(f"<|extra_{i}|>" for i in range(NUM_EXTRAS)),
    CLIP_PAD,
)
"""Special tokens, with ids after the byte strings; the released audio tokens follow them."""


def qwen_audio_tokenizer(file: Path) -> PreTrainedTokenizerFast:
    """Build a fast tokenizer with the ids of Qwen-Audio.

    Raises:
        CheckpointError: the file is missing or no list of ranked byte strings.
    """
    rank_of = read_ranks(file)
    char_of_byte = _bytes_to_unicode()
    text_of = {token: "".join(char_of_byte[byte] for byte in token) for token in rank_of}
    vocab = {text_of[token]: rank for token, rank in rank_of.items()}
    bpe = Tokenizer(models.BPE(vocab=vocab, merges=[(text_of[a], text_of[b]) for a, b in _merges(rank_of)]))
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    bpe.add_tokens([AddedToken(token, special=False, normalized=False) for token in AUDIO_TOKENS])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe, eos_token=END_TOKEN, pad_token=END_TOKEN, clean_up_tokenization_spaces=False
    )


def read_ranks(file: Path) -> dict[bytes, int]:
    """Read byte strings and their ranks; a rank is a token id.

    Raises:
        CheckpointError: a line is invalid (the message names it), or the ranks are not 0, 1, 2 ...
    """
    ranks: dict[bytes, int] = {}
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise CheckpointError(
            f"{file} cannot be read ({error.strerror}); copy it from the folder of the model"
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise CheckpointError(
                f"{file}:{number}: {line[:40]!r} -- expected a byte string in base64 and its rank -- copy the file again"
            ) from error
    single = {bytes([byte]) for byte in range(256)}
    if sorted(ranks.values()) != list(range(len(ranks))) or not single <= ranks.keys():
        raise CheckpointError(
            f"{file}: {len(ranks)} byte strings -- expected ranks 0, 1, 2 ... and every single byte -- copy the file again"
        )
    return ranks


def _merges(rank_of: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """All merges of two tokens into a third, ordered by the rank of the third."""
    return [
        (token[:cut], token[cut:])
        for token in sorted(rank_of, key=rank_of.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in rank_of and token[cut:] in rank_of
    ]


def _bytes_to_unicode() -> dict[int, str]:
    """Character of each byte in a byte-level vocabulary.

    Printable bytes map to themselves, the others to code points from 256 on.

    Source: GPT-2's ``bytes_to_unicode``.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
