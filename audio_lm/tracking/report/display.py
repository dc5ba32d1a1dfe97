"""Values that a notebook shows as pictures, formatted text and players, without a dependency on one."""

import base64
from dataclasses import dataclass
from html import escape

from matplotlib.figure import Figure

from audio_lm.tracking.report.audio_report import FloatArray, wav_bytes
from audio_lm.tracking.report.figures import figure_png

DOTS_PER_INCH = 110


@dataclass(frozen=True)
class Picture:
    """Picture in the format PNG."""

    png: bytes

    @classmethod
    def of(cls, figure: Figure) -> "Picture":
        """Picture of a figure."""
        return cls(figure_png(figure, dots_per_inch=DOTS_PER_INCH))

    def _repr_png_(self) -> bytes:
        """Content that Jupyter shows."""
        return self.png


class Markdown(str):
    """Text in Markdown."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        """Content that Jupyter shows."""
        return str(self)


class Html(str):
    """Text as HTML, already escaped."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Content that Jupyter shows."""
        return str(self)


@dataclass(frozen=True)
class Sound:
    """Player of a waveform (S,) at 16 kHz, with a line of text."""

    wave: FloatArray
    title: str = ""

    def html(self) -> str:
        """Player and text as HTML."""
        source = base64.b64encode(wav_bytes(self.wave)).decode()
        player = f'<audio controls src="data:audio/wav;base64,{source}"></audio>'
        return f"<div>{escape(self.title)}</div>{player}"

    def _repr_html_(self) -> str:
        """Content that Jupyter shows."""
        return self.html()
