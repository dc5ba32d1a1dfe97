"""Values that a notebook shows as pictures and formatted text, without a dependency on one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """Picture in the format PNG."""

    png: bytes

    def _repr_png_(self) -> bytes:
        """Content that Jupyter shows."""
        return self.png


class Markdown(str):
    """Text in Markdown."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        """Content that Jupyter shows."""
        return str(self)
