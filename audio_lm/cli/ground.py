"""Commands that find words in a recording by a model's time stamps, and edit the recording there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import DryRun, TrustCode, paused_gc
from audio_lm.common.errors import UserError

if TYPE_CHECKING:
    from audio_lm.chat.grounding import Grounding

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Run, exported or published model folder, or a hub name.")
]
Audio = Annotated[Path, typer.Argument(metavar="AUDIO", help="Audio file.")]
Words = Annotated[str, typer.Argument(metavar="WORDS", help="A word, or several in a row, in quotes.")]
Stage = Annotated[
    str | None,
    typer.Option(help="Stage of a run; default the last that was trained with word time stamps."),
]
Task = Annotated[
    str | None, typer.Option(help="srwt-en or srwt-zh; default the one that the model was trained with.")
]
Channel = Annotated[str, typer.Option(help="For multi-channel audio: average, left or right.")]


def ground(
    model: Model,
    audio: Audio,
    words: Words,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: spans, and all words with their times.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(help="Write a PNG of the waveform with the spans.")] = None,
    task: Task = None,
    stage: Stage = None,
    channel: Channel = "average",
    trust_code: TrustCode = False,
) -> None:
    """Find words in a recording: one line with start, end and words for each occurrence, in seconds.

    The model writes the words of the recording with time stamps, which are forced to increase.

    Examples: `audio-lm ground runs/demo-1a2b3c4d clip.wav seven` ·
    `audio-lm ground runs/demo-1a2b3c4d clip.wav "two three" --json` ·
    `audio-lm ground runs/demo-1a2b3c4d clip.wav seven --picture seven.png`
    """
    silence_libraries()
    if picture is not None and picture.suffix.lower() != ".png":
        raise UserError(f"--picture {picture} -- expected a name that ends in .png; rename it")
    with paused_gc():
        found = _find(model, audio, words, (task, stage, channel), trusts_code=trust_code)
        if picture is not None:
            from audio_lm.chat.span_picture import span_picture
            from audio_lm.common.files import write_bytes
            from audio_lm.data.audio.clip_waves import read_wave

            wave = read_wave(audio, channel=channel)
            title = f"{audio.name}: {words!r}, occurrences: {len(found.spans)}"
            picture.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(picture, span_picture(wave, found.units, found.spans, title=title))
    if as_json:
        typer.echo(json.dumps(found.as_record(), ensure_ascii=False))
        return
    for span in found.spans:
        typer.echo(f"{span.start:.2f} {span.end:.2f} {span.words}")
    if not found.spans:
        typer.echo(f"{words!r} was not found; the model reads {found.transcript!r}", err=True)


def edit(
    model: Model,
    audio: Audio,
    words: Words,
    out: Annotated[Path, typer.Option(help="New file, .wav or .flac.")],
    delete: Annotated[bool, typer.Option("--delete", help="Remove the words.")] = False,
    bleep: Annotated[bool, typer.Option("--bleep", help="Put a tone over the words.")] = False,
    replace_with: Annotated[
        Path | None, typer.Option(help="Put this audio file in the place of the words.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Seconds that are added on both sides of the words; default 0.06."),
    ] = None,
    occurrence: Annotated[
        int | None, typer.Option(min=1, help="Number of the occurrence, from 1; default all.")
    ] = None,
    task: Task = None,
    stage: Stage = None,
    channel: Channel = "average",
    dry_run: DryRun = False,
    trust_code: TrustCode = False,
) -> None:
    """Remove, replace or cover words of a recording; the result is a new file, with short crossfades.

    Prints the edited spans. Sampling rate, channels and resolution are those of the recording.

    Examples: `audio-lm edit runs/demo-1a2b3c4d clip.wav seven --delete --out shorter.wav` ·
    `audio-lm edit runs/demo-1a2b3c4d clip.wav seven --bleep --occurrence 2 --out covered.wav` ·
    `audio-lm edit runs/demo-1a2b3c4d clip.wav seven --replace-with eight.wav --out other.wav`
    """
    silence_libraries()
    chosen = [
        name
        for name, is_given in (("delete", delete), ("bleep", bleep), ("replace", replace_with))
        if is_given
    ]
    if len(chosen) != 1:
        raise UserError(
            f"{len(chosen)} edits are given -- expected one of --delete, --bleep and --replace-with FILE; choose one"
        )
    with paused_gc():
        from audio_lm.chat.editing import MARGIN, Edit, choose_spans, edit_file
        from audio_lm.data.audio.edit import check_target

        check_target(out)
        found = _find(model, audio, words, (task, stage, channel), trusts_code=trust_code)
        spans = choose_spans(found, occurrence)
        change = Edit(
            "delete" if delete else "bleep" if bleep else "replace",
            replace_with,
            MARGIN if margin is None else margin,
        )
        if dry_run:
            typer.echo(f"would write {out}; words: {len(spans)}")
        else:
            edit_file(audio, out, spans, change)
    for span in spans:
        typer.echo(f"{span.start:.2f} {span.end:.2f} {span.words}")


def _find(
    model: str, audio: Path, words: str, choices: tuple[str | None, str | None, str], *, trusts_code: bool
) -> "Grounding":
    from audio_lm.chat.grounding import MAX_NEW_TOKENS, STAMP_TASKS, ground
    from audio_lm.run.ask import ClipOptions, open_model

    task, stage, channel = choices
    if task is not None and task not in STAMP_TASKS:
        raise UserError(f"--task {task} -- expected {' or '.join(STAMP_TASKS)}; choose one")
    opened = open_model(model, stage=stage, task=task or STAMP_TASKS, trusts_code=trusts_code)
    options = ClipOptions(channel=channel, max_new_tokens=MAX_NEW_TOKENS)
    return ground(opened, audio, words, task=task, options=options)
