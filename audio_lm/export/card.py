"""The README of an exported folder: a model card for the hub with everything that a reader needs to use the model.

All of it comes from the recipe and the folder of the run. Languages are read from the manifests, where they are still there.
"""

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from audio_lm.common.errors import DataError
from audio_lm.common.files import read_table
from audio_lm.common.languages import UNKNOWN_LANGUAGE
from audio_lm.common.markdown_table import markdown_table
from audio_lm.common.safe_yaml import read_value
from audio_lm.common.source_name import corpus_of
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import Recipe
from audio_lm.corpora.registry import CORPORA
from audio_lm.data.manifest import shar
from audio_lm.data.manifest.cuts import cut_set_path
from audio_lm.evaluation.report import Row, cells_of
from audio_lm.evaluation.score import read_scores
from audio_lm.export import script
from audio_lm.export.trained import TrainedTask, stages_until
from audio_lm.run.folder import RunFolder
from audio_lm.run.scores import table_rows, with_kept_benchmarks

NUM_LINES_READ = 1000  # per cut-set, for the languages
PIPELINE = "audio-text-to-text"
END_OF_ANSWER = {"tags": "<|endoftext|>", "natural": "<|endoftext|>", "chatml": "<|im_end|>"}


@dataclass(frozen=True)
class SourceFacts:
    """A cut-set that a stage was trained on."""

    stage: str
    task: str
    source: str
    share: float
    """Share of the stage's conversations that were trained on; of those planned, before the stage ended."""

    hours: float | None
    """Hours of audio trained on, repetitions counted; None before the stage ended."""

    licence: str
    url: str


@dataclass(frozen=True)
class Facts:
    """Facts about an exported stage of a run."""

    recipe: Recipe
    settings: str
    """YAML of the settings that affect the weights; folders and addresses of the machine are not among them."""

    stage: str
    step: int | None
    languages: tuple[str, ...]
    """Of the training data, most frequent first."""

    sources: tuple[SourceFacts, ...]
    rows: tuple[Row, ...]
    """Scores of the stage."""

    commands: tuple[str, ...]
    """Of the command line of this project."""


def read_facts(
    recipe: Recipe, folder: RunFolder, stage: str, *, step: int | None, commands: Collection[str]
) -> Facts:
    """Read the facts about a stage from the folder of its run and, where they are there, from the manifests."""
    stages = stages_until(recipe, stage)
    sources = tuple(fact for name in stages for fact in _sources(recipe, folder, name))
    rows: list[Row] = []
    if step is None:
        with suppress(DataError):  # unreadable scores; `audio-lm score` computes them again
            rows = table_rows(with_kept_benchmarks(recipe, folder), read_scores(folder.scores))
    return Facts(
        recipe,
        _settings(folder, stages),
        stage,
        step,
        _languages(recipe, [fact.source for fact in sources]),
        sources,
        tuple(row for row in rows if row.stage == stage),
        tuple(commands),
    )


def readme(facts: Facts, tasks: Sequence[TrainedTask], *, is_adapter: bool = False) -> str:
    """Content of ``README.md``."""
    sections = [
        _front_matter(facts, is_adapter=is_adapter),
        f"# {facts.recipe.name}, stage {facts.stage}",
        _description(facts, is_adapter=is_adapter),
        _adapter_usage(facts) if is_adapter else _usage(facts, tasks),
        _prompts(tasks),
        _data(facts),
        _scores(facts),
        f"## Recipe\n\nThe settings that decide the weights.\n\n{_fenced(facts.settings.rstrip(), 'yaml')}",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _settings(folder: RunFolder, stages: Sequence[str]) -> str:
    settings = _result_settings(read_value(folder.recipe.read_text(encoding="utf-8")))
    settings["stages"] = {name: settings["stages"][name] for name in stages}
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _result_settings(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Part of a recipe that affects the weights."""
    return {
        key: _result_settings(value, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in tree.items()
        if affects_result(f"{prefix}{key}")
    }


def _sources(recipe: Recipe, folder: RunFolder, stage: str) -> list[SourceFacts]:
    config = recipe.stages[stage]
    trained = {
        (leaf.get("task"), leaf.get("source")): leaf
        for leaf in read_table(folder.stage(stage) / "mixture.json").get("leaves", [])
    }
    facts = []
    for task in config.mixture.drawn_tasks:
        for source in config.mixture.sources.get(task, ()):
            leaf = trained.get((task, source), {})
            corpus = CORPORA.get(corpus_of(source))
            licence, url = (corpus.facts.licence, corpus.facts.url) if corpus else ("", "")
            hours = leaf["seconds"] / 3600 if "seconds" in leaf else None
            facts.append(
                SourceFacts(stage, task, source, leaf.get("realised_share", 0.0), hours, licence, url)
            )
    return facts


def _languages(recipe: Recipe, sources: Sequence[str]) -> tuple[str, ...]:
    """Languages in the first lines of the manifests, most frequent first; empty if they are no longer there."""
    counts: dict[str, int] = {}
    for source in dict.fromkeys(sources):
        with suppress(DataError, OSError):
            path = cut_set_path(Path(recipe.data_dir), source)
            for line in islice(shar.lines_of(path), NUM_LINES_READ):
                with suppress(ValueError, KeyError, IndexError, TypeError, RecursionError):
                    language = json.loads(line.text)["supervisions"][0]["language"]
                    counts[language] = counts.get(language, 0) + 1
    known = [name for name in counts if isinstance(name, str) and name != UNKNOWN_LANGUAGE]
    return tuple(sorted(known, key=lambda name: -counts[name]))


def _front_matter(facts: Facts, *, is_adapter: bool) -> str:
    base = facts.recipe.model.load
    table = {
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": PIPELINE,
        "base_model": base if base is not None and not Path(base).exists() else None,
        "language": list(facts.languages),
        "tags": ["audio", "qwen2_audio", *(["lora"] if is_adapter else [])],
    }
    text = yaml.safe_dump({key: value for key, value in table.items() if value}, sort_keys=False)
    return f"---\n{text}---"


def _description(facts: Facts, *, is_adapter: bool) -> str:
    model, stages = facts.recipe.model, stages_until(facts.recipe, facts.stage)
    when = "" if facts.step is None else f", at step {facts.step}"
    start = (
        f"It started from `{model.load}`." if model.load else "Its parts started as the recipe below says."
    )
    kind = "A LoRA adapter for" if is_adapter else "A"
    languages = f" Languages of the data: {', '.join(facts.languages)}." if facts.languages else ""
    return (
        f"{kind} Qwen2-Audio, trained with audio_lm in {' -> '.join(stages)}{when}. {start}{languages} Clips are mono, at "
        f"16 kHz, and up to 30 s long."
    )


def _usage(facts: Facts, tasks: Sequence[TrainedTask]) -> str:
    command = script.example_command(tasks)
    if "ask" in facts.commands:
        ask = f"\naudio-lm ask . clip.wav {_question(facts, tasks[0])}    # with audio_lm, in this folder"
        ask += "\naudio-lm evaluate . --help                # scores on clips of your own"
    else:
        ask = ""
    packages = " ".join(script.PACKAGES)
    commands = f"pip install {packages}\n{command}{ask}"
    return (
        f"## Use\n\n{_fenced(commands, 'sh')}\n\n"
        f"`{script.NAME}` reads WAV, FLAC, MP3 and Ogg at any sampling rate. It does not need audio_lm, and its prompts are "
        f"those below. `processor.apply_chat_template` renders the format "
        f"`{facts.recipe.stages[facts.stage].prompt}` of the last stage."
    )


def _question(facts: Facts, task: TrainedTask) -> str:
    """Option of ``ask`` for a task; one of the recipe's own is not known without the recipe, so its question is given."""
    own = facts.recipe.tasks.get(task.name)
    return f"--task {task.name}" if own is None else f"--question {shlex.quote(own.prompt[0])}"


def _adapter_usage(facts: Facts) -> str:
    base = facts.recipe.model.load
    code = f"""\
from peft import PeftModel
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

processor = AutoProcessor.from_pretrained({base!r})
model = Qwen2AudioForConditionalGeneration.from_pretrained({base!r})
model = PeftModel.from_pretrained(model, "this/folder").eval()"""
    return (
        f"## Use\n\nThe names are those of the modules in transformers 5.\n\n{_fenced(code, 'python')}\n\n"
        f"In a recipe of audio_lm: `model: {{load: {base}, adapter: this/folder}}`."
    )


def _prompts(tasks: Sequence[TrainedTask]) -> str:
    parts = [
        "## Prompts",
        "Each prompt is shown as the model was trained on it. `<|AUDIO|>` stands for a clip; fields in braces are filled in, "
        "such as `{language}` with `en`.",
    ]
    for task in tasks:
        parts.append(
            f"### {task.name}: {task.title} (`{task.prompt}`, {_plural('stage', task.stages)} {', '.join(task.stages)})"
        )
        parts += map(_fenced, task.texts)
        if task.held_out not in task.texts:
            parts.append("Held out from training, used by evaluation and `run.py`:")
            parts.append(_fenced(task.held_out))
        parts.append(f"The answer ends with `{END_OF_ANSWER[task.prompt]}`.")
    return "\n\n".join(parts)


def _data(facts: Facts) -> str:
    rows = [
        [
            fact.stage,
            fact.task,
            fact.source,
            f"{100 * fact.share:.1f} %" if fact.hours is not None else "",
            f"{fact.hours:.2f}" if fact.hours is not None else "",
            fact.licence,
            fact.url,
        ]
        for fact in facts.sources
    ]
    heading = ["stage", "task", "cut-set", "share", "hours trained on", "licence", "source"]
    return (
        f"## Data\n\n{markdown_table([heading, *rows])}\n\n"
        f"Shares are of conversations, hours count repetitions. An empty licence is unknown to audio_lm."
    )


def _scores(facts: Facts) -> str:
    if not facts.rows:
        return ""
    return f"## Scores\n\n{markdown_table(cells_of(facts.rows))}"


def _fenced(text: str, kind: str = "text") -> str:
    """Code block; its fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{kind}\n{text}\n{fence}"


def _plural(word: str, things: Sequence[object]) -> str:
    return word if len(things) == 1 else f"{word}s"
