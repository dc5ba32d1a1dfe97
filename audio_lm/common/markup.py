"""Patterns of special tokens in text.

Each has one group, the token itself, so that ``split`` keeps the tokens. Whether a token is in a vocabulary is checked
there (``prompts.vocabulary``); the pattern of time stamps is in ``word_timestamps``.
"""

import re

_TAG = r"<\|[^|<>]*\|>"

TAG = re.compile(rf"({_TAG})")
"""A special token such as ``<|en|>``."""

MARKUP = re.compile(rf"({_TAG}|</?audio>)")
"""A special token, with the two that Qwen-Audio writes around a clip: ``<audio>`` and ``</audio>``."""
