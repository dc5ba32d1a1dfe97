"""Write the pages of docs/ that are made from the code: tasks, formats of imports, metrics.

    .venv/bin/python scripts/reference_pages.py

tests/test_reference_pages.py fails when a page differs from the code.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from audio_lm.common.languages import NAME_OF_LANGUAGE
from audio_lm.corpora.imports.registry import FORMATS, Format
from audio_lm.corpora.registry import CORPORA
from audio_lm.metrics.registry import METRICS, MetricRow
from audio_lm.tasks.dummy_labels import labels_for
from audio_lm.tasks.registry import TASKS
from audio_lm.tasks.task import Task

DOCS = Path(__file__).parents[1] / "docs"
QWEN2_AUDIO = "qwen2-audio:"
TAGS_FROM = {
    "eval_script": "as in the released evaluation scripts",
    "tokens_exist": "made of tokens of the released vocabulary",
    "extension": "with a token that the released vocabulary lacks",
}
TASKS_OPENING = """\
# Tasks

The {num} tasks of table 1 of Qwen-Audio (arXiv:2311.07919), with its hours. `scripts/reference_pages.py` writes this page from
`audio_lm/tasks/`; answers are those of made-up labels. A task needs the labels that are listed: columns of an
[imported table](formats.md), or labels of a [published corpus](../audio_lm/corpora/README.md).

Of two or more English prompts, the last is for evaluation only; Chinese ones are drawn in training for clips in Chinese. How
tags and prompts become tokens is described in [prompts](../audio_lm/prompts/README.md). A
[task of your own](recipes.md#a-task-of-your-own) whose answer is one label needs no code.

| task | title | kind | labels | metrics | hours |
|---|---|---|---|---|---|
"""
FORMATS_OPENING = """\
# Formats

`audio-lm import FORMAT FILE --into mine/all-train` makes a cut-set from each of these; [data](data.md) describes splits, bad
rows and audio. `scripts/reference_pages.py` writes this page from the code; tests import the examples.

| format | content | options of its own |
|---|---|---|
"""
METRICS_OPENING = """\
# Metrics

Names for `metrics` of a benchmark and of `audio-lm score --metrics`. [Evaluation](evaluation.md#published-numbers) states which
published scripts they equal. `scripts/reference_pages.py` writes this page from `audio_lm/metrics/registry.py`.

| metric | title in tables | better | default of the tasks | remark |
|---|---|---|---|---|
"""
KIND_OF_START = {"a": "sh", "{": "json", "[": "json"}  # first letter of an example -> its language
OPTION_OF_FIELD = {"dataset_split": "split"}  # where the option is not named like the field


def main() -> int:
    """Write all pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text)
        sys.stdout.write(f"wrote {DOCS / name}\n")
    return 0


def pages() -> dict[str, str]:
    """File name -> text of every page."""
    made = {"tasks.md": tasks_page(), "formats.md": formats_page(), "metrics.md": metrics_page()}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def tasks_page() -> list[str]:
    """Page of the tasks: a table, then a section for each."""
    lines = [*TASKS_OPENING.format(num=len(TASKS)).splitlines()]
    for task in TASKS.values():
        hours = f"{'under ' if task.is_hours_bound else ''}{task.hours:,.0f}"
        lines.append(
            f"| [{task.name}](#{task.name}) | {task.title} | {task.group} | {codes(task.needs)} "
            f"| {codes(task.metrics)} | {hours} |"
        )
    for task in TASKS.values():
        lines += ["", *task_section(task)]
    return lines


def task_section(task: Task) -> Iterator[str]:
    """Lines of one task: templates, prompts, answers, corpora."""
    labels = labels_for(task)
    yield f"## {task.name}"
    yield ""
    yield f"{task.title[0].upper()}{task.title[1:]}: row {task.row} of the table."
    if task.language:
        yield f"For clips in {NAME_OF_LANGUAGE[task.language]} only."
    if task.num_clips > 1:
        yield f"A question is about {task.num_clips} clips."
    yield f"Tags {TAGS_FROM[task.tag_status]}, and answer in the prompt format `tags`:"
    yield ""
    yield from fenced("text", task.tags, task.answer(labels))
    yield ""
    if (plain := task.plain_answer(labels)) != task.answer(labels):
        yield "Answer in the prompt formats `natural` and `chatml`:"
        yield ""
        yield from fenced("text", plain)
        yield ""
    yield "Prompts:"
    yield ""
    for prompts in (task.prompts, task.prompts_zh):
        for prompt in prompts:
            origin = " (of Qwen2-Audio)" if prompt.startswith(QWEN2_AUDIO) else ""
            yield f"* `{prompt.removeprefix(QWEN2_AUDIO)}`{origin}"
    yield ""
    prepared = [name for name, corpus in CORPORA.items() if task.name in corpus.facts.tasks]
    yield f"Public corpora: {', '.join(task.corpora)}."
    if prepared:
        yield f"`audio-lm prepare` knows {codes(prepared)}."


def formats_page() -> list[str]:
    """Page of the formats that can be imported: a table, then an example of each."""
    lines = [*FORMATS_OPENING.splitlines()]
    for known in FORMATS.values():
        what = known.what.replace("see docs/dialogues.md", "see [dialogues](dialogues.md)")
        lines.append(f"| [{known.name}](#{known.name}) | {what} | {options_of(known)} |")
    for known in FORMATS.values():
        kind = KIND_OF_START.get(known.example[0], "text")
        lines += ["", f"## {known.name}", "", *fenced(kind, known.example)]
    return lines


def options_of(known: Format) -> str:
    """Options of the command line that only this format reads."""
    return codes(f"--{OPTION_OF_FIELD.get(name, name)}" for name in known.own_options)


def metrics_page() -> list[str]:
    """Page of the metrics."""
    lines = [*METRICS_OPENING.splitlines()]
    for metric in METRICS.values():
        tasks = codes(task.name for task in TASKS.values() if metric.name in task.metrics)
        better = "higher" if metric.is_higher_better else "lower"
        lines.append(
            f"| `{metric.name}` | {metric.title} | {better} | {tasks} | {', '.join(remarks(metric))} |"
        )
    return lines


def remarks(metric: MetricRow) -> Iterator[str]:
    """Properties of a metric in words."""
    if metric.unit:
        yield f"in {metric.unit}"
    if metric.has_many_references:
        yield "several references per question"
    if metric.needs_choices:
        yield "questions with choices"
    if metric.reads_logprobs:
        yield "needs `closed: true`"
    if metric.needs_program:
        yield "needs a program of yours, or a judge"


def codes(words: Iterable[str]) -> str:
    """Words as code, with commas."""
    return ", ".join(f"`{word}`" for word in words)


def fenced(kind: str, *lines: str) -> Iterator[str]:
    """A block of code."""
    yield from (f"```{kind}", *lines, "```")


if __name__ == "__main__":
    sys.exit(main())
