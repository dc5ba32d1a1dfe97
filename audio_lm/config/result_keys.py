"""Declaration of every key of a recipe: part of what a run computes, or only of how it runs.

A run keeps its signature, and can be resumed bit for bit, while keys of ``RUNNING`` change. A key that stands in
neither table counts as deciding; ``tests/config/test_result_keys.py`` walks the schema and fails for it. ``*`` stands for a
name that the recipe chooses. A word declares a field with everything below it.
"""

import re
from collections.abc import Iterator, Mapping

DECIDING = {
    # What code of others does to the weights is not known, so a callback counts as deciding.
    "": "seed corpora callbacks",
    "model": "load trust_remote_code",
    "model.encoder": "kind load architecture settings num_mels width num_layers num_heads mlp_width dropout",
    "model.projector": "kind factor width",
    "model.language_model": "load architecture settings",
    "model.tokenizer": "load vocab_size",
    "model.lora.*": "rank alpha dropout targets",
    "stages.*": "prompt steps global_batch pack_tokens packing packs_per_step spec_augment long_audio",
    "stages.*.mixture": "sources weights weight_by groups group_weights source_weights schedule max_epochs",
    "stages.*.mixture.temperature": "groups tasks sources",
    "stages.*.parts.*": "lr layer_decay from_step",
    "stages.*.schedule": "kind min_lr warmup_steps",
    "stages.*.optimizer": "kind matrix_factor betas eps weight_decay clip",
    "stages.*.spec_augment": "time_warp frequency_width time_width time_share",
}
"""Table -> its fields that a trained weight depends on."""

RUNNING = {
    # What the run is called, and which of its stages one start trains.
    "": "name resume only logger"
    # Names of the pieces that the recipe was composed of; what was composed of them is declared by itself.
    " use stand_ins"
    # Places, and a filter of places; the plan holds a digest of the rows that were found there.
    " data_dir cache_dir audio_roots"
    # Published scores, printed beside the run's own.
    " published",
    "evaluation": "benchmarks baselines",
    "tracking": "uri experiment num_listening_clips",
    # The machine: it decides the order of sums alone, which a resume compares and reports by itself.
    "hardware": "accelerator devices nodes precision num_workers num_threads sharding frozen tensor_parallel compile"
    " activation_checkpointing cpu_offload",
    "fault_tolerance": "frozen_seconds frozen_steps first_step_seconds building_seconds loader_seconds any_num_nodes"
    " max_restarts",
    # How often the state is saved and looked at; neither draws random numbers that training reads.
    "stages.*": "checkpoint_every validate_every validation max_validation_clips"
    # A limit: it stops a run, and a run that it does not stop is the same under any limit.
    " max_bad_fraction",
    "stages.*.optimizer": "max_nonfinite",  # a limit
    "stages.*.mixture": "facts",  # amounts for `plan` where data is absent; training counts the rows that are there
    "stages.*.checkpoints": "keep_last keep_best pin_every every_minutes asynchronous",
}
"""Table -> its fields that no trained weight depends on."""


def declared(tables: Mapping[str, str]) -> Iterator[str]:
    """Dotted keys of all fields of a declaration.

    >>> list(declared({"": "seed", "stages.*": "steps prompt"}))
    ['seed', 'stages.*.steps', 'stages.*.prompt']
    """
    for table, fields in tables.items():
        yield from (f"{table}.{field}" if table else field for field in fields.split())


def affects_result(key: str) -> bool:
    """Whether the weights and losses of a run depend on a dotted key; of a table, whether they depend on anything in it.

    >>> affects_result("stages.chat.steps"), affects_result("stages.chat.checkpoint_every")
    (True, False)
    >>> affects_result("stages.chat"), affects_result("hardware"), affects_result("evaluation.benchmarks.digits.task")
    (True, False, False)
    """
    return _DECIDING.fullmatch(key) is not None or _RUNNING.fullmatch(key) is None


def _pattern(keys: Iterator[str], *, end: str) -> str:
    """A name that the recipe chooses may have dots of its own."""
    return "|".join(re.escape(key).replace(r"\*", ".+") + end for key in keys)


_BELOW = r"(?:\..*)?"
_DECIDING = re.compile(_pattern(declared(DECIDING), end=_BELOW))
_RUNNING = re.compile(
    _pattern(declared(RUNNING), end=_BELOW)
    + "|"
    + _pattern((table for table in RUNNING if table and table not in DECIDING), end="")
)
