"""A recipe as a table of stages, and rendered examples of each task."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audio_lm.config.load import ComposedRecipe
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.data.config import MixtureConfig
from audio_lm.pipeline.corpora import prepare_corpora
from audio_lm.pipeline.plan_stage import compile_stage, stage_maker
from audio_lm.pipeline.tokenizer_cache import cached_vocabulary
from audio_lm.preview.examples import RenderedExample, render_example
from audio_lm.training.objective_config import NEXT_TOKEN

MAX_CHARACTERS = 700  # of a rendered example


def print_recipe(composed: ComposedRecipe, *, num_per_task: int, console: Console | None = None) -> None:
    """Print the model, the stages as columns and a few examples of each task."""
    console = console or Console()
    recipe = composed.recipe
    console.print(f"[bold]{recipe.name}[/bold]  signature {composed.signature}  seed {recipe.seed}")
    console.print(_model_line(recipe))
    console.print(stage_table(recipe))
    for note in composed.notes:
        console.print(note, soft_wrap=True)
    if num_per_task:
        prepare_corpora(recipe, console.print)
        console.print("\nWhat the model reads; learned text is [bold green]green[/bold green].")
        for example in rendered_examples(recipe, num_per_task=num_per_task):
            _print_example(example, console)


def rendered_examples(recipe: Recipe, *, num_per_task: int = 2) -> Iterator[RenderedExample]:
    """Examples of each task of each stage, as they are trained on."""
    sources = {name: compile_stage(recipe, stage) for name, stage in recipe.stages.items()}
    vocabulary = cached_vocabulary(recipe, sources)
    if vocabulary is None:
        from audio_lm.pipeline.vocabulary import build_vocabulary  # transformers takes a second to import

        vocabulary = build_vocabulary(recipe, sources)
    for name, stage in recipe.stages.items():
        maker = stage_maker(recipe, stage, vocabulary)
        for task in dict.fromkeys(leaf.task for leaf in sources[name].training):
            rows = next(leaf.rows for leaf in sources[name].training if leaf.task == task)
            for row in range(min(num_per_task, len(rows))):
                yield render_example(name, rows.cut(row), task, maker, choice=row)


def print_origins(composed: ComposedRecipe, console: Console | None = None) -> None:
    """Print every setting with the file and line it comes from."""
    console = console or Console()
    tree = composed.tree
    for key in _keys(composed):
        value: object = tree
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        console.print(f"{key} = {value!r}  [dim]{composed.where.get(key, 'default')}[/dim]", soft_wrap=True)


def _keys(composed: ComposedRecipe) -> list[str]:
    keys: list[str] = []

    def walk(tree: object, prefix: str) -> None:
        if isinstance(tree, dict) and tree:
            for name, inner in tree.items():
                walk(inner, f"{prefix}.{name}" if prefix else str(name))
        else:
            keys.append(prefix)

    walk(composed.tree, "")
    return keys


def _model_line(recipe: Recipe) -> str:
    encoder, language_model = recipe.model.encoder, recipe.model.language_model
    settings = language_model.settings
    size = (
        f"{settings.get('num_hidden_layers')} x {settings.get('hidden_size')}" if settings else "default size"
    )
    sizes = encoder.sizes
    shape = f"{sizes.num_layers} x {sizes.width}, {sizes.num_mels} mels"
    if encoder.kind != "whisper":
        shape = "default size" if encoder.load else f"{encoder.architecture} {encoder.settings}"
    projector = recipe.model.projector
    projector_text = f", projector {projector.kind} over {projector.factor}" if projector.factor > 1 else ""
    loaded = recipe.model.load
    return (
        f"encoder {encoder.load or loaded or 'from scratch'}, {shape}{projector_text}; "
        f"language model {language_model.load or loaded or language_model.architecture + ' from scratch'}, {size}"
    )


def stage_table(recipe: Recipe) -> Table:
    """Stages as columns: prompt, batch, learning rates, optimizer and mixture."""
    table = Table(title="stages")
    table.add_column("")
    for name in recipe.stages:
        table.add_column(name)
    stages = list(recipe.stages.values())
    table.add_row("prompt", *(stage.prompt for stage in stages))
    if any(stage.objective != NEXT_TOKEN for stage in stages):
        table.add_row("objective", *map(_objective, stages))
    table.add_row("steps", *(f"{stage.steps:,}" for stage in stages))
    table.add_row("batch", *map(_batch, stages))
    for part in dict.fromkeys(part for stage in stages for part in stage.parts):
        table.add_row(part, *(_rate(stage, part) for stage in stages))
    table.add_row("optimizer", *map(_optimizer, stages))
    table.add_row("schedule", *map(_schedule, stages))
    table.add_row("SpecAugment", *("yes" if stage.spec_augment else "no" for stage in stages))
    table.add_row("mixture", *(_shares(stage.mixture) for stage in stages))
    return table


def _objective(stage: StageConfig) -> str:
    if (dpo := stage.dpo_loss) is not None:
        sft = f", sft {dpo.sft:g}" if dpo.sft else ""
        return f"dpo: {dpo.loss}, beta {dpo.beta:g}{sft}"
    if (grpo := stage.grpo) is not None:
        rewards = ", ".join(f"{name} x {weight:g}" for name, weight in grpo.rewards.items())
        return f"grpo: {rewards}; {grpo.num_answers} answers"
    return "next token"


def _batch(stage: StageConfig) -> str:
    packs = f"{stage.packs_per_step} x " if stage.packs_per_step > 1 else ""
    tokens = f"{packs}{stage.pack_tokens:,} tokens" + (" in buckets" if stage.packing == "buckets" else "")
    return tokens if stage.global_batch is None else f"{stage.global_batch} conversations, at most {tokens}"


def _rate(stage: StageConfig, part: str) -> str:
    config = stage.parts.get(part)
    if config is None or config.lr is None:
        return "frozen"
    decay = f" x {config.layer_decay}/layer" if config.layer_decay != 1.0 else ""
    return f"{config.lr:g}{decay}" + (f" from step {config.from_step}" if config.from_step else "")


def _optimizer(stage: StageConfig) -> str:
    config = stage.optimizer
    return config.kind + (f", matrices x {config.matrix_factor:g}" if config.kind == "muon" else "")


def _schedule(stage: StageConfig) -> str:
    schedule = stage.schedule
    return f"{schedule.kind} to {schedule.min_lr:g}, warm-up {schedule.warmup_steps:,}"


def _shares(mixture: MixtureConfig) -> str:
    total = sum(mixture.weights.values())
    shares = [f"{task} {100 * weight / total:.1f} %" for task, weight in mixture.weights.items() if weight]
    adapted = [] if mixture.online is None else [f"adapted every {mixture.online.every} steps"]
    return "\n".join([*shares, *adapted])


def _print_example(example: RenderedExample, console: Console) -> None:
    text = Text()
    for piece, is_learned in example.pieces:
        text.append(piece, style="bold green" if is_learned else "dim")
    console.print(
        f"\n[bold]{example.stage} / {example.task}[/bold]  {example.cut_id}  "
        f"{example.num_tokens} tokens, {example.num_audio_tokens} of them audio"
    )
    console.print(text[:MAX_CHARACTERS], soft_wrap=True)
