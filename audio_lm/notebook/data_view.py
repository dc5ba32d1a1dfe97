"""View of the training data of a stage: mixture, rendered examples, spectrograms, lengths and packs."""

from collections.abc import Iterator
from functools import cached_property
from html import escape
from itertools import islice

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.config.load import ComposedRecipe
from audio_lm.config.schema import Recipe
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.lazy_cuts import LoadedSource
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.pipeline.corpora import prepare_corpora
from audio_lm.pipeline.data import build_data
from audio_lm.pipeline.plan_stage import StagePlan, StageSources, compile_stage, plan_stage, stage_maker
from audio_lm.pipeline.report_clips import log_mel_of
from audio_lm.pipeline.vocabulary import build_vocabulary
from audio_lm.preview.examples import RenderedExample, render_example
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.tracking.report.curve_figures import bars_figure, boxes_figure
from audio_lm.tracking.report.display import Html, Picture
from audio_lm.tracking.report.figures import LogMelPanel, log_mel_figure
from audio_lm.tracking.report.pack_figure import packs_figure

MAX_CHARACTERS = 64  # of a caption
LEARNED = "background:#cfe6f5;color:#10263a;border-bottom:2px solid #0072b2"
OTHER = "color:#68707c"


class DataView:
    """Training data of a stage.

    Args:
        stage: its name.

    Raises:
        UserError: a cut-set is missing or does not fit the recipe.
    """

    def __init__(self, recipe: Recipe, stage: str, vocabulary: Vocabulary) -> None:
        self.recipe = recipe
        self.stage = stage
        self.config = recipe.stages[stage]
        self.sources: StageSources = compile_stage(recipe, self.config)
        self.planned: StagePlan = plan_stage(recipe, self.config, self.sources, vocabulary)
        self.maker = stage_maker(recipe, self.config, vocabulary)
        self.data = build_data(recipe, stage, self.planned, self.sources, vocabulary)

    @cached_property
    def _first_of_task(self) -> dict[str, LoadedSource]:
        """First source of each task."""
        found: dict[str, LoadedSource] = {}
        for leaf in self.planned.loaded:
            found.setdefault(leaf.task, leaf)
        return found

    def mixture(self) -> Picture:
        """Shares of every source under its task, counted in clips, hours and tokens, with its number of epochs."""
        leaves, counts = self.planned.leaves, self.planned.expected_clips
        of_kind = {
            "clips": [float(count) for count in counts],
            "hours": [count * leaf.mean_seconds for count, leaf in zip(counts, leaves, strict=True)],
            "tokens": [count * leaf.mean_tokens for count, leaf in zip(counts, leaves, strict=True)],
        }
        rows, notes = dict[str, dict[str, float]](), dict[str, str]()
        for number, leaf in enumerate(leaves):
            name = f"{leaf.task}   {leaf.source}"
            rows[name] = {
                f"share of {kind}": 100 * each[number] / (sum(each) or 1.0) for kind, each in of_kind.items()
            }
            notes[name] = (
                f"{counts[number]:,} drawn of {leaf.num_rows:,}, {counts[number] / leaf.num_rows:.2g} epochs"
            )
        title = f"stage {self.stage!r}: {sum(counts):,} conversations in {self.config.steps:,} steps"
        return Picture.of(bars_figure(rows, unit="percent of the stage", title=title, notes=notes))

    def examples(self, num_per_task: int = 1) -> Html:
        """Text that the model reads, of the first clips of each task; learned text is underlined."""
        return Html("".join(map(_example_html, self._rendered(num_per_task))))

    def _rendered(self, num_per_task: int) -> Iterator[RenderedExample]:
        for task, leaf in self._first_of_task.items():
            for row in range(min(num_per_task, len(leaf.rows))):
                yield render_example(self.stage, leaf.rows.cut(row), task, self.maker, choice=row)

    def spectrograms(self, num: int = 6) -> Picture:
        """Log-mels of clips of different tasks, the input of the encoder, with the answer."""
        return Picture.of(log_mel_figure(list(islice(self._panels(), num))))

    def _panels(self) -> Iterator[LogMelPanel]:
        """Spectrograms of a clip of each task, then of another one ..., of conversations with audio.

        Tasks that share a source begin at different rows, so that they show different clips.
        """
        leaves = list(self._first_of_task.values())
        for turn in range(max((len(leaf.rows) for leaf in leaves), default=0)):
            for number, leaf in enumerate(leaves):
                row = (number + turn * len(leaves)) % len(leaf.rows)
                cut = leaf.rows.cut(row)
                if waves := load_waves(cut):
                    example = render_example(self.stage, cut, leaf.task, self.maker, choice=row)
                    title = f"{leaf.task}   {cut.id}   {cut.duration:.1f} s = {example.num_audio_tokens} audio tokens"
                    answer = " ".join(self.maker.reference(cut, leaf.task).split())
                    shown = answer if len(answer) <= MAX_CHARACTERS else f"{answer[: MAX_CHARACTERS - 3]}..."
                    yield LogMelPanel(log_mel_of(self.recipe, waves[0]), title, f"answer  {shown}")

    def lengths(self) -> Picture:
        """Median, quartiles and range of the tokens of conversations, by task."""
        values: dict[str, list[float]] = {}
        for leaf, lengths in zip(self.planned.loaded, self.planned.lengths, strict=True):
            values.setdefault(leaf.task, []).extend(lengths.table[:, 0].tolist())
        title = f"conversations (number in brackets); a pack has {self.config.pack_tokens:,} tokens"
        return Picture.of(boxes_figure(values, unit="tokens of a conversation, audio and text", title=title))

    def packs(self, steps: int = 3) -> Picture:
        """Packs of the first steps, in the order of the training."""
        return Picture.of(packs_figure(list(self.first_packs(steps)), pack_tokens=self.config.pack_tokens))

    def first_packs(self, steps: int) -> Iterator[PackedBatch]:
        """Packs of the first steps."""
        for _, packs in islice(self.data.sampler.schedule.steps(Cursor()), steps):
            yield from self.data.packs.step(packs)


def view_data(composed: ComposedRecipe, stage: str) -> DataView:
    """View the training data of a stage before any training; corpora that a recipe prepares itself are prepared.

    Raises:
        UserError: recipe or data do not fit.
    """
    recipe = composed.recipe
    prepare_corpora(recipe, lambda line: None)
    vocabulary = build_vocabulary(
        recipe, {name: compile_stage(recipe, each) for name, each in recipe.stages.items()}
    )
    return DataView(recipe, stage, vocabulary)


def _example_html(example: RenderedExample) -> str:
    text = "".join(
        f'<span style="{LEARNED if is_learned else OTHER}">{escape(piece)}</span>'
        for piece, is_learned in example.pieces
    )
    counts = f"{example.num_tokens} tokens, {example.num_audio_tokens} of them audio"
    return (
        f'<p style="margin:0.8em 0 0.1em"><b>{escape(example.task)}</b> {escape(example.cut_id)}; {counts}</p>'
        f'<div style="white-space:pre-wrap;font-family:monospace;line-height:1.5">{text}</div>'
    )
