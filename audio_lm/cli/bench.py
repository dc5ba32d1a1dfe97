"""The commands that measure: ``audio-lm bench loader``, ``bench step`` and ``bench checkpoint``.

As in ``cli``, every command imports its work when it runs.
"""

import json
from typing import Annotated, Any

import typer

from audio_lm.cli.options import quiet

bench = typer.Typer(
    no_args_is_help=True, help="Measure speed and memory; ratios and figures of this machine."
)


@bench.command("loader")
def bench_loader(
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Measure how clips are ordered, read and packed; takes about two minutes.

    Example: `audio-lm bench loader --json`
    """
    quiet()
    from audio_lm.bench.loader import bench_loader as measure

    _show(measure(), as_json=as_json)


@bench.command("checkpoint")
def bench_checkpoint(
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Measure what a checkpoint costs on the disk of this folder, and what each of several ranks holds; a minute.

    Example: `audio-lm bench checkpoint --json`
    """
    quiet()
    from audio_lm.bench.checkpoint import bench_checkpoint as measure

    _show(measure(), as_json=as_json)


@bench.command("step")
def bench_step(
    model: Annotated[
        str | None,
        typer.Option(help="A piece of conf/model/, random weights; default a small one."),
    ] = None,
    stage: Annotated[str | None, typer.Option(help="encoder, llm, lora or all; who learns.")] = None,
    vocabulary: Annotated[int, typer.Option(help="Rows of the language model's tables.")] = 32_000,
    clips: Annotated[int, typer.Option(help="Of a step, in one pack of ours.")] = 4,
    peer_batch: Annotated[int, typer.Option(help="Clips that Hugging Face's model takes at once.")] = 4,
    batches: Annotated[int, typer.Option(help="Different steps.")] = 4,
    rounds: Annotated[int, typer.Option(help="Times each is taken; medians are reported.")] = 3,
    device: Annotated[str, typer.Option(help="cpu (one thread, process time) or cuda.")] = "cpu",
    compiled: Annotated[bool, typer.Option("--compile", help="Our layers through torch.compile.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Measure a training step beside Hugging Face's Qwen2-Audio on the same clips: time, memory, equality.

    Without --model and --stage: the two stages and two vocabularies the project is held to, and log-mel; ten minutes.

    Examples: `audio-lm bench step` · `audio-lm bench step --stage lora --json` ·
    `audio-lm bench step --model qwen2_audio_7b --stage llm --vocabulary 151936 --clips 86 --peer-batch 8 --device cuda`
    """
    quiet()
    from dataclasses import asdict

    from audio_lm.bench.step import SMALL, Bench
    from audio_lm.bench.step import bench_step as measure
    from audio_lm.bench.table import bench_steps, format_figures
    from audio_lm.config.load import load_recipe

    base = Bench(
        model=SMALL if model is None else load_recipe("demo", [f"use.model={model}"]).recipe.model,
        stage=stage or "encoder",
        num_ids=vocabulary,
        clips=clips,
        peer_batch=peer_batch,
        batches=batches,
        rounds=rounds,
        device=device,
        compiled=compiled,
    )

    def report(line: str) -> None:
        typer.echo(line, err=as_json)

    if model is None and stage is None:
        table = bench_steps(base, report=report)
        for name, ratio in table.ratios.items():
            report(f"{name:28} {ratio:.2f} x")
        figures = asdict(table)
    else:
        measured = measure(base)
        for line in format_figures(measured):
            report(line)
        figures = asdict(measured)
    if as_json:
        typer.echo(json.dumps(figures))


def _show(measured: Any, *, as_json: bool) -> None:
    from dataclasses import asdict

    figures = asdict(measured)
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        for name, value in figures.items():
            typer.echo(f"{name:22} {value:,.4g}")
