"""``run.log`` of a run: messages and warnings of the first rank, with time stamps.

Every start appends. It holds the settings given on the command line, the groups of parameters with sizes and rates,
messages of the console, warnings, and resumes.
"""

import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from torch import nn

from audio_lm.common.env import is_main
from audio_lm.common.protocols import Condition
from audio_lm.common.safe_yaml import COMMAND_LINE
from audio_lm.config.load import ComposedRecipe
from audio_lm.config.yaml_layers import flatten
from audio_lm.model.weights.part_names import part_of
from audio_lm.training.param_groups import Rate

FILE = "run.log"
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
OTHERS = ("lightning.pytorch", "lightning.fabric", "py.warnings")  # loggers whose records are kept too
PRINTED = ("audio_lm", "py.warnings")  # loggers that are printed here, and by no handler of the root logger
log = logging.getLogger(__name__)


class RunLog:
    """Context in which records of our own, of Lightning and of ``warnings`` go to ``run.log``.

    Args:
        folder: of the run; it exists.
        level: of the records that are kept.
        may_write: False once a newer start has the folder.
    """

    def __init__(
        self, folder: Path, level: int = logging.INFO, *, may_write: Condition = lambda: True
    ) -> None:
        self.may_write = may_write
        self.path = folder / FILE
        self.level = level
        self._handlers: list[logging.Handler] = []
        self._before: dict[str, tuple[int, bool]] = {}

    def __enter__(self) -> Self:
        if not is_main():
            return self
        try:
            handler = _LogFile(self.path, encoding="utf-8")
        except OSError as error:
            log.warning("%s cannot be written (%s); the run continues without it", self.path, error.strerror)
            return self
        handler.setFormatter(logging.Formatter(FORMAT))
        handler.setLevel(self.level)
        handler.addFilter(lambda record: self.may_write())
        self._handlers = [handler]
        # A logger with a handler is not printed by the handler of last resort any more. A handler of the root logger,
        # which some libraries add, would print what is meant for the file.
        if logging.lastResort is not None:
            self._handlers.append(logging.lastResort)
        logging.captureWarnings(True)
        self._before = {name: _state(logging.getLogger(name)) for name in PRINTED}
        logging.getLogger("audio_lm").setLevel(self.level)
        for name in PRINTED:
            logging.getLogger(name).propagate = False
        for name in ("audio_lm", *OTHERS):
            for each in self._handlers if name in PRINTED else [handler]:
                logging.getLogger(name).addHandler(each)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._handlers:
            return
        if error is not None:
            log.info("ends with %s: %s", type(error).__name__, error)
        for name in ("audio_lm", *OTHERS):
            for each in self._handlers:
                logging.getLogger(name).removeHandler(each)
        for name, (level, propagate) in self._before.items():
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).propagate = propagate
        logging.captureWarnings(False)
        self._handlers[0].close()


def _state(logger: logging.Logger) -> tuple[int, bool]:
    return logger.level, logger.propagate


class _LogFile(logging.FileHandler):
    """File of a log that ends at the first record that the disk does not take; training continues."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is logging's
        if self.level <= logging.CRITICAL:
            self.setLevel(logging.CRITICAL + 1)
            log.warning(
                "%s cannot be written (%s); the run continues without it",
                self.baseFilename,
                sys.exc_info()[1],
            )

    def close(self) -> None:
        with suppress(OSError):  # of what is still in the buffer of a file on a full disk
            super().close()


def settings_given(composed: ComposedRecipe) -> Iterator[str]:
    """Settings that the command line gave, which the recipe's file does not have.

    A password in a value is masked, as in ``recipe.yaml``.
    """
    for key, value in flatten(composed.tree):
        if composed.where.get(key) == COMMAND_LINE:
            yield f"{key}={value}"


def param_groups(model: nn.Module, rates: Mapping[str, Rate | None]) -> Iterator[str]:
    """One line per part of the model: parameters trained and frozen, and the range of peak rates."""
    trained: dict[str, list[tuple[int, float]]] = defaultdict(list)
    frozen: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        rate = rates[name]
        if rate is None:
            frozen[part_of(name)] += parameter.numel()
        else:
            trained[part_of(name)].append((parameter.numel(), rate.lr))
    for part in dict.fromkeys([*trained, *frozen]):
        sizes, lrs = zip(*trained[part], strict=True) if trained[part] else ((), (0.0,))
        peak = f"{min(lrs):g}" if min(lrs) == max(lrs) else f"{min(lrs):g} to {max(lrs):g}"
        learning = f"{sum(sizes)} parameters at lr {peak}" if sizes else "nothing trained"
        yield f"{part}: {learning}" + (f", {frozen[part]} frozen" if frozen[part] else "")
