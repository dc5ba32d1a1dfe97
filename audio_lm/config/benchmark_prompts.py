"""Prompt format of benchmarks that name none: that of their stage, so that a recipe sets it once."""

from audio_lm.config.yaml_layers import Layer, as_table, table_at


def fill_prompts(merged: Layer) -> None:
    """Give a benchmark without a prompt format that of its stage, in place.

    One of an unknown stage gets that of the first stage, so that only the stage is reported.
    """
    prompt_of = {
        str(name): stage["prompt"]
        for name, stage in as_table(merged.tree.get("stages")).items()
        if isinstance(stage, dict) and "prompt" in stage
    }
    first = next(iter(prompt_of.values()), None)
    for benchmark in as_table(table_at(merged.tree, "evaluation.benchmarks")).values():
        prompt = prompt_of.get(str(benchmark.get("stage")), first) if isinstance(benchmark, dict) else None
        if prompt is not None:
            benchmark.setdefault("prompt", prompt)
