"""Where a tokenizer comes from: a folder, a hub name, or texts.

The trained one is a byte-level BPE as Qwen's: every text has tokens, a word
keeps the blank before it, and a digit is a token.

Source: the pre-tokenizer pattern is Qwen's, the same in all its models.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from audio_lm.common.errors import RecipeError, needs_code
from audio_lm.common.seals import kept_folder
from audio_lm.prompts.conversation import END_TOKEN
from audio_lm.prompts.tiktoken import FILE_NAME, qwen_audio_tokenizer
from audio_lm.prompts.tokenizer_json import PATTERN
from audio_lm.prompts.vocabulary import TEXT_TOKENS

NUM_BYTES = 256


def load_tokenizer(folder_or_name: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, or of a model on the hub.

    Args:
        trust_remote_code: run code that comes with it.

    Raises:
        RecipeError: there is none, or it brings code of its own.
        CheckpointError: that of a Qwen-Audio is damaged.
    """
    folder = Path(folder_or_name)
    if (folder / FILE_NAME).is_file() and not (folder / "tokenizer.json").is_file():
        return qwen_audio_tokenizer(folder / FILE_NAME)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder_or_name, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # what is wrong with a file comes from Rust as just that
        if "trust_remote_code" in str(error):
            raise RecipeError(needs_code("tokenizer", folder_or_name)) from error
        raise RecipeError(
            f"no tokenizer at {folder_or_name!r} -- expected a folder with tokenizer.json, or a model's name "
            f"on the hub; correct model.tokenizer.load"
        ) from error
    return tokenizer


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """A tokenizer made from texts; the same texts make the same one.

    Args:
        texts: what it should be good at; it can write anything.
        vocab_size: at most so many tokens, bytes included and the tokens of chat not counted.

    Raises:
        RecipeError: there is no room for the 256 bytes.
    """
    if vocab_size < NUM_BYTES:
        raise RecipeError(
            f"vocab_size {vocab_size} is too small -- expected at least {NUM_BYTES}, one token for every "
            f"byte; raise model.tokenizer.vocab_size"
        )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
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


def kept_tokenizer(folder: Path, train: Callable[[], PreTrainedTokenizerBase]) -> PreTrainedTokenizerBase:
    """The tokenizer of a sealed folder, which is trained where there is none that holds.

    Args:
        folder: named after everything that the tokenizer follows from.
    """

    def make(partial: Path) -> None:
        train().save_pretrained(partial)

    return kept_folder(folder, make, lambda there: load_tokenizer(str(there)))


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Keep a tokenizer in a sealed folder, in the place of one that does not hold."""
    kept_folder(folder, lambda partial: tokenizer.save_pretrained(partial), lambda there: None)
