"""Tables of a recipe's estimates."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from audio_lm.preview.estimate import NUM_LONGEST, SourceEstimate, StageEstimate


def _limited_rows(leaves: Sequence[SourceEstimate]) -> Iterator[str]:
    for leaf in leaves:
        if leaf.clips < leaf.all_clips:
            yield f"max_rows: {leaf.clips:,} of {leaf.all_clips:,} rows of {leaf.source} under {leaf.task}"


def print_estimates(stages: Sequence[StageEstimate], console: Console) -> None:
    """Print a table for each stage, its memory and its warnings."""
    for stage in stages:
        measured = "measured" if all(leaf.is_measured for leaf in stage.leaves) else "from published sizes"
        padding = "" if stage.padding is None else f", {100 * stage.padding:.1f} % padding as rows"
        table = Table(
            title=f"{stage.name}: {stage.steps:,} steps of {stage.conversations_per_step:,.1f} conversations in "
            f"{stage.packs_per_step} x {stage.pack_tokens:,} tokens, {100 * stage.fill:.1f} % filled{padding} ({measured})"
        )
        for name in ("task", "source"):
            table.add_column(name)
        for name in (
            "hours",
            "clips",
            "weight",
            "tokens each",
            "clips drawn",
            "hours drawn",
            "% clips",
            "% tokens",
            "epochs",
        ):
            table.add_column(name, justify="right")
        for leaf in stage.leaves:
            table.add_row(
                leaf.task,
                leaf.source,
                f"{leaf.hours:,.2f}",
                f"{leaf.clips:,}",
                f"{leaf.weight:g}",
                f"{leaf.mean_tokens:.0f}",
                f"{leaf.expected_clips:,}",
                f"{leaf.expected_hours:,.1f}",
                f"{100 * leaf.share_of_clips:.2f}",
                f"{100 * leaf.share_of_tokens:.2f}",
                f"{leaf.passes:.2f}",
            )
        console.print(table)
        console.print(
            f"peak memory of a rank: {stage.memory_gib['total']:.2f} GiB "
            f"({', '.join(f'{what} {gib:.2f}' for what, gib in stage.memory_gib.items() if what != 'total')})"
        )
        longest = [conversation for leaf in stage.leaves for conversation in leaf.longest]
        if longest:
            first = sorted(longest, key=lambda conversation: -conversation[1])[:NUM_LONGEST]
            console.print("longest: " + ", ".join(f"{cut} {tokens}" for cut, tokens in first), soft_wrap=True)
        for line in _limited_rows(stage.leaves):
            console.print(line, soft_wrap=True)
        for warning in stage.warnings:
            console.print(f"[yellow]warning:[/yellow] {warning}", soft_wrap=True)
