"""Text of an answer in progress: pieces for streaming, and strings that end the answer."""

from collections.abc import Sequence

from audio_lm.prompts.vocabulary import Vocabulary

INCOMPLETE = "\ufffd"  # of a character whose bytes are in tokens to come


class StopStrings:
    """Strings that end an answer and are not part of it."""

    def __init__(self, vocabulary: Vocabulary, strings: Sequence[str]) -> None:
        self._vocabulary = vocabulary
        self._strings = tuple(filter(None, strings))

    def end_of(self, token_ids: Sequence[int], /) -> int | None:
        """Number of tokens whose text is before the first stop string; None if there is none."""
        if not self._strings or self.start_in(self._vocabulary.text(token_ids)) is None:
            return None
        return next(
            count
            for count in reversed(range(len(token_ids)))
            if self.start_in(self._vocabulary.text(token_ids[:count])) is None
            and self._is_before(token_ids, count)
        )

    def start_in(self, text: str) -> int | None:
        """Position of the first stop string in a text."""
        found = [place for string in self._strings if (place := text.find(string)) >= 0]
        return min(found, default=None)

    def held_back(self, text: str) -> int:
        """Number of characters at the end of a text that a stop string could start with."""
        return max(
            (
                length
                for string in self._strings
                for length in range(1, min(len(string), len(text) + 1))
                if text.endswith(string[:length])
            ),
            default=0,
        )

    def _is_before(self, token_ids: Sequence[int], count: int) -> bool:
        start = self.start_in(self._vocabulary.text(token_ids))
        return start is not None and len(self._vocabulary.text(token_ids[:count])) <= start


class TextStream:
    """Text of an answer that grows token by token."""

    def __init__(self, vocabulary: Vocabulary, stop: StopStrings) -> None:
        self._vocabulary = vocabulary
        self._stop = stop
        self.text = ""
        """Text that was returned by ``advance`` and ``finish``."""

    def advance(self, token_ids: Sequence[int]) -> str:
        """New text that later tokens cannot change.

        Args:
            token_ids: all tokens of the answer.
        """
        text = self._vocabulary.text(token_ids)
        settled = len(text.rstrip(INCOMPLETE))
        return self._extend(text[: min(settled, len(text) - self._stop.held_back(text))])

    def finish(self, token_ids: Sequence[int]) -> str:
        """Rest of the text, up to a stop string."""
        text = self._vocabulary.text(token_ids)
        return self._extend(text[: self._stop.start_in(text)])

    def _extend(self, text: str) -> str:
        if len(text) <= len(self.text) or not text.startswith(self.text):
            return ""
        new = text[len(self.text) :]
        self.text = text
        return new
