"""Questions of a benchmark in words, for a judge that has no audio."""

from collections.abc import Sequence
from dataclasses import replace

from lhotse.cut import Cut

from audio_lm.common.errors import DataError
from audio_lm.common.markup import MARKUP
from audio_lm.config.schema import Recipe
from audio_lm.data.manifest.labels import labels_of
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.judge.questions import OpenQuestion, reference_text
from audio_lm.evaluation.predict import Prediction
from audio_lm.pipeline.benchmark_data import benchmark_cuts
from audio_lm.prompts.conversation import CLIP_TOKEN, join_text
from audio_lm.prompts.render import render
from audio_lm.tasks.registry import CHAT, find_task

DESCRIPTION = "description"
"""Label of a clip with its content in words."""


def open_questions(
    recipe: Recipe, name: str, benchmark: BenchmarkConfig, predictions: Sequence[Prediction]
) -> list[OpenQuestion]:
    """Questions of a benchmark, with the answers of a model.

    Raises:
        DataError: the cut-set is missing, or the answers are not those of its clips.
    """
    cuts = {cut.id: cut for cut in benchmark_cuts(recipe, benchmark)}
    if missing := [prediction.id for prediction in predictions if prediction.id not in cuts]:
        raise DataError(
            f"benchmark {name!r}: {len(missing)} answers are of clips that {benchmark.source!r} does not have, such as "
            f"{missing[0]!r} -- expected answers to its present clips -- evaluate it again"
        )
    return [
        OpenQuestion(
            id=prediction.id,
            question=question_of(recipe, benchmark, cuts[prediction.id]),
            reference=reference_text([_plain(text) for text in prediction.references]),
            answer=_plain(prediction.answer),
            description=labels_of(cuts[prediction.id]).get(DESCRIPTION),
        )
        for prediction in predictions
    ]


def question_of(recipe: Recipe, benchmark: BenchmarkConfig, cut: Cut) -> str:
    """The question about a clip, without markup; of a conversation, all turns before the answer."""
    labels = labels_of(cut)
    if benchmark.task == CHAT:
        return "\n".join(filter(None, map(_turn, labels["conversation"][:-1])))
    task = find_task(benchmark.task, recipe.task_table)
    if benchmark.question is not None:
        task = replace(task, prompts=(benchmark.question,), prompts_zh=())
    pieces = render(task, labels, prompt="natural", is_evaluation=True, with_answer=False)
    return _plain(join_text(pieces))


def _turn(turn: dict[str, object]) -> str:
    content = turn["content"]
    parts = content if isinstance(content, list) else [content]
    texts = [str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in parts]
    return _plain(" ".join(texts))


def _plain(text: str) -> str:
    return " ".join(MARKUP.sub(" ", text.replace(CLIP_TOKEN, " ")).split())
