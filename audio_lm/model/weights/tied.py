"""Tied word embeddings: one table for input and output, or two, as the files of a language model have them.

``tie_word_embeddings`` of a ``config.json`` is not enough. transformers 4 ties Qwen2-Audio's tables by it and writes one of
them; transformers 5 does not tie them and writes two, with the same configuration. So the files decide: two different
tables stay two, and one table, or two equal ones, are tied where the configuration says so.

Source: ``tie_weights`` of transformers 4.57.6 and 5.23.0, and the folders that both write.
"""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from audio_lm.common.errors import CheckpointError

WORDS, HEAD = "model.embed_tokens.weight", "lm_head.weight"

log = logging.getLogger(__name__)


def tied_names(model: nn.Module) -> dict[str, str]:
    """Second name -> first name of every weight that a model has under two names."""
    first_of: dict[int, str] = {}
    second = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        first = first_of.setdefault(id(tensor), name)
        if first != name:
            second[name] = first
    return second


def are_untied(model: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> bool:
    """True if files have different tables where a model has one.

    Args:
        model: language model that its configuration describes; may be on ``meta``.
        weights: of the files, under the names of the model.
        source: folder or hub name, for the log.
    """
    different = [
        second
        for second, first in tied_names(model).items()
        if second in weights and first in weights and not _equal(weights[first], weights[second])
    ]
    if different:
        log.warning(
            "%s: config.json ties %s to the word embeddings, but the files have another table for it; both tables are used, "
            "as transformers 5 does",
            source,
            ", ".join(different),
        )
    return bool(different)


def without_copies(
    model: nn.Module, weights: Mapping[str, Tensor], *, source: str = "the model"
) -> dict[str, Tensor]:
    """Weights of files, each tied one under the first name only.

    Args:
        model: built after ``are_untied`` was considered.
        source: folder or hub name, for messages.

    Raises:
        CheckpointError: the output layer is in no file, and the configuration does not tie it.
    """
    second = tied_names(model)
    kept = {name: tensor for name, tensor in weights.items() if name not in second}
    for name, first in second.items():
        if name in weights:
            kept.setdefault(first, weights[name])
    if WORDS in kept and HEAD not in {*kept, *second} and HEAD in model.state_dict():
        raise CheckpointError(
            f"{source}: the files have no {HEAD}, and config.json does not tie it to the word embeddings -- expected the "
            f"tensor, or tie_word_embeddings: true -- copy all files of the model, or correct its config.json"
        )
    return kept


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
