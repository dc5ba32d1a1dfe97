"""The results of ``audio-lm bench gpu`` as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from audio_lm.bench.gpu.parts import STEP_PARTS
from audio_lm.common.markdown_table import markdown_table

MISSING = "-"
GIB = 2**30


def markdown(content: Mapping[str, Any]) -> str:
    """Page of the results, complete at any time."""
    parts = {part["name"]: part for part in content["parts"]}
    title = "Rehearsal on a CPU: no figure is one of a GPU" if content["is_rehearsal"] else "Figures of a GPU"
    if not content["has_gpu"] and not content["is_rehearsal"]:
        title = "No GPU: tests that a CPU runs"
    lines = [f"# {title}", "", *_states(content["parts"])]
    if figures := parts.get("machine", {}).get("figures"):
        lines += [
            "",
            "## Machine",
            "",
            *_table(["", ""], [[name, _text(value)] for name, value in figures.items()]),
        ]
    if figures := parts.get("tests", {}).get("figures"):
        lines += ["", "## Tests", "", *_tests(figures)]
    steps = {name: parts[name]["figures"] for name in STEP_PARTS if parts.get(name, {}).get("figures")}
    if steps:
        lines += ["", "## Steps", "", *_steps(steps)]
    if figures := parts.get("loader", {}).get("figures"):
        lines += ["", "## Loader", "", *_loader(figures, steps)]
    if figures := parts.get("demo", {}).get("figures"):
        lines += ["", "## Demo", "", *_demo(figures)]
    return "\n".join(lines) + "\n"


def _states(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [[part["title"], part["status"], f"{part['seconds']:.0f}", part["why"]] for part in parts]
    return _table(["part", "state", "seconds", "note"], rows)


def _tests(figures: Mapping[str, Any]) -> Iterator[str]:
    passed, failed, skipped = figures["passed"], len(figures["failed"]), figures["skipped"]
    yield f"{passed} passed, {failed} failed, {skipped} skipped, in {figures['files']} files."
    if figures.get("note"):
        yield figures["note"]
    if figures.get("not_run"):
        yield f"Not run, because packages are missing (see gpu.log): {', '.join(figures['not_run'])}."
    if figures["failed"]:
        yield ""
        yield from (f"* `{name}`" for name in figures["failed"])


def _steps(steps: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    rows = []
    for stage, figures in steps.items():
        batch = figures.get("peer_batch", MISSING)
        for way in ("eager", "compiled"):
            seconds = figures.get("ours_s" if way == "eager" else "compiled_s")
            prefix = "" if way == "eager" else "compiled_"
            rows.append(
                [
                    stage,
                    way,
                    _text(seconds),
                    _text(figures.get(f"{way}_audio_s_per_s")),
                    _percent(figures.get(f"{way}_mfu_of_peak")),
                    _percent(figures.get(f"{way}_mfu_of_matrix")),
                    f"{_text(figures.get('theirs_s'))} (batch {batch})",
                    _text(figures.get(f"{prefix}ratio")),
                    _text(figures.get(f"{prefix}singles_ratio")),
                ]
            )
    names = (
        "stage|layers|ours, s|audio-s/s|MFU of peak|of matrix product|Hugging Face, s|ratio|ratio to batch 1"
    )
    yield from _table(names.split("|"), rows)
    for stage, figures in steps.items():
        yield ""
        yield from _conditions(stage, figures)


def _conditions(stage: str, figures: Mapping[str, Any]) -> Iterator[str]:
    weights = ", ".join(f"{name} {count / 1e9:.3f} B" for name, count in figures.get("weights", {}).items())
    yield (
        f"* {stage}: {figures.get('clips')} clips of {_text(figures.get('mean_clip_s'))} s in {figures.get('tokens')} tokens; "
        f"{weights}"
    )
    if "peak_bytes" in figures:
        peak, planned = figures["peak_bytes"] / GIB, figures["planned_bytes"] / GIB
        share = 100 * planned / max(peak, 1e-9)
        yield f"* {stage}: peak above the weights {peak:.2f} GiB, planned {planned:.2f} ({share:.0f} %)"
    if "loss_difference" in figures:
        yield (
            f"* {stage}: losses of both models differ by {figures['loss_difference']:.1e}, gradients by "
            f"{figures['gradient_difference']:.1e}; of one weight most by {figures['largest_difference']:.1e} "
            f"(`{figures['largest_in']}`)"
        )
    if figures.get("theirs_s", 0.0) is None:
        yield f"* {stage}: Hugging Face's step of batch {figures['peer_batch']} does not fit the memory"
    if "single_note" in figures:
        yield f"* {stage}: {figures['single_note']}"


def _loader(figures: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    rates = {name.split("_")[1]: rate for name, rate in figures.items() if name.startswith("workers_")}
    yield from _table(
        ["workers", "audio-s/s on the device"], [[name, _text(rate)] for name, rate in rates.items()]
    )
    for stage, of_stage in steps.items():
        needed = max(of_stage.get(f"{way}_audio_s_per_s") or 0.0 for way in ("eager", "compiled"))
        enough = [name for name, rate in rates.items() if rate >= needed > 0]
        if needed:
            yield ""
            yield f"* {stage} reads {needed:.0f} audio-s/s: " + (
                f"{enough[0]} workers suffice"
                if enough
                else "no number of workers that was measured suffices"
            )


def _demo(figures: Mapping[str, Any]) -> Iterator[str]:
    yield f"    {figures.get('command', '')}"
    yield ""
    state = "stopped by its time limit" if figures.get("stopped") else f"exit code {figures.get('exit_code')}"
    finished = ", ".join(figures.get("finished", [])) or "none"
    yield f"{state} after {figures.get('seconds', 0.0):.0f} s; finished stages: {finished}"
    yield ""
    yield from (f"    {line}" for line in figures.get("output", ()))


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return markdown_table([names, *rows]).splitlines()


def _text(value: Any) -> str:
    if value is None:
        return MISSING
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.1f} %"
