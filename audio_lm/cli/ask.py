"""Command that answers a question about audio files."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import Json, TrustCode, paused_gc
from audio_lm.common.errors import UserError

if TYPE_CHECKING:
    from audio_lm.run.ask import Answer


def ask(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Run, exported or published model folder, or a hub name.")
    ],
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP...", help="Audio files.")],
    task: Annotated[
        str | None,
        typer.Option(help="Task to answer for each clip, such as asr; `chat` for the clips alone."),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="Question in words about all clips together, instead of a task.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="tags, natural or chatml; default that of the training.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Stage of a run; default the last that was trained with the task.")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Spoken language, such as en; by default the model detects it where tags need it."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Another label that the question needs, such as target_language=de; may be repeated."
        ),
    ] = None,
    long_audio: Annotated[
        str, typer.Option(help="A clip over 30 s: error, or truncate to its first 30 s.")
    ] = "error",
    channel: Annotated[
        str, typer.Option(help="For multi-channel audio: average, left or right.")
    ] = "average",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer.")] = 256,
    as_json: Json = False,
    trust_code: TrustCode = False,
) -> None:
    """Answer a question about audio files; the answer, and nothing else, is printed to stdout.

    Without task and question, a chat model answers the clip itself, and another model the only task that it was trained with.

    Examples: `audio-lm ask runs/demo-1a2b3c4d clip.wav --task asr` · `audio-lm ask exported a.wav --question "Who speaks?"` ·
    `audio-lm ask Qwen2-Audio-7B-Instruct question.mp3 --json` · `audio-lm ask runs/demo-1a2b3c4d a.wav b.wav --task asr`
    """
    silence_libraries()
    if long_audio not in ("error", "truncate"):
        raise UserError(f"--long-audio {long_audio} -- expected error or truncate; choose one")
    labels = {**parse_labels(label or []), **({"language": language} if language else {})}
    with paused_gc():  # until the answer: a collection would scan the objects of large libraries
        from audio_lm.run.ask import ClipOptions, open_model

        opened = open_model(model, stage=stage, task=task, trusts_code=trust_code)
        options = ClipOptions("truncate" if long_audio == "truncate" else "error", channel, max_new_tokens)
        answers = opened.ask(
            clips, task=task, question=question, prompt=prompt, labels=labels, options=options
        )
        _print(answers, num_clips=len(clips), as_json=as_json)


def _print(answers: "Iterable[Answer]", *, num_clips: int, as_json: bool) -> None:
    """Print answers as JSON, or one per line; an answer about all clips as it is."""
    if as_json:
        typer.echo(json.dumps([asdict(answer) for answer in answers], indent=1, ensure_ascii=False))
        return
    for answer in answers:
        is_only = num_clips == len(answer.paths)
        typer.echo(answer.text if is_only else " ".join(answer.text.splitlines()))


def parse_labels(pairs: list[str]) -> dict[str, str]:
    """Labels from ``name=value``.

    Raises:
        UserError: a pair has no ``=``.
    """
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise UserError(
            f"--label {wrong[0]} -- expected name=value, such as target_language=de; add the value"
        )
    return dict(pair.split("=", 1) for pair in pairs)  # type: ignore[misc]
