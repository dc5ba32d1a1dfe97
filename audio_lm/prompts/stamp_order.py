"""Constraint on generated time stamps: each is later than the one before, and none is after the end of the clip.

A stamp is the median of the allowed ones and not the most probable: the median has the smallest expected error in seconds,
and a stamp that is too late leaves no room for the next.

Source: Qwen-Audio, arXiv:2311.07919, section 3 (SRWT): units share their stamps, so these increase in every target.

Shapes: V tokens.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from audio_lm.common.audio_units import MAX_SECONDS, Seconds
from audio_lm.common.errors import RecipeError
from audio_lm.common.word_timestamps import STAMPS_PER_SECOND
from audio_lm.prompts.vocabulary import STAMPS, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


class IncreasingStamps:
    """Token constraint: forbids the stamps that are not later than the last one of the answer."""

    def __init__(self, vocabulary: Vocabulary, *, num_seconds: Seconds = MAX_SECONDS) -> None:
        """Look up the stamps.

        Args:
            num_seconds: length of the clip.

        Raises:
            RecipeError: the vocabulary has no stamps.
        """
        if missing := [stamp for stamp in STAMPS if stamp not in vocabulary.id_of]:
            raise RecipeError(
                f"the model has no time stamps ({missing[0]} is no token) -- expected one that was trained with prompt tags; "
                f"choose another model or stage"
            )
        self._ids = [vocabulary.id_of[stamp] for stamp in STAMPS]
        self._place_of_id = {token: place for place, token in enumerate(self._ids)}
        self._num_allowed = min(len(STAMPS), int(num_seconds * STAMPS_PER_SECOND + 0.5) + 1)

    def constrain(self, logits_V: "Tensor", token_ids: Sequence[int], /) -> "Tensor":
        """Logits with minus infinity for forbidden stamps, and for all but the median where a stamp is the most probable."""
        last = next(
            (self._place_of_id[token] for token in reversed(token_ids) if token in self._place_of_id), -1
        )
        forbidden = self._ids[: last + 1] + self._ids[max(last + 1, self._num_allowed) :]
        masked_V = _without(logits_V, forbidden)
        allowed = self._ids[last + 1 : self._num_allowed]
        if int(masked_V.argmax()) not in self._place_of_id:
            return masked_V
        shares = masked_V[allowed].double().softmax(-1).cumsum(-1)
        median = int((shares < 0.5).sum())
        return _without(masked_V, allowed[:median] + allowed[median + 1 :])


def _without(logits_V: "Tensor", token_ids: Sequence[int]) -> "Tensor":
    index = logits_V.new_tensor(token_ids).long()
    return logits_V.index_fill(0, index, float("-inf"))
