"""Metric and parameter names and values in the form that all MLflow stores accept.

MLflow and Lightning's logger drop characters (so that names collide or vanish), refuse
long values, and store infinity as 1.8e308, which distorts every axis.
"""

import hashlib
import math
import re
from collections.abc import Mapping

MAX_NAME_LENGTH = 250
MAX_PARAM_LENGTH = 6000  # limits of mlflow 3: mlflow/utils/validation.py
MAX_TAG_LENGTH = 8000


def safe_name(name: str) -> str:
    """Name of a metric or parameter in the form that all MLflow stores accept.

    Invalid characters become ``_``, and empty and dot components of the path are dropped. A changed
    name ends with a digest of the original, so that two names never collide.

    >>> safe_name("val/fsdd/test/wer"), safe_name("loss(db)"), safe_name("loss[db]")
    ('val/fsdd/test/wer', 'loss_db__191dcc', 'loss_db__ee2b97')
    """
    clean = re.sub(r"[^A-Za-z0-9_/. -]", "_", name)
    parts = (part.strip() for part in clean.split("/"))
    joined = "/".join(part for part in parts if part.strip("."))
    safe = re.sub(r"^\.+", "_", joined)[:MAX_NAME_LENGTH].rstrip("/ ") or "unnamed"
    if safe == name:
        return safe
    return f"{safe[: MAX_NAME_LENGTH - 7].rstrip('/ ')}_{_digest(name)[:6]}"


def finite_values(values: Mapping[str, object]) -> tuple[dict[str, float], list[str]]:
    """Finite numbers under safe names, and the names of values that are not numbers.

    A value that is not finite becomes ``nonfinite/<name>`` = 1.

    >>> finite_values({"loss": 2, "norm": float("inf"), "task": "asr"})
    ({'loss': 2.0, 'nonfinite/norm': 1.0}, ['task'])
    """
    numbers: dict[str, float] = {}
    invalid = []
    for name, value in values.items():
        try:
            number = float(value)  # type: ignore[arg-type]
        except OverflowError:
            number = math.inf
        except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several numbers
            invalid.append(str(name))
            continue
        if math.isfinite(number):
            numbers[safe_name(str(name))] = number
        else:
            numbers[safe_name(f"nonfinite/{name}")] = 1.0
    return numbers, invalid


def flatten_params(params: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Flatten a nested table to dotted names and strings that MLflow accepts.

    >>> flatten_params({"optimizer": {"lr": 1e-4}, "stages": ["chat"]})
    {'optimizer.lr': '0.0001', 'stages': "['chat']"}
    """
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten_params(value, f"{name}.")
        else:
            flat[safe_name(name)] = shorten(str(value), MAX_PARAM_LENGTH)
    return flat


def shorten(text: str, longest: int) -> str:
    """Truncate a text; a truncated one ends with a digest of the whole, so that changes remain visible."""
    if len(text) <= longest:
        return text
    end = f" ... [{len(text)} characters, {_digest(text)[:8]}]"
    return text[: longest - len(end)] + end


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
