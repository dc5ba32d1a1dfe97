"""Audio report: an HTML page with clips, their log-mels, references and answers.

One HTML file with embedded audio and images. It works without a network, and also
inside MLflow's artifact viewer.
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
from audio_lm.tracking.report.word_diff import UNIT, DiffPiece, word_diff

MAX_COLUMNS = 900  # of a log-mel image; more would not be visible

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class ReportClip:
    """Clip with the answer of a model."""

    cut_id: str
    """Id of the cut."""

    task: str
    """Name of the task."""

    wave: FloatArray
    """(num_samples,), 16 kHz, between -1 and 1; empty for a prompt without audio."""

    log_mel: FloatArray
    """(F, M), the input of the encoder; empty for a prompt without audio."""

    question: str
    """Prompt."""

    reference: str
    """Reference answer."""

    answer: str
    """Answer of the model."""

    stage: str
    """Stage whose model answered."""

    scores: Mapping[str, float] | None = None
    """Metrics of this answer."""


def audio_report(clips: Sequence[ReportClip], *, title: str, subtitle: str = "") -> str:
    """Render the page as HTML; clips are grouped by task and keep their order."""
    num_of_task = Counter(clip.task for clip in clips)
    ordered = sorted(clips, key=lambda clip: list(num_of_task).index(clip.task))
    buttons = "".join(
        f'<button data-task="{escape(task)}">{escape(task)} <small>{count}</small></button>'
        for task, count in num_of_task.items()
    )
    num_right = sum(is_right(clip) for clip in clips)
    value_of_placeholder = {
        "TITLE": escape(title),
        "SUBTITLE": escape(subtitle),
        "COUNT": f"{num_right} of {len(clips)} answers match the reference",
        "TOTAL": str(len(clips)),
        "BUTTONS": buttons,
        "CARDS": "\n".join(_card(clip) for clip in ordered),
    }
    # One pass over the template, so that placeholders in a clip's text are not replaced.
    return "".join(value_of_placeholder.get(part, part) for part in PAGE.split("@@"))


def is_right(clip: ReportClip) -> bool:
    """True if the answer equals the reference or one of its lines; leading and trailing blanks are ignored."""
    references = [clip.reference, *clip.reference.split("\n")]
    return clip.answer.strip() in map(str.strip, references)


def wav_bytes(samples: FloatArray) -> bytes:
    """Encode a waveform as a 16-bit WAV file; values beyond full scale are clipped."""
    full_scale = np.iinfo(np.int16).max
    levels = np.nan_to_num(np.clip(samples, -1.0, 1.0)) * full_scale
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLES_PER_SECOND)
        file.writeframes(levels.round().astype("<i2").tobytes())
    return buffer.getvalue()


def log_mel_png(log_mel: FloatArray) -> bytes:
    """Render a log-mel (F, M) as PNG: time to the right, frequency upwards, at most 900 columns."""
    columns_FM = _downsample(np.nan_to_num(log_mel.astype(np.float32)))
    low, high = float(columns_FM.min()), float(columns_FM.max())
    levels_FM = (columns_FM - low) / max(high - low, 1e-6) * 255
    image = Image.fromarray(levels_FM.T[::-1].round().astype(np.uint8))
    image.putpalette((colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _downsample(log_mel_FM: FloatArray) -> FloatArray:
    """Maximum over groups of frames, so that at most 900 columns remain."""
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
{_audio(clip)}
<p class=question>{_with_markup(clip.question)}</p>
<dl><dt>reference</dt><dd>{_highlight(reference)}</dd><dt>answer</dt><dd>{_highlight(answer)}</dd></dl>
</article>"""


def _audio(clip: ReportClip) -> str:
    if clip.wave.size == 0:
        return "<p class=silent>no audio</p>"
    image = ""
    if clip.log_mel.size:
        source = _inline("image/png", log_mel_png(clip.log_mel))
        image = f'<div class=mel><img alt="log-mel" src="{source}"><i></i></div>'
    source = _inline("audio/wav", wav_bytes(clip.wave))
    return f'{image}<audio controls preload="metadata" src="{source}"></audio>'


def _inline(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _highlight(pieces: Sequence[DiffPiece]) -> str:
    if not pieces:
        return "<em>empty</em>"
    return "".join((" " if piece.is_spaced else "") + _span(piece.text, piece.kind) for piece in pieces)


def _span(text: str, kind: str) -> str:
    classes = [kind] if kind != "same" else []
    if text.startswith("<|"):
        classes.append("markup")
        text = text.removeprefix("<|").removesuffix("|>")
    return f'<span class="{" ".join(classes)}">{escape(text)}</span>' if classes else escape(text)


def _with_markup(text: str) -> str:
    """Escape a text as HTML, with markup tokens as labels and line breaks kept."""
    html, end = [], 0
    for unit in UNIT.finditer(text):
        html += [escape(text[end : unit.start()]), _span(unit.group(), "same")]
        end = unit.end()
    return "".join(html) + escape(text[end:])
