"""One MLflow run and the folder beside it, for whoever has something to write down.

Files are written to the folder, values and everything else to its journals: without a store a run is complete
all the same. Nothing here knows the store, waits for it, or can fail because of it.
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
ASKED = (75, 130)  # exit codes of a run that saved and asks to be started again, and of Ctrl-C

log = logging.getLogger(__name__)


class Record:
    """One MLflow run; every method returns at once and is silent off the main rank."""

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
        """Have the run opened.

        Args:
            root: the folder of the recipe's run.
            key: ``recipe``, or the folder of a stage below the root; what is logged is written there too.
            journal: of the recipe's run; none on ranks that write nothing.
            resume: go on with what an earlier attempt left in the folder.
            name: of the run.
            tags: of the run.
            facts: what else its entry in the journal says.

        Raises:
            OSError: the folder cannot be written.
        """
        self.root = root
        self.key = key
        self.folder = root if key == RECIPE else root / key
        self.status: Status | None = None
        self._journal = journal
        self._values: MetricsWriter | None = None
        self._complaints: set[str] = set()
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
        """The run in MLflow; none until the store has been reached."""
        return None if self._journal is None else run_id_of(self.root, self.key, self._journal_id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a point to each curve; without a step they are summaries, drawn as bars."""
        if self._values is not None:
            self._values.write(metrics, step or 0)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings, nested ones under dotted names.

        MLflow never changes a parameter. Where a resumed run differs from what it
        began with, ``resume/<time>_changed_params.json`` and a tag tell.
        """
        if self._journal is None:
            return
        flat = flatten_params(mask_tree(params))
        changed = self._journal.changed(self.key, flat)
        self._journal.append("params", self.key, params=flat)
        if changed:
            names = shorten(", ".join(sorted(changed)), MAX_TAG_LENGTH)
            self._journal.append("tags", self.key, tags={"resume.changed": names})
            time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            rows = [{"parameter": name, "was": old, "is": new} for name, (old, new) in changed.items()]
            self.log_table(rows, f"resume/{time}_changed_params.json")

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as a file of the run."""
        self._log_bytes(text.encode(errors="backslashreplace"), path)

    def log_figure(self, figure: Figure, path: str) -> None:
        """Keep a drawing as a PNG."""
        if self._journal is not None:
            self._log_bytes(figure_png(figure), path)

    def log_table(self, rows: Sequence[Mapping[str, object]], path: str) -> None:
        """Keep rows as a table (``.json``) that MLflow's page can show; an older one is replaced."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
        text = json.dumps(table, ensure_ascii=False, default=str)
        if self._log_bytes(text.encode(errors="backslashreplace"), path):
            self._append("table", path=path)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Have a file or folder copied that exists already; ``folder`` is where it goes within the run."""
        place = path.absolute()
        is_ours = place.is_relative_to(self.root)
        self._append("artifact", path=str(place.relative_to(self.root) if is_ours else place), folder=folder)

    def log_inputs(self, manifests: Sequence[InputCutSet]) -> None:
        """Note which cut-sets the run reads."""
        inputs = [{**asdict(manifest), "path": str(manifest.path)} for manifest in manifests]
        self._append("inputs", inputs=inputs)

    def sync(self) -> None:
        """Return when everything written so far is on the disk."""
        if self._journal is not None and self._values is not None:
            self._values.sync()
            self._journal.sync()

    def close(self, status: Status) -> None:
        """Set how the run ended; what comes afterwards is still written."""
        self.status = status
        self._append("end", status=status)

    @property
    def num_dropped(self) -> int:
        """Points for which the disk had no room."""
        return 0 if self._values is None else self._values.num_dropped

    def _append(self, kind: str, **content: object) -> None:
        if self._journal is not None:
            self._journal.append(kind, self.key, **content)

    def _log_bytes(self, content: bytes, path: str) -> bool:
        """Write a file below the folder in one move, and have it copied."""
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
            self._complain(path, error)
            return False
        folder = str(Path(path).parent)
        self.log_artifact(target, None if folder == "." else folder)
        return True

    def _complain(self, what: str, error: OSError) -> None:
        if what not in self._complaints:
            log.warning("tracking: cannot write %s in %s (%s)", what, self.folder, error.strerror)
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
    """Whether somebody asked the process to stop: Ctrl-C, SIGTERM, or an exit or a ``reason`` of such a code."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException":
            return True
        reason = error if isinstance(error, SystemExit) else getattr(error, "reason", None)
        if getattr(reason, "code", None) in ASKED:
            return True
        error = error.__context__
    return False
