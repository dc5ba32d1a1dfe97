"""Prompt formats of benchmarks that name none, or whose set names one that the recipe does not train."""

from audio_lm.config.yaml_layers import Layer, as_table, table_at

SETS = "conf/benchmarks/"
TAGS = "tags"  # the format whose tokens are learned in training


def fill_prompts(merged: Layer) -> None:
    """Give benchmarks the prompt format of their stage, in place.

    Those are the benchmarks that name no format, and the benchmarks of a set with `tags` in a recipe without a stage of
    tags: a set is written for its publisher's model, whose other formats would be refused. One of an unknown stage gets
    that of the first, so that only the stage is reported.
    """
    prompt_of_stage = {
        str(name): stage["prompt"]
        for name, stage in as_table(merged.tree.get("stages")).items()
        if isinstance(stage, dict) and "prompt" in stage
    }
    without_tags = TAGS not in prompt_of_stage.values()
    first = next(iter(prompt_of_stage.values()), None)
    for name, benchmark in as_table(table_at(merged.tree, "evaluation.benchmarks")).items():
        prompt = (
            prompt_of_stage.get(str(benchmark.get("stage")), first) if isinstance(benchmark, dict) else None
        )
        if prompt is None:
            continue
        at = f"evaluation.benchmarks.{name}.prompt"
        is_of_set = benchmark.get("prompt") == TAGS and merged.where.get(at, "").startswith(SETS)
        if "prompt" not in benchmark or (is_of_set and without_tags):
            benchmark["prompt"] = prompt
            merged.where[at] = merged.where.get(f"stages.{benchmark.get('stage')}.prompt", "recipe")
