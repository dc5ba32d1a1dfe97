"""The best mixture as a piece of ``conf/mixture/``, ready to train."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from audio_lm.common.errors import UserError
from audio_lm.common.files import write_text
from audio_lm.data.config import MixtureConfig

MARK = "# Written by `audio-lm sweep report`"
"""First line of such a file: only files with it are replaced."""


def write_mixture(mixture: MixtureConfig, path: Path, comments: Sequence[str]) -> None:
    """Write a mixture, without the settings that have their defaults.

    Args:
        comments: lines about the origin of the shares.

    Raises:
        UserError: a file that somebody else wrote is there.
    """
    if path.exists() and not path.read_text(errors="replace").startswith(MARK):
        raise UserError(
            f"{path}: exists and was not written by a sweep -- expected a free name -- choose another with --name"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [MARK, *(f"# {' '.join(comment.split())}" for comment in comments)]
    text = yaml.safe_dump(
        _settings(mixture), sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )
    write_text(path, "\n".join(lines) + f"\n{text}")


def _settings(config: Any) -> dict[str, Any]:
    """Fields of a configuration that differ from their defaults."""
    found: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if value != default:
            found[item.name] = _settings(value) if is_dataclass(value) else _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: asdict(inner) if is_dataclass(inner) and not isinstance(inner, type) else inner
            for key, inner in value.items()
        }
    return value
