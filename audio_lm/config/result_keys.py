"""Declaration for each recipe key: does it affect the result of a run (``RESULT``), or only its execution (``EXECUTION``).

The signature hashes the keys of ``RESULT``. Keys of ``EXECUTION`` may change when a run resumes. An undeclared key
counts as ``RESULT``; ``tests/config/test_result_keys.py`` walks the schema and fails for it. ``*`` is a name that
the recipe chooses. A field is declared together with everything below it.
"""

import re
from collections.abc import Iterator, Mapping

RESULT = {
    # The effect of a callback's code on the weights is unknown, so callbacks count as affecting the result.
    "": "seed corpora callbacks extends",
    "model": "load adapter trust_remote_code",
    "model.encoder": "kind load architecture settings num_mels width num_layers num_heads mlp_width dropout",
    "model.projector": "kind factor width",
    "model.language_model": "load architecture settings",
    "model.tokenizer": "load vocab_size",
    "model.lora.*": "rank alpha dropout targets",
    "tasks.*": "label prompt prompt_zh tags",
    "stages.*": "prompt steps objective dpo grpo start_from global_batch pack_tokens packing packs_per_step spec_augment"
    " long_audio",
    "stages.*.mixture": "sources weights weight_by groups group_weights source_weights schedule max_epochs max_rows online",
    "stages.*.mixture.online": "every warmup_steps smoothing strength importance_weights prior min_share max_share lead_steps",
    "stages.*.mixture.temperature": "groups tasks sources",
    "stages.*.parts.*": "lr layer_decay from_step",
    "stages.*.dpo": "loss beta label_smoothing sft length_normalised",
    "stages.*.grpo": "rewards num_answers max_new_tokens temperature scale loss kl",
    "stages.*.schedule": "kind min_lr warmup_steps",
    "stages.*.optimizer": "kind matrix_factor betas eps weight_decay clip",
    "stages.*.spec_augment": "time_warp frequency_width time_width time_share",
}
"""Table -> its fields that affect trained weights."""

EXECUTION = {
    # Name of the run, and the stages that one launch trains.
    "": "name resume only logger guard"
    # Names of the pieces of conf/; the settings merged from them are declared separately.
    " use stand_ins"
    # Folders; the plan contains a digest of the manifest lines read from them.
    " data_dir cache_dir audio_roots"
    # Published scores, printed next to those of the run.
    " published",
    "evaluation": "benchmarks baselines",
    "guard": "benchmarks text max_clips",
    "tracking": "uri experiment num_listening_clips params",
    # Hardware: it only changes the order of summation; resuming compares and reports it separately.
    "hardware": "accelerator devices nodes precision num_workers num_threads sharding frozen tensor_parallel compile"
    " activation_checkpointing cpu_offload",
    "fault_tolerance": "frozen_seconds frozen_steps first_step_seconds building_seconds loader_seconds any_num_nodes"
    " max_restarts",
    # Intervals of checkpoints, validation and scores; none draws random numbers that training uses.
    "stages.*": "checkpoint_every validate_every validation max_validation_clips score_every score_clips score_max_share"
    # A limit that stops a run; it does not affect a run that is not stopped.
    " max_bad_fraction",
    "tasks.*": "metric",  # of benchmarks
    "stages.*.optimizer": "max_nonfinite",  # a limit
    "stages.*.mixture": "facts",  # sizes for `plan` without data; training counts the manifest lines
    "stages.*.checkpoints": "keep_last keep_best pin_every every_minutes asynchronous",
}
"""Table -> its fields that do not affect trained weights."""


def declared_keys(tables: Mapping[str, str]) -> Iterator[str]:
    """Yield the dotted keys of all declared fields.

    >>> list(declared_keys({"": "seed", "stages.*": "steps prompt"}))
    ['seed', 'stages.*.steps', 'stages.*.prompt']
    """
    for table, fields in tables.items():
        yield from (f"{table}.{field}" if table else field for field in fields.split())


def affects_result(key: str) -> bool:
    """True if weights and losses depend on a dotted key; for a table, if they depend on any key in it.

    >>> affects_result("stages.chat.steps"), affects_result("stages.chat.checkpoint_every")
    (True, False)
    >>> affects_result("stages.chat"), affects_result("hardware"), affects_result("evaluation.benchmarks.digits.task")
    (True, False, False)
    """
    return _RESULT.fullmatch(key) is not None or _EXECUTION.fullmatch(key) is None


def _pattern(keys: Iterator[str], *, end: str) -> str:
    """Regular expression of keys; a name that the recipe chooses may contain dots."""
    return "|".join(re.escape(key).replace(r"\*", ".+") + end for key in keys)


_BELOW = r"(?:\..*)?"
_RESULT = re.compile(_pattern(declared_keys(RESULT), end=_BELOW))
_EXECUTION = re.compile(
    _pattern(declared_keys(EXECUTION), end=_BELOW)
    + "|"
    + _pattern((table for table in EXECUTION if table and table not in RESULT), end="")
)
