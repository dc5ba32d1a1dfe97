"""Errors that a user can fix, and functions that compose their messages.

The command line prints a ``UserError`` without a traceback and exits with code 2.
Any other exception is a bug of this program.
"""

from collections.abc import Collection
from difflib import get_close_matches


class UserError(Exception):
    """Mistake in the input; the message is addressed to the user and shown without a traceback."""


class RecipeError(UserError):
    """Invalid recipe, piece of ``conf/`` or override."""


class DataError(UserError):
    """Invalid cut or corpus."""


class CheckpointError(UserError):
    """Checkpoint that cannot be used: damaged, of another format, or weights that do not fit the model."""


class ProgramError(UserError):
    """Program or package that is missing or fails; numbers that do without it are computed."""


class AlreadyReportedError(UserError):
    """Mistake that another rank reports; this rank exits silently with the same code."""


def unknown(kind: str, name: str, known: Collection[str], *, see: str) -> str:
    """Error message for an unknown name, with the closest known one.

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


def missing_extra(package: str, *, extra: str, purpose: str) -> ProgramError:
    """Error for an optional dependency that is not installed."""
    return ProgramError(
        f"{purpose} needs the package {package!r}; install it with `pip install 'audio-lm[{extra}]'`"
    )


def needs_remote_code(what: str, source: str) -> str:
    """Error message for a published model or tokenizer that comes with its own Python code."""
    return (
        f"{what} {source!r} comes with its own Python code, which would run here -- expected a model that transformers "
        f"supports without it -- choose another, or read that code, set model.trust_remote_code=true and add --trust-code"
    )
