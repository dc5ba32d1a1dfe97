"""Mean number of tokens that the loss counts in an example of each task."""

from statistics import fmean

from audio_lm.config.schema import Recipe
from audio_lm.pipeline.plan_stage import compile_stage, maker_of
from audio_lm.pipeline.vocabulary import build_vocabulary

MAX_ROWS = 256  # of each source; the mean of more is the same within a few per cent


def mean_answer_tokens(recipe: Recipe, stage: str) -> dict[str, float]:
    """Task -> mean number of learned tokens of an example, over rows at equal distances in its sources.

    Raises:
        DataError: a cut-set is not prepared, or a cut lacks a label.
    """
    compiled = {name: compile_stage(recipe, config) for name, config in recipe.stages.items()}
    maker = maker_of(recipe, build_vocabulary(recipe, compiled), recipe.stages[stage].prompt)
    counts: dict[str, list[tuple[int, float]]] = {}
    for leaf in compiled[stage].training:
        distance = -(-len(leaf.rows) // MAX_ROWS)
        examples = [
            maker.example(leaf.rows.cut(row), leaf.task, choice=row)
            for row in range(0, len(leaf.rows), distance)
        ]
        mean = fmean(sum(example.is_learned) for example in examples)
        counts.setdefault(leaf.task, []).append((len(leaf.rows), mean))
    return {
        task: sum(rows * mean for rows, mean in sources) / sum(rows for rows, _ in sources)
        for task, sources in counts.items()
    }
