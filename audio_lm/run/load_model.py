"""A model with its vocabulary and prompt format, from a run or from a published folder without any recipe.

Lightning is not imported, so that one question is answered within seconds.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from audio_lm.common.env import local_rank
from audio_lm.common.errors import CheckpointError, RecipeError, UserError, unknown
from audio_lm.config.schema import Recipe
from audio_lm.data.examples import Prompt
from audio_lm.data.manifest.index import LongAudio
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.build import build_model
from audio_lm.model.config import ModelConfig
from audio_lm.model.resolve_sizes import resolve_sizes
from audio_lm.model.weights.files import published_folder
from audio_lm.model.weights.parts import load_weights
from audio_lm.model.weights.released import Released, open_released
from audio_lm.prompts.chatml import TURN_END, TURN_START
from audio_lm.prompts.natural import CLIP_END, CLIP_START
from audio_lm.prompts.tokenizer import load_tokenizer
from audio_lm.prompts.vocabulary import TEXT_TOKENS, Vocabulary
from audio_lm.run.folder import RunFolder
from audio_lm.run.open import kept_vocabulary, open_run
from audio_lm.tasks.registry import CHAT, TASKS
from audio_lm.tasks.task import Task

CONFIGS_WITH_TEMPLATE = ("chat_template.json", "processor_config.json", "tokenizer_config.json")
TOKENS_OF_PROMPT: dict[str, tuple[str, ...]] = {
    "tags": ("<audio>", "</audio>"),
    "natural": (CLIP_START, CLIP_END),
    "chatml": (CLIP_START, CLIP_END, TURN_START, TURN_END),
}
"""Tokens of every prompt of a format; those of a task's tags are checked with the task."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that can answer."""

    source: str
    """Run and stage, or folder, for messages."""

    model: AudioLM
    vocabulary: Vocabulary
    config: ModelConfig
    prompt: Prompt
    """Prompt format it was trained with."""

    tasks: tuple[str, ...]
    """Tasks it was trained with; empty where that is not known."""

    task_table: Mapping[str, Task] = field(default_factory=lambda: TASKS)
    """All tasks by name, those of the recipe's own included."""

    long_audio: LongAudio = "error"
    """Rule of the training for clips over 30 s."""

    is_published: bool = False
    """True if no recipe is known; its vocabulary then must have every token of a prompt."""


def load_answering_model(
    path: str | Path,
    stage: str | None = None,
    *,
    task: str | Sequence[str] | None = None,
    trusts_code: bool = False,
) -> LoadedModel:
    """Load the model of a run, or of a published folder.

    Args:
        path: folder of a run, a Qwen2-Audio or Qwen-Audio folder, or the hub name of one.
        stage: of a run; by default the last with weights that was trained with the task, or else the last.
        task: that will be answered, or several of which one will be.

    Raises:
        UserError: there is no such model.
    """
    if is_run(path):
        return _load_run(Path(path), stage, task, trusts_code=trusts_code)
    if stage is not None:
        raise UserError(f"{path} is no run, so it has no stage {stage!r}; leave the stage out")
    published = open_published(str(path))
    return LoadedModel(
        source=published.source,
        model=published.load(),
        vocabulary=published.vocabulary,
        config=published.config,
        prompt=published.prompt,
        tasks=(CHAT,) if published.prompt == "chatml" else (),
        is_published=True,
    )


def is_run(path: str | Path) -> bool:
    """True for the folder of a run.

    Raises:
        UserError: a local folder that is neither a run nor a published model.
    """
    folder = Path(path)
    if RunFolder(folder).recipe.is_file():
        return True
    if not folder.exists() and (folder.is_absolute() or folder.parent not in (Path(), *_hub_parents(folder))):
        raise UserError(f"{path} does not exist; name the folder of a run or of a model")
    if not folder.is_dir():
        return False
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{path} holds no run (recipe.yaml is missing) and no model (config.json is missing); name a folder such as "
            f"runs/demo-1a2b3c4d, or one with a Qwen2-Audio or Qwen-Audio"
        )
    return False


def _hub_parents(folder: Path) -> list[Path]:
    """Parents of a path that is the hub name ``owner/name``; none if its parent is a folder here."""
    return [] if folder.parent.is_dir() or len(folder.parts) > 2 else [folder.parent]


def choose_stage(
    recipe: Recipe, folder: RunFolder, stage: str | None, task: str | Sequence[str] | None = None
) -> str:
    """The stage whose model answers; see ``load_answering_model``.

    Raises:
        CheckpointError: no stage has weights, or the named one has none.
    """
    stages = [name for name in recipe.stages if folder.model(name).is_dir()]
    if not stages:
        raise CheckpointError(f"no stage of {folder.path} has weights; finish one with `audio-lm train`")
    if stage is not None and stage not in stages:
        raise CheckpointError(unknown("stage with weights", stage, stages, see=str(folder.path)))
    tasks = {task} if isinstance(task, str) else {*(task or ())}
    trained = [name for name in stages if tasks.intersection(recipe.stages[name].mixture.drawn_tasks)]
    return stage or (trained or stages)[-1]


@dataclass(frozen=True)
class PublishedModel:
    """Settings and vocabulary of a published model, before its weights are read."""

    source: str
    """Folder or hub name."""

    vocabulary: Vocabulary
    """Only the tokens of text and chat are added where they are missing."""

    config: ModelConfig
    prompt: Prompt
    """Prompt format, see ``published_prompt``."""

    @property
    def own_tokens(self) -> set[str]:
        """Special tokens that the published model has; rows of others would be random."""
        vocabulary = self.vocabulary
        return {token for token, index in vocabulary.id_of.items() if index < vocabulary.num_base}

    @property
    def digest(self) -> str:
        """8 hexadecimal digits: path of the folder, and name, size and time of its settings and weights."""
        folder = published_folder(self.source, what="model")
        files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")])
        facts = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
        return hashlib.sha256(json.dumps([str(folder.absolute()), facts]).encode()).hexdigest()[:8]

    def load(self) -> AudioLM:
        """Build the model and read its weights, onto the GPU where there is one."""
        vocabulary = self.vocabulary
        return on_device(
            build_model(self.config, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens))
        )


def open_published(folder_or_name: str) -> PublishedModel:
    """Read settings and vocabulary of a published model.

    Raises:
        CheckpointError: there is no such folder, or it holds another kind of model.
    """
    released = open_released(folder_or_name)
    vocabulary = published_vocabulary(folder_or_name, released)
    config = resolve_sizes(ModelConfig(load=folder_or_name))
    prompt = published_prompt(folder_or_name, released, vocabulary)
    return PublishedModel(folder_or_name, vocabulary, config, prompt)


def published_vocabulary(folder_or_name: str, released: Released) -> Vocabulary:
    """Vocabulary of a published model; only the tokens of text and chat are added where they are missing."""
    tokenizer = load_tokenizer(str(published_folder(folder_or_name, what="model")))
    return Vocabulary(tokenizer, num_base=released.num_rows, tokens=TEXT_TOKENS)


def check_prompt(vocabulary: Vocabulary, prompt: str, *, source: str) -> None:
    """Check that a published model knows the tokens of a prompt format; new rows would be random.

    Raises:
        RecipeError: it lacks some; names a format that it knows.
    """
    missing = missing_tokens(vocabulary, prompt)
    if missing:
        known = [name for name in TOKENS_OF_PROMPT if not missing_tokens(vocabulary, name)]
        raise RecipeError(
            f"{source} was not trained with prompt: {prompt}, since its vocabulary lacks {', '.join(missing)} -- expected "
            f"{' or '.join(known) or 'another model'} -- choose it with --prompt"
        )


def missing_tokens(vocabulary: Vocabulary, prompt: str) -> list[str]:
    """Tokens of a prompt format for which a published model has no embeddings."""
    return [
        token
        for token in TOKENS_OF_PROMPT[prompt]
        if vocabulary.id_of.get(token, vocabulary.num_base) >= vocabulary.num_base
    ]


def published_prompt(folder_or_name: str, released: Released, vocabulary: Vocabulary) -> Prompt:
    """Prompt format of a published model, from what its folder states.

    ``chat_format`` of ``generation_config.json`` decides, or else the chat template: one with turns is of a chat model, one
    with ``<audio>`` of a model that was trained with tags. Without both, a Qwen-Audio has tags and a Qwen2-Audio questions
    in natural language.
    """
    folder = published_folder(folder_or_name, what="model")
    base: Prompt = "natural" if released.clip_start_id is None else "tags"
    chat_format = _json(folder / "generation_config.json").get("chat_format")
    if chat_format is not None:
        wanted: Prompt = "chatml" if chat_format == "chatml" else base
    else:
        wanted = _prompt_of_template(_chat_template(folder)) or base
    known: list[Prompt] = [name for name in (wanted, base) if not missing_tokens(vocabulary, name)]
    return (known or [wanted])[0]


def _chat_template(folder: Path) -> str:
    """Text of a folder's chat template; empty if it has none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace")
    templates = (_json(folder / name).get("chat_template") for name in CONFIGS_WITH_TEMPLATE)
    return str(next(filter(None, templates), ""))


def _prompt_of_template(template: str) -> Prompt | None:
    if TURN_START in template:
        return "chatml"
    if "<audio>" in template:
        return "tags"
    return "natural" if CLIP_START in template else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _load_run(
    path: Path, stage: str | None, task: str | Sequence[str] | None, *, trusts_code: bool
) -> LoadedModel:
    recipe, folder = open_run(path, trusts_code=trusts_code)
    chosen = choose_stage(recipe, folder, stage, task)
    folder.check_model(chosen)
    vocabulary = kept_vocabulary(recipe, folder)
    model = build_model(
        recipe.model, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens)
    )  # initial weights are replaced at once
    load_weights(model, folder.model(chosen))
    return LoadedModel(
        source=f"{path}, stage {chosen}",
        model=on_device(model),
        vocabulary=vocabulary,
        config=resolve_sizes(recipe.model),
        prompt=recipe.stages[chosen].prompt,
        tasks=recipe.stages[chosen].mixture.drawn_tasks,
        task_table=recipe.task_table,
        long_audio=recipe.stages[chosen].long_audio,
    )


def on_device(model: AudioLM) -> AudioLM:
    """Move a model to the GPU where there is one; evaluation mode."""
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
        return model.to("cuda").train(False)
    return model.train(False)
