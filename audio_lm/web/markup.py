"""HTML of a conversation: every text is escaped, so that neither a model nor a file name can add markup.

Words between time stamps become buttons that play their span. The page's script replaces only the turns that have
changed, so that an audio keeps playing while an answer grows.
"""

import html
import json
from collections.abc import Sequence

from audio_lm.web.clips import ShownClip
from audio_lm.web.grounded import Span, split_spans
from audio_lm.web.sessions import Turn


def conversation_json(turns: Sequence[Turn]) -> str:
    """HTML of each turn, as the JSON list that the page's script reads."""
    shown, clips = [], list[ShownClip]()
    for turn in turns:
        first = len(clips) + 1
        clips += turn.clips
        shown.append(_question(turn, first) if turn.role == "user" else _answer(turn, clips))
    return json.dumps(shown)


def _question(turn: Turn, first_number: int) -> str:
    figures = "".join(_figure(clip, number) for number, clip in enumerate(turn.clips, start=first_number))
    text = f"Find: {turn.text}" if turn.is_search else turn.text
    words = f'<p class="words">{_text(text)}</p>' if text else ""
    return f'<article class="turn question">{figures}{words}</article>'


def _figure(clip: ShownClip, number: int) -> str:
    name = _text(clip.name)
    return (
        f'<figure class="clip" data-clip="{clip.token}"><figcaption><b>Audio {number}</b> <span>{name}</span> '
        f"<small>{clip.seconds:.1f} s</small></figcaption>"
        f'<div class="mel"><img src="clips/{clip.token}.png" alt="log-mel spectrogram of audio {number}"><i></i><b></b></div>'
        f'<audio controls preload="metadata" src="clips/{clip.token}.wav"></audio></figure>'
    )


def _answer(turn: Turn, clips: Sequence[ShownClip]) -> str:
    if turn.error:
        return f'<article class="turn answer failed"><p class="words">{_text(turn.error)}</p></article>'
    pieces = [
        _word(piece, clips, is_found=_is_found(piece, turn)) if isinstance(piece, Span) else _text(piece)
        for piece in split_spans(turn.text, num_clips=len(clips))
    ]
    words = "".join(pieces)
    if not words and not turn.is_open:
        words = "<em>no answer</em>"
    state = "open" if turn.is_open else "done"
    return f'<article class="turn answer {state}"><p class="words">{words}</p></article>'


def _is_found(span: Span, turn: Turn) -> bool:
    return any(found.start <= span.start and span.end <= found.end for found in turn.found)


def _word(span: Span, clips: Sequence[ShownClip], *, is_found: bool) -> str:
    clip = clips[span.clip - 1]
    if span.start >= clip.seconds or span.end <= span.start:
        return _text(span.text)
    start, end = f"{span.start:.2f}", f"{span.end:.2f}"
    kind = "span found" if is_found else "span"
    return (
        f'<button class="{kind}" data-clip="{clip.token}" data-start="{start}" data-end="{end}" '
        f'title="play audio {span.clip}, {start} to {end} s">{_text(span.text)}<small>{start}</small></button>'
    )


def _text(text: str) -> str:
    return html.escape(text, quote=True)
