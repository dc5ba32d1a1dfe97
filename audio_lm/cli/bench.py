"""Benchmark commands: ``audio-lm bench loader``, ``bench step``, ``bench dpo``, ``bench chat`` and others.

As in ``cli.main``, a command imports its work when it runs.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import Json, Overrides, TrustCode

bench = typer.Typer(no_args_is_help=True, help="Measure speed and memory on this machine.")


@bench.command("loader")
def bench_loader(
    as_json: Json = False,
) -> None:
    """Measure the data loader: order, audio decoding and packing; takes about two minutes.

    Example: `audio-lm bench loader --json`
    """
    silence_libraries()
    from audio_lm.bench.loader import bench_loader as run_bench

    _print_figures(run_bench(), as_json=as_json)


@bench.command("import")
def bench_import(
    as_json: Json = False,
) -> None:
    """Measure the import of a table: a row, the same import repeated, compressed audio; takes about a minute.

    Example: `audio-lm bench import --json`
    """
    silence_libraries()
    from audio_lm.bench.imports import bench_import as run_bench

    _print_figures(run_bench(), as_json=as_json)


@bench.command("dpo")
def bench_dpo(
    as_json: Json = False,
) -> None:
    """Measure a step of DPO whose pairs share the encoding of their audio, against one without sharing; takes a minute.

    Example: `audio-lm bench dpo --json`
    """
    silence_libraries()
    from audio_lm.bench.preference import bench_preference

    _print_figures(bench_preference(), as_json=as_json)


@bench.command("score")
def bench_score(
    metrics: Annotated[
        list[str] | None, typer.Option("--metrics", metavar="METRIC,...", help="Only these metrics.")
    ] = None,
    predictions: Annotated[int, typer.Option(min=2, help="Number of predictions.")] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line per metric.")] = False,
) -> None:
    """Measure the seconds of one core that each metric takes for 10 000 predictions; takes about two minutes.

    Examples: `audio-lm bench score` · `audio-lm bench score --metrics wer,acc_mmau --json`
    """
    silence_libraries()
    from dataclasses import asdict

    from audio_lm.bench.scores import bench_score as run_bench
    from audio_lm.metrics.registry import find_metric

    names = [find_metric(name.strip()).name for value in metrics or () for name in value.split(",")]
    for figure in run_bench(num_predictions=predictions, names=names):
        if as_json:
            typer.echo(json.dumps(asdict(figure)))
        else:
            value = f"not measured: {figure.reason}" if figure.seconds is None else f"{figure.seconds:8.2f} s"
            typer.echo(f"{figure.metric:22} {value}")


@bench.command("closed")
def bench_closed(
    as_json: Json = False,
) -> None:
    """Measure how much faster labels are chosen by probability than generated; takes about a minute.

    Example: `audio-lm bench closed --json`
    """
    silence_libraries()
    from audio_lm.bench.closed import bench_closed as run_bench

    _print_figures(run_bench(), as_json=as_json)


@bench.command("checkpoint")
def bench_checkpoint(
    as_json: Json = False,
) -> None:
    """Measure how long training waits for a checkpoint on this folder's disk, and the memory of each rank; takes a minute.

    Example: `audio-lm bench checkpoint --json`
    """
    silence_libraries()
    from audio_lm.bench.checkpoint import bench_checkpoint as run_bench

    _print_figures(run_bench(), as_json=as_json)


@bench.command("chat")
def bench_chat(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="Run or model folder; default a small model with random weights."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=30, help="Length of each of the four clips.")] = 20.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer.")] = 24,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions; medians are reported.")] = 3,
    as_json: Json = False,
    trust_code: TrustCode = False,
) -> None:
    """Compare turn 5 of a conversation with four clips with starting over: time, and greedy tokens of all turns.

    Examples: `audio-lm bench chat` · `audio-lm bench chat runs/demo-1a2b3c4d --seconds 2 --json`
    """
    silence_libraries()
    from dataclasses import asdict

    from audio_lm.chat.session import open_chat_model
    from audio_lm.chat.speed import bench_turns, format_turns, small_chat_model

    loaded = small_chat_model() if model is None else open_chat_model(model, trusts_code=trust_code)
    figures = bench_turns(loaded, seconds=seconds, new_tokens=max_new_tokens, rounds=rounds)
    typer.echo(json.dumps(asdict(figures)) if as_json else "\n".join(format_turns(figures)))


@bench.command("ground")
def bench_ground(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Run or model folder.")],
    source: Annotated[
        str, typer.Argument(help="Cut-set with the times of its words, such as fsdd/strings-test.")
    ],
    data_dir: Annotated[Path, typer.Option(help="Folder of the cut-sets.")] = Path("data"),
    clips: Annotated[int, typer.Option(min=1, help="Number of clips, from the first.")] = 100,
    as_json: Json = False,
    trust_code: TrustCode = False,
) -> None:
    """Find a word in each of some clips and delete it: error of its times, and words that are left.

    Example: `audio-lm bench ground runs/spoken_digits-1a2b3c4d fsdd/strings-test`
    """
    silence_libraries()
    from dataclasses import asdict
    from itertools import islice

    from audio_lm.chat.grounding import STAMP_TASKS
    from audio_lm.chat.grounding_score import format_grounding, score_grounding
    from audio_lm.data.manifest.cuts import read_cuts
    from audio_lm.run.ask import open_model

    opened = open_model(model, task=STAMP_TASKS, trusts_code=trust_code)
    figures = score_grounding(opened, [*islice(read_cuts(data_dir, source), clips)])
    typer.echo(json.dumps(asdict(figures)) if as_json else format_grounding(figures))


@bench.command("contamination")
def bench_contamination(
    rows: Annotated[int, typer.Option(min=30, help="Rows of benchmark and training together.")] = 100_000,
    as_json: Json = False,
) -> None:
    """Measure the search of `plan` for test clips in training data: planted clips found, false alarms, time; takes two minutes.

    Example: `audio-lm bench contamination --json`
    """
    silence_libraries()
    from audio_lm.bench.contamination import bench_contamination as run_bench

    _print_figures(run_bench(num_rows=rows), as_json=as_json)


@bench.command("regression")
def bench_regression(
    folder: Annotated[
        Path, typer.Argument(help="Recorded runs of RegMix: tables of mixtures and losses at 1M, 60M and 1B.")
    ],
    search: Annotated[
        bool, typer.Option("--search", help="Count the trials of a search instead; takes about an hour.")
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Random subsets, or searches.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line per figure.")] = False,
) -> None:
    """Measure mixture regression on recorded runs: rank correlation with unseen mixtures, or trials until the best one.

    Examples: `audio-lm bench regression regmix` · `audio-lm bench regression regmix --search --repeats 20`
    """
    from dataclasses import asdict

    from audio_lm.sweep.recorded import measure_ranks, measure_search, rank_line, search_line

    if search:
        for found in measure_search(folder, repeats=repeats):
            typer.echo(json.dumps(asdict(found)) if as_json else search_line(found))
        return
    for num_runs in (17, 34):
        for figures in measure_ranks(folder, num_runs, repeats):
            typer.echo(json.dumps(asdict(figures)) if as_json else rank_line(figures))


@bench.command("generate")
def bench_generate(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="Run folder; default a model of the demo's size, random weights."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Cut-set of the questions, such as synthetic/digits-test; default clips of noise."),
    ] = None,
    task: Annotated[str, typer.Option(help="Task of the questions.")] = "asr",
    stage: Annotated[
        str | None, typer.Option(help="Stage of the run; default the last with weights.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder of the cut-sets.")] = Path("data"),
    clips: Annotated[int, typer.Option(min=1, help="Number of questions.")] = 64,
    max_seconds: Annotated[
        float, typer.Option(min=1, max=30, help="Longest clip of noise; the shortest has one second.")
    ] = 3.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions; medians are reported.")] = 3,
    as_json: Json = False,
    trust_code: TrustCode = False,
) -> None:
    """Compare an evaluation's answers per second with the `generate` of transformers on the exported model; takes two minutes.

    Examples: `audio-lm bench generate --json` ·
    `audio-lm bench generate runs/demo-1a2b3c4d --stage pretrain --source synthetic/digits-test`
    """
    silence_libraries()
    from dataclasses import asdict

    from audio_lm.export.speed import GenerateSettings, format_generate
    from audio_lm.export.speed import bench_generate as run_bench

    settings = GenerateSettings(
        clips=clips,
        max_new_tokens=max_new_tokens,
        rounds=rounds,
        source=source,
        max_seconds=max_seconds,
        data_dir=str(data_dir),
        task=task,
        stage=stage,
    )
    figures = run_bench(run, settings, trusts_code=trust_code)
    typer.echo(json.dumps(asdict(figures)) if as_json else "\n".join(format_generate(figures)))


@bench.command("step")
def bench_step(
    model: Annotated[
        str | None,
        typer.Option(help="Name of a file in conf/model/, with random weights; default a small model."),
    ] = None,
    parts: Annotated[str | None, typer.Option(help="Trained parts: encoder, llm, lora or all.")] = None,
    vocabulary: Annotated[int, typer.Option(help="Rows of the language model's embedding tables.")] = 32_000,
    clips: Annotated[int, typer.Option(help="Clips in a step, all in one pack.")] = 4,
    peer_batch: Annotated[int, typer.Option(help="Batch size of Hugging Face's model.")] = 4,
    batches: Annotated[int, typer.Option(help="Number of different steps.")] = 4,
    rounds: Annotated[int, typer.Option(help="Repetitions of each step; medians are reported.")] = 3,
    device: Annotated[str, typer.Option(help="cpu (one thread, process time) or cuda.")] = "cpu",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile our layers with torch.compile.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare a training step with Hugging Face's Qwen2-Audio on the same clips: time, memory, equal losses.

    Without --model and --parts: the two stages and two vocabulary sizes of the project's speed targets, and log-mel;
    takes ten minutes.

    Examples: `audio-lm bench step` · `audio-lm bench step --parts lora --json` ·
    `audio-lm bench step --model qwen2_audio_7b --parts llm --vocabulary 151936 --clips 86 --peer-batch 8 --device cuda`
    """
    silence_libraries()
    from dataclasses import asdict

    from audio_lm.bench.step import SMALL, Bench
    from audio_lm.bench.step import bench_step as measure
    from audio_lm.bench.table import bench_steps, format_figures
    from audio_lm.config.load import load_recipe

    base = Bench(
        model=SMALL if model is None else load_recipe("demo", [f"use.model={model}"]).recipe.model,
        stage=parts or "encoder",
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

    if model is None and parts is None:
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


@bench.command("gpu")
def bench_gpu(
    minutes: Annotated[float, typer.Option(min=0.1, help="Time of all parts together.")] = 9.0,
    out: Annotated[Path, typer.Option(help="Folder of gpu.json, gpu.md and gpu.log.")] = Path("gpu"),
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Go through all parts with a tiny model on the CPU.")
    ] = False,
) -> None:
    """Test and measure the GPU of this machine: tests, steps at published size beside Hugging Face's, loader, a short run.

    Results are written after every figure. Without a GPU, only the halves of the tests that a CPU runs are run.

    Examples: `audio-lm bench gpu` · `audio-lm bench gpu --rehearse --minutes 4 --out rehearsal`
    """
    silence_libraries()
    from audio_lm.bench.gpu.run import bench_gpu as measure

    results = measure(out, minutes=minutes, is_rehearsal=rehearse, report=typer.echo)
    typer.echo(f"results in {out / 'gpu.md'}")
    if results.has_failures:
        raise typer.Exit(1)


@bench.command("sweep-noise")
def bench_sweep_noise(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A sweep file, or the name of one in recipes/sweeps/.")
    ],
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=6, help="Seeds, with two trials each.")] = 6,
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time.")] = 1,
    as_json: Json = False,
    trust_code: TrustCode = False,
) -> None:
    """Measure by how much common random numbers reduce the variance of a difference between two mixtures of a sweep.

    Trains two mixtures with each seed, in `sweeps/<name>-<signature>-seeds`; an interrupted measurement goes on.

    Examples: `audio-lm bench sweep-noise demo_mixture` · `audio-lm bench sweep-noise demo_mixture --seeds 8 --json`
    """
    silence_libraries()
    from dataclasses import asdict

    from audio_lm.fault_tolerance.exit_status import STOPPED_BY_SIGNAL
    from audio_lm.sweep.paired_seeds import measured_variances
    from audio_lm.sweep.start import make_worker, open_paired_seeds, run_workers

    def report(line: str) -> None:
        typer.echo(line, err=as_json)

    ledger = open_paired_seeds(file, overrides or [], seeds, trusts_code=trust_code, report=report)
    report(f"folder {ledger.folder}")
    code = make_worker(ledger, report).work() if workers == 1 else run_workers(ledger, workers)
    if code:
        raise typer.Exit(STOPPED_BY_SIGNAL)
    found = measured_variances(ledger.state())
    for one in found:
        report(one.sentence)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))


def _print_figures(result: Any, *, as_json: bool) -> None:
    from dataclasses import asdict

    figures = asdict(result)
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        for name, value in figures.items():
            typer.echo(f"{name:22} {value:,.4g}")
