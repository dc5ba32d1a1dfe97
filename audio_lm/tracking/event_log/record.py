"""Interface for logging to one MLflow run and its folder.

Files are written to the folder, metrics and other events to the event log, so a run is complete without a store.
This module never calls the store, waits for it or fails because of it.
"""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from audio_lm.common.files import write_bytes
from audio_lm.common.secrets import mask_tree
from audio_lm.tracking.event_log.journal import RECIPE, VALUES, Journal, MetricsWriter, head_of
from audio_lm.tracking.event_log.names import MAX_TAG_LENGTH, flatten_params, shorten
from audio_lm.tracking.event_log.provenance import InputCutSet
from audio_lm.tracking.mlflow.state import run_id_of
from audio_lm.tracking.report.figures import figure_png

Status = Literal["FINISHED", "FAILED", "KILLED"]
STOP_EXIT_CODES = (75, 130)  # preempted, with a checkpoint to resume from; Ctrl-C

log = logging.getLogger(__name__)


class Record:
    """Log of one MLflow run; methods return at once and do nothing on ranks other than the main one."""

    def __init__(
        self,
        *,
        root: Path,
        key: str,
        journal: Journal | None,
        resume: bool,
        name: str,
        tags: Mapping[str, str],
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """Open the run.

        Args:
            root: folder of the recipe's run.
            key: ``recipe``, or the folder of a stage below ``root``; logged files are written there.
            journal: journal of the recipe's run; None on ranks that do not log.
            resume: continue the log of an earlier attempt.
            name: name of the run.
            tags: tags of the run.
            facts: further fields of its event in the journal.

        Raises:
            OSError: the folder cannot be written.
        """
        self.root = root
        self.key = key
        self.folder = root if key == RECIPE else root / key
        self.status: Status | None = None
        self._journal = journal
        self._values: MetricsWriter | None = None
        self._warned: set[str] = set()
        if journal is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            short = {tag: shorten(value, MAX_TAG_LENGTH) for tag, value in tags.items()}
            values, known = self.folder / VALUES, head_of(self.folder / VALUES) if resume else ""
            self._journal_id = journal.open_run(
                key, resume=resume, known=known, **mask_tree({"name": name, "tags": short, **(facts or {})})
            )
            self._values = MetricsWriter(
                values, journal_id=self._journal_id, resume=resume, write_guard=journal.write_guard
            )

    @property
    def run_id(self) -> str | None:
        """MLflow run id; None until the run exists in the store."""
        return None if self._journal is None else run_id_of(self.root, self.key, self._journal_id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics at a step; without a step they are summaries, which MLflow shows as bars."""
        if self._values is not None:
            self._values.write(metrics, step or 0)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters, nested ones under dotted names.

        MLflow parameters are immutable. If parameters change when a run resumes, the changes
        are logged in ``resume/<time>_changed_params.json`` and in the tag ``resume.changed``.
        """
        self._log_settings("params", params)

    def log_settings(self, settings: Mapping[str, object]) -> None:
        """Keep settings in the event log without showing them as parameters; changes are logged as for parameters."""
        self._log_settings("settings", settings)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; a later value replaces an earlier one."""
        self._append(
            "tags", tags=mask_tree({tag: shorten(text, MAX_TAG_LENGTH) for tag, text in tags.items()})
        )

    def _log_settings(self, kind: str, settings: Mapping[str, object]) -> None:
        if self._journal is None:
            return
        flat = flatten_params(mask_tree(settings))
        changed = self._journal.changed_settings(self.key, flat)
        self._journal.append(kind, self.key, **{kind: flat})
        if changed:
            names = shorten(", ".join(sorted(changed)), MAX_TAG_LENGTH)
            self._journal.append("tags", self.key, tags={"resume.changed": names})
            time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            rows = [{"parameter": name, "was": old, "is": new} for name, (old, new) in changed.items()]
            self.log_table(rows, f"resume/{time}_changed_params.json")

    def log_text(self, text: str, path: str) -> None:
        """Log a text as an artifact."""
        self._log_bytes(text.encode(errors="backslashreplace"), path)

    def log_figure(self, figure: Figure, path: str) -> None:
        """Log a figure as a PNG artifact."""
        if self._journal is not None:
            self._log_bytes(figure_png(figure), path)

    def log_table(self, rows: Sequence[Mapping[str, object]], path: str) -> None:
        """Log rows as a ``.json`` table that MLflow's web page can show; an older table is replaced."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
        text = json.dumps(table, ensure_ascii=False, default=str)
        if self._log_bytes(text.encode(errors="backslashreplace"), path):
            self._append("table", path=path)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log an existing file or folder as an artifact, into ``folder`` of the run's artifacts."""
        place = path.absolute()
        is_ours = place.is_relative_to(self.root)
        self._append("artifact", path=str(place.relative_to(self.root) if is_ours else place), folder=folder)

    def log_inputs(self, cut_sets: Sequence[InputCutSet]) -> None:
        """Log the cut-sets that the run reads."""
        inputs = [{**asdict(cut_set), "path": str(cut_set.path)} for cut_set in cut_sets]
        self._append("inputs", inputs=inputs)

    def sync(self) -> None:
        """Sync everything logged so far to disk."""
        if self._journal is not None and self._values is not None:
            self._values.sync()
            self._journal.sync()

    def close(self, status: Status) -> None:
        """Set the final status; logging remains possible afterwards."""
        self.status = status
        self._append("end", status=status)

    @property
    def summaries(self) -> dict[str, float]:
        """Values logged without steps, by earlier attempts too."""
        return {} if self._values is None else self._values.summaries

    @property
    def num_dropped(self) -> int:
        """Number of points dropped because the disk was full."""
        return 0 if self._values is None else self._values.num_dropped

    def _append(self, kind: str, **content: object) -> None:
        if self._journal is not None:
            self._journal.append(kind, self.key, **content)

    def _log_bytes(self, content: bytes, path: str) -> bool:
        """Write a file to the run's folder atomically and log it as an artifact."""
        if self._journal is None:
            return False
        target = self.folder / path
        try:
            with self._journal.write_guard() as is_ours:
                if not is_ours:
                    return False
                target.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(target, content)
        except OSError as error:
            self._warn_once(path, error)
            return False
        folder = str(Path(path).parent)
        self.log_artifact(target, None if folder == "." else folder)
        return True

    def _warn_once(self, path: str, error: OSError) -> None:
        if path not in self._warned:
            log.warning("tracking: cannot write %s in %s (%s)", path, self.folder, error.strerror)
        self._warned.add(path)


def status_after(error: BaseException | None) -> Status:
    """MLflow status of a run that ended with this exception.

    Ctrl-C and SIGTERM are not failures. Lightning turns Ctrl-C into ``sys.exit(1)``,
    so the context of an exception is examined too.

    >>> status_after(None), status_after(KeyboardInterrupt()), status_after(ValueError())
    ('FINISHED', 'KILLED', 'FAILED')
    """
    if error is None or (
        isinstance(error, SystemExit) and error.code in (None, 0) and not _was_stopped(error)
    ):
        return "FINISHED"
    return "KILLED" if _was_stopped(error) else "FAILED"


def status_of_lightning(lightning_status: str) -> Status:
    """MLflow status for Lightning's status: ``success``, ``finished`` or ``failed``."""
    if lightning_status in ("success", "finished"):
        return "FINISHED"
    # Lightning also passes "failed" for Ctrl-C, while it handles the exception.
    return "KILLED" if _was_stopped(sys.exc_info()[1]) else "FAILED"


def _was_stopped(error: BaseException | None) -> bool:
    """True if the process was stopped from outside: Ctrl-C, SIGTERM, or an exit or ``reason`` with such a code."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException":
            return True
        reason = error if isinstance(error, SystemExit) else getattr(error, "reason", None)
        if getattr(reason, "code", None) in STOP_EXIT_CODES:
            return True
        error = error.__context__
    return False
