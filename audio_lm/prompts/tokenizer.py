"""Tokenizers: loaded from a folder or the hub, or trained on texts.

A trained one is a byte-level BPE like Qwen's: any text can be encoded, a word
includes the space before it, and each digit is one token.

Source: the pre-tokenizer pattern is Qwen's, the same in all its models.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from audio_lm.common.errors import RecipeError, needs_remote_code
from audio_lm.common.protocols import Factory
from audio_lm.common.seals import cached_folder
from audio_lm.prompts.conversation import END_TOKEN
from audio_lm.prompts.tiktoken import FILE_NAME, qwen_audio_tokenizer
from audio_lm.prompts.tokenizer_json import WORD_PATTERN
from audio_lm.prompts.vocabulary import TEXT_TOKENS

NUM_BYTES = 256


def load_tokenizer(folder_or_name: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or from the hub.

    Args:
        trust_remote_code: allow the tokenizer's own code to run.

    Raises:
        RecipeError: there is no tokenizer, or it needs remote code.
        CheckpointError: ``qwen.tiktoken`` is damaged.
    """
    folder = Path(folder_or_name)
    if (folder / FILE_NAME).is_file() and not (folder / "tokenizer.json").is_file():
        return qwen_audio_tokenizer(folder / FILE_NAME)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder_or_name, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # the Rust code of tokenizers raises plain Exception for a bad file
        if "trust_remote_code" in str(error):
            raise RecipeError(needs_remote_code("tokenizer", folder_or_name)) from error
        raise RecipeError(
            f"no tokenizer at {folder_or_name!r} -- expected a folder with tokenizer.json, or a model's name "
            f"on the hub; correct model.tokenizer.load"
        ) from error
    return tokenizer


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; deterministic for the same texts.

    Args:
        texts: of the training domain; any other text can be encoded, too.
        vocab_size: maximum number of tokens, including the bytes, without the tokens of text and chat.

    Raises:
        RecipeError: ``vocab_size`` is below the 256 bytes.
    """
    if vocab_size < NUM_BYTES:
        raise RecipeError(
            f"vocab_size {vocab_size} is too small -- expected at least {NUM_BYTES}, one token for every "
            f"byte; raise model.tokenizer.vocab_size"
        )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens(list(TEXT_TOKENS))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe,
        eos_token=END_TOKEN,
        pad_token=END_TOKEN,
        clean_up_tokenization_spaces=False,
    )


def load_or_train_tokenizer(folder: Path, train: Factory[PreTrainedTokenizerBase]) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a sealed folder; train it first if the folder is missing or damaged.

    Args:
        folder: its name identifies everything that decides the tokenizer.
    """

    def make(partial: Path) -> None:
        train().save_pretrained(partial)

    return cached_folder(folder, make, lambda there: load_tokenizer(str(there)))


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a tokenizer to a sealed folder; replace a damaged one."""
    cached_folder(folder, lambda partial: tokenizer.save_pretrained(partial), lambda there: None)
