"""A page to listen to: clips with their log-mel, the reference and the answer.

One HTML file that holds its sounds and pictures itself, works without a
network, and plays inside MLflow's page too.
"""

import base64
import io
import wave
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.tracking.report.page import PAGE
from audio_lm.tracking.report.word_diff import UNIT, Piece, word_diff

MAX_COLUMNS = 900  # of a picture; more would not be seen

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class ReportClip:
    """A clip a model was asked about."""

    cut_id: str
    """Of the cut."""

    task: str
    """Name of the task."""

    wave: FloatArray
    """(num_samples,), 16 kHz, within -1 and 1; empty where there is no sound."""

    log_mel: FloatArray
    """(F, M) as the encoder sees it; empty where there is no sound."""

    question: str
    """The prompt."""

    reference: str
    """What the answer should be."""

    answer: str
    """What it is."""

    stage: str
    """Whose model answered."""

    scores: Mapping[str, float] | None = None
    """Of this one answer."""


def audio_report(clips: Sequence[ReportClip], *, title: str, subtitle: str = "") -> str:
    """The page as one HTML text; clips of a task stand together, in the order given."""
    num_of_task = Counter(clip.task for clip in clips)
    ordered = sorted(clips, key=lambda clip: list(num_of_task).index(clip.task))
    buttons = "".join(
        f'<button data-task="{escape(task)}">{escape(task)} <small>{count}</small></button>'
        for task, count in num_of_task.items()
    )
    num_right = sum(is_right(clip) for clip in clips)
    value_of_place = {
        "TITLE": escape(title),
        "SUBTITLE": escape(subtitle),
        "COUNT": f"{num_right} of {len(clips)} answers are as the reference",
        "TOTAL": str(len(clips)),
        "BUTTONS": buttons,
        "CARDS": "\n".join(_card(clip) for clip in ordered),
    }
    # One pass over the template, so that a clip's own text is never taken for a place.
    return "".join(value_of_place.get(part, part) for part in PAGE.split("@@"))


def is_right(clip: ReportClip) -> bool:
    """Whether the answer reads as the reference, or as one line of several; blanks at the ends do not count."""
    references = [clip.reference, *clip.reference.split("\n")]
    return clip.answer.strip() in map(str.strip, references)


def wav_bytes(samples: FloatArray) -> bytes:
    """A waveform as a 16-bit WAV file; what is beyond full scale is clipped."""
    loudest = np.iinfo(np.int16).max
    numbers = np.nan_to_num(np.clip(samples, -1.0, 1.0)) * loudest
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLES_PER_SECOND)
        file.writeframes(numbers.round().astype("<i2").tobytes())
    return buffer.getvalue()


def log_mel_png(log_mel: FloatArray) -> bytes:
    """(F, M) as a picture with time to the right and pitch upwards, at most 900 columns wide."""
    columns_FM = _narrowed(np.nan_to_num(log_mel.astype(np.float32)))
    low, high = float(columns_FM.min()), float(columns_FM.max())
    levels_FM = (columns_FM - low) / max(high - low, 1e-6) * 255
    picture = Image.fromarray(levels_FM.T[::-1].round().astype(np.uint8))
    picture.putpalette((colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _narrowed(log_mel_FM: FloatArray) -> FloatArray:
    """The loudest of every few frames."""
    factor = -(-len(log_mel_FM) // MAX_COLUMNS)
    if factor <= 1:
        return log_mel_FM
    starts = np.arange(0, len(log_mel_FM), factor)
    return np.maximum.reduceat(log_mel_FM, starts, axis=0)


def _card(clip: ReportClip) -> str:
    reference, answer = word_diff(clip.reference.strip(), clip.answer.strip())
    verdict = "right" if is_right(clip) else "off"
    scores = "".join(
        f"<span class=score>{escape(name)} <b>{value:.3g}</b></span>"
        for name, value in (clip.scores or {}).items()
    )
    return f"""<article class="{verdict}" data-task="{escape(clip.task)}">
<header><span class=task>{escape(clip.task)}</span><code>{escape(clip.cut_id)}</code>
<span class=stage>{escape(clip.stage)}</span>{scores}</header>
{_sound(clip)}
<p class=question>{_with_markup(clip.question)}</p>
<dl><dt>reference</dt><dd>{_marked(reference)}</dd><dt>answer</dt><dd>{_marked(answer)}</dd></dl>
</article>"""


def _sound(clip: ReportClip) -> str:
    if clip.wave.size == 0:
        return "<p class=silent>no sound</p>"
    picture = ""
    if clip.log_mel.size:
        source = _inline("image/png", log_mel_png(clip.log_mel))
        picture = f'<div class=mel><img alt="log-mel" src="{source}"><i></i></div>'
    source = _inline("audio/wav", wav_bytes(clip.wave))
    return f'{picture}<audio controls preload="metadata" src="{source}"></audio>'


def _inline(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _marked(pieces: Sequence[Piece]) -> str:
    if not pieces:
        return "<em>nothing</em>"
    return "".join((" " if piece.is_spaced else "") + _span(piece.text, piece.kind) for piece in pieces)


def _span(text: str, kind: str) -> str:
    classes = [kind] if kind != "same" else []
    if text.startswith("<|"):
        classes.append("markup")
        text = text.removeprefix("<|").removesuffix("|>")
    return f'<span class="{" ".join(classes)}">{escape(text)}</span>' if classes else escape(text)


def _with_markup(text: str) -> str:
    """A text with its markup tokens as small labels and its lines kept."""
    html, end = [], 0
    for unit in UNIT.finditer(text):
        html += [escape(text[end : unit.start()]), _span(unit.group(), "same")]
        end = unit.end()
    return "".join(html) + escape(text[end:])
