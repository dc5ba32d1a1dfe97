"""Messages of libraries that the command line does not show, each by its text, and our own as plain lines.

Lightning's messages are filtered here and nowhere else: neither by level, which would hide those that matter, nor at
import, which would change them for Python users. ``run.log`` has what is shown.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGED = re.compile(
    r"[GTHI]PU available|Tip: |`Trainer\.fit` stopped|Using .*(Precision|AMP)|Initializing distributed|"
    r"distributed_backend=|All distributed processes registered|Starting with \d+ processes|-{20,}|LOCAL_RANK|"
    r"You are using a CUDA device"
)
"""Of Lightning's log: accelerators, products, and the ends of stages, which the progress shows."""

WARNED = (
    # Lightning: clips are read by as many workers as the recipe says; steps are the unit, not epochs.
    r".*does not have many workers",
    r"The number of training batches",
    r"Total length of `.*` across ranks is zero",
    r"You're resuming from a checkpoint",
    r"`isinstance\(treespec, LeafSpec\)`",
    r"The `srun` command is available",
    r"Trying to infer the `batch_size`",
    # Lightning: the metrics of losses add up over the ranks themselves.
    r"It is recommended to use `self\.log\(.*sync_dist=True",
    # Lhotse: lengths are checked exactly, so its tolerance is set low.
    r".*duration mismatch tolerance",
    # torch: a run of one process saves in one process.
    r"torch.distributed is disabled",
    # tqdm: a notebook without ipywidgets has bars of text.
    r"IProgress not found",
)
"""Of warnings."""

LIGHTNING = tuple(
    f"lightning.{package}{module}"
    for package in ("pytorch", "fabric")
    for module in ("", ".utilities.rank_zero", ".trainer", ".accelerators.cuda")
)
OTHERS = ("alembic", "mlflow.store")  # loggers of database migrations


def silence_libraries() -> None:
    """Keep messages of libraries from interrupting the run's own lines."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in LIGHTNING:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _KnownMessages) for each in logger.filters):
            logger.addFilter(_KnownMessages())
    for name in OTHERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in WARNED:
        warnings.filterwarnings("ignore", message=message)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print our own warnings as plain lines, also where an imported library has set up the root logger.

    A logger without a handler that does not propagate is printed by the handler of last resort: the message alone, to
    stderr. The state is restored for programs that call the command line as a function.
    """
    logger = logging.getLogger("audio_lm")
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before


class _KnownMessages(logging.Filter):
    """Drops the records of ``LOGGED``."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not LOGGED.search(record.getMessage())
