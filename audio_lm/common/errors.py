"""Errors somebody at a keyboard can fix, and how to word them.

The command line prints a ``UserError`` as one sentence and leaves with exit
code 2. Whatever is not a ``UserError`` is a fault of this program.
"""

from collections.abc import Collection
from difflib import get_close_matches


class UserError(Exception):
    """The message is for the person who started us; shown without a traceback."""


class RecipeError(UserError):
    """A recipe, a piece of ``conf/`` or an override is wrong."""


class DataError(UserError):
    """A cut or a corpus is not what it has to be."""


class CheckpointError(UserError):
    """Weights do not fit the model."""


class AlreadyReportedError(UserError):
    """Another rank has found the mistake and says it; this one leaves in silence, with the same exit code."""


def unknown(kind: str, name: str, known: Collection[str], *, see: str) -> str:
    """Word the error for a name that does not exist.

    >>> unknown("task", "ars", ["asr", "s2tt"], see="audio_lm/tasks/")
    "unknown task 'ars'. Did you mean 'asr'? See audio_lm/tasks/."
    """
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known))}."
    return f"unknown {kind} {name!r}. {hint} See {see}."


def first_line(error: Exception) -> str:
    r"""First line of an error's message, or its class name if there is no message.

    >>> first_line(ValueError("no such file\nat line 3")), first_line(KeyError())
    ('no such file', 'KeyError')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def missing_extra(package: str, *, extra: str, purpose: str) -> UserError:
    """Word the error for an optional dependency that is not installed."""
    return UserError(
        f"{purpose} needs the package {package!r}; install it with `pip install 'audio-lm[{extra}]'`"
    )


def needs_code(what: str, source: str) -> str:
    """Word the refusal of something published that brings code of its own."""
    return (
        f"{what} {source!r} brings code of its own, which would run here -- what transformers knows needs none -- "
        f"choose another, or read that code, set model.trust_remote_code=true and add --trust-code"
    )
