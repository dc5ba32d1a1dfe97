"""One MLflow run and the folder beside it, for whoever has something to write down.

Files are written to the folder first and copied to MLflow from there, values go
through the journal: without a store a run is complete all the same. Nothing
here waits for the store, and no fault of the store reaches the caller.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from audio_lm.tracking.journal import Journal
from audio_lm.tracking.outbox import Outbox, first_line
from audio_lm.tracking.pictures import figure_png
from audio_lm.tracking.provenance import Manifest
from audio_lm.tracking.store import TRACKING_ERRORS, Store, is_refusal

Status = Literal["FINISHED", "FAILED", "KILLED"]

log = logging.getLogger(__name__)


class Record:
    """One MLflow run; every method returns at once and is silent off the main rank."""

    def __init__(
        self,
        *,
        folder: Path,
        outbox: Outbox | None,
        store: Store,
        resume: bool,
        open_run: Callable[[], str],
    ) -> None:
        """Have the run opened.

        Args:
            folder: what is logged is written here too.
            outbox: none on ranks that write nothing.
            store: where the run is kept.
            resume: go on with the values an earlier attempt left in the folder.
            open_run: called from the outbox's thread; its result is the run's id.
        """
        self.folder = folder
        self.run_id: str | None = None
        self.status: Status | None = None
        self._outbox = outbox
        self._store = store
        self._journal: Journal | None = None
        self._has_posted_values = False
        self._open = open_run
        self._complaints: set[str] = set()
        if outbox is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(folder / "metrics.jsonl", resume=resume)
            outbox.post("the run", self._open_run, is_essential=True)
            self._post_values()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a point to each curve; without a step they are summaries, drawn as bars."""
        if self._journal is None:
            return
        try:
            self._journal.write(metrics, step or 0)
        except OSError as error:
            self._complain("metrics.jsonl", error)
        self._post_values()

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings, nested ones under dotted names.

        MLflow never changes a parameter. Where a resumed run differs from what it
        began with, ``resume/<time>_changed_params.json`` and a tag tell.
        """

        def send(run_id: str) -> None:
            changed = self._store.log_params(run_id, params)
            if changed:
                time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
                rows = [{"parameter": name, "was": old, "is": new} for name, (old, new) in changed.items()]
                self.log_table(rows, f"resume/{time}_changed_params.json")

        self._post("parameters", send)

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as a file of the run."""
        self._log_bytes(text.encode(), path)

    def log_figure(self, figure: Figure, path: str) -> None:
        """Keep a drawing as a PNG."""
        if self._outbox is not None:
            self._log_bytes(figure_png(figure), path)

    def log_table(self, rows: Sequence[Mapping[str, object]], path: str) -> None:
        """Keep rows as a table (``.json``) that MLflow's page can show; an older one is replaced."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
        self._log_bytes(json.dumps(table, ensure_ascii=False).encode(), path)
        self._post(path, lambda run_id: self._store.mark_table(run_id, path))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or folder that exists already; ``folder`` is where it goes within the run."""
        self._post(str(path), lambda run_id: self._store.log_artifact(run_id, path, folder))

    def log_inputs(self, manifests: Sequence[Manifest]) -> None:
        """Note which cut-sets the run reads."""
        self._post("inputs", lambda run_id: self._store.log_manifests(run_id, manifests))

    def close(self, status: Status) -> None:
        """Set how the run ended; what comes afterwards is still written."""
        self.status = status
        self._post("the status", lambda run_id: self._store.close_run(run_id, status))

    def _log_bytes(self, content: bytes, path: str) -> None:
        if self._outbox is None:
            return
        target = self.folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            self._complain(path, error)
            return
        folder = str(Path(path).parent)
        self.log_artifact(target, None if folder == "." else folder)

    def _post(self, subject: str, send: Callable[[str], object]) -> None:
        """Have something sent once the run is open; nothing is sent to a run the store refused to open."""
        if self._outbox is not None:
            self._outbox.post(subject, lambda: None if self.run_id is None else send(self.run_id))

    def _post_values(self) -> None:
        # One letter takes along all values that are there when it is sent.
        if self._outbox is not None and not self._has_posted_values:
            self._has_posted_values = True
            self._outbox.post("values", self._send_values, is_essential=True)

    def _open_run(self) -> None:
        self.run_id = self._open()

    def _send_values(self) -> None:
        self._has_posted_values = False
        if self._journal is None or self.run_id is None:
            return
        for points, offset in self._journal.unsent(self.run_id):
            try:
                self._store.log_points(self.run_id, points)
            except TRACKING_ERRORS as error:
                if is_refusal(error):
                    self._journal.mark_sent(self.run_id, offset)
                raise
            self._journal.mark_sent(self.run_id, offset)

    def _complain(self, what: str, error: OSError) -> None:
        if what not in self._complaints:
            log.warning("tracking: cannot write %s in %s (%s)", what, self.folder, first_line(error))
        self._complaints.add(what)


def status_after(error: BaseException | None) -> Status:
    """How a run ended that left with this exception.

    Ctrl-C and SIGTERM are no failures. Lightning turns Ctrl-C into ``sys.exit(1)``,
    so what lies behind an exit is looked at too.

    >>> status_after(None), status_after(KeyboardInterrupt()), status_after(ValueError())
    ('FINISHED', 'KILLED', 'FAILED')
    """
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0) and not _was_asked(error)):
        return "FINISHED"
    return "KILLED" if _was_asked(error) else "FAILED"


def status_of_lightning(word: str) -> Status:
    """The status for what Lightning tells its loggers: ``success``, ``finished`` or ``failed``."""
    if word in ("success", "finished"):
        return "FINISHED"
    # Lightning says "failed" for Ctrl-C too, while it handles the exception.
    return "KILLED" if _was_asked(sys.exc_info()[1]) else "FAILED"


def _was_asked(error: BaseException | None) -> bool:
    """Whether somebody asked the process to stop: Ctrl-C, SIGTERM, or saved and to be started again (75)."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException":
            return True
        if isinstance(error, SystemExit) and error.code == 75:
            return True
        error = error.__context__
    return False
