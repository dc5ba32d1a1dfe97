"""Valid names of stages, runs, experiments, corpora, sources, benchmarks and groups.

Each becomes the name of a file or folder. A recipe may be written by somebody else, and a name such
as ``../x`` would write outside the run's folder, so names are checked before anything is written.
"""

import re

from audio_lm.common.errors import RecipeError

COMPONENT = re.compile(r"\w(?:[\w .@+-]*[\w@+-])?")
MAX_BYTES = 120
"""Limit for one path component; file systems allow 255 bytes, and suffixes are added."""

RULE = (
    f"a name starts with a letter, a digit or _, contains only these, spaces and - + . @, does not end with a space or "
    f"a dot, and has at most {MAX_BYTES} bytes"
)


def is_name(text: str) -> bool:
    """True if a text is a valid name of a file or folder.

    >>> is_name("pretrain-2"), is_name(".."), is_name("a/b"), is_name("")
    (True, False, False, False)
    """
    return COMPONENT.fullmatch(text) is not None and len(text.encode()) <= MAX_BYTES


def check_name(kind: str, name: str) -> None:
    """Check a name.

    Raises:
        RecipeError: the name is invalid; states the rule.
    """
    if not is_name(name):
        raise RecipeError(f"{kind} {name[:MAX_BYTES]!r}: {RULE}; rename it")


def check_path(kind: str, path: str) -> None:
    """Check names separated by ``/``.

    Raises:
        RecipeError: a name is invalid; states the rule.
    """
    if not all(map(is_name, path.split("/"))):
        raise RecipeError(f"{kind} {path[:MAX_BYTES]!r}: names with / between them, where {RULE}; rename it")
