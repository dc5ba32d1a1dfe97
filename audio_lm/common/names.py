"""Names of stages, runs, experiments, corpora, sources, benchmarks and groups: one pattern, one check.

Each of them becomes the name of a file or folder below one of the user's. A name from a
recipe of somebody else must not lead out of there, so it is checked before anything is written.
"""

import re

from audio_lm.common.errors import RecipeError

COMPONENT = re.compile(r"\w(?:[\w .@+-]*[\w@+-])?")
MAX_BYTES = 120
"""Of one component; file systems take 255, and suffixes are added."""

RULE = (
    f"a name begins with a letter, a digit or _, goes on with these, spaces or any of - + . @, does not end with a space or "
    f"a dot, and has at most {MAX_BYTES} bytes"
)


def is_name(text: str) -> bool:
    """Whether a text can be the name of a file or folder here.

    >>> is_name("pretrain-2"), is_name(".."), is_name("a/b"), is_name("")
    (True, False, False, False)
    """
    return COMPONENT.fullmatch(text) is not None and len(text.encode()) <= MAX_BYTES


def check_name(kind: str, name: str) -> None:
    """Refuse what is no name.

    Raises:
        RecipeError: gives the rule.
    """
    if not is_name(name):
        raise RecipeError(f"{kind} {name[:MAX_BYTES]!r}: {RULE}; rename it")


def check_path(kind: str, path: str) -> None:
    """Refuse what is not a row of names with ``/`` between them.

    Raises:
        RecipeError: gives the rule.
    """
    if not all(map(is_name, path.split("/"))):
        raise RecipeError(f"{kind} {path[:MAX_BYTES]!r}: names with / between them, where {RULE}; rename it")
