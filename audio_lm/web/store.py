"""All open conversations of a server, their files, and the uploads that were not sent yet."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from audio_lm.common.errors import UserError
from audio_lm.web.limits import Limits
from audio_lm.web.sessions import Chat, PageSession, WordFinder


class ChatFactory(Protocol):
    """Source of new conversations with one model."""

    def __call__(self) -> Chat:
        """Start a conversation."""


class SessionStore:
    """All open conversations, by the random identifier of their page."""

    def __init__(
        self, new_chat: ChatFactory, folder: Path, limits: Limits, find_words: WordFinder | None = None
    ) -> None:
        """Create an empty store.

        Args:
            find_words: None if no model of the run writes time stamps.
            folder: of this server alone; sessions have subfolders.
        """
        self.limits = limits
        self.find_words = find_words
        self._new_chat = new_chat
        self._folder = folder
        self._sessions: dict[str, PageSession] = {}
        self._uploads: dict[str, set[Path]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, session_id: str) -> PageSession | None:
        """The conversation of a page; None before its first question."""
        return self._sessions.get(session_id)

    def open(self, session_id: str) -> PageSession:
        """The conversation of a page, which begins here if there is none.

        Raises:
            UserError: too many conversations are open.
        """
        with self._lock:
            if session_id not in self._sessions:
                self._make_room()
                folder = self._folder / f"session-{len(self._sessions)}-{time.monotonic_ns()}"
                folder.mkdir(mode=0o700)
                self._sessions[session_id] = PageSession(
                    self._new_chat(), folder, self.limits, self.find_words
                )
            return self._sessions[session_id]

    def close(self, session_id: str) -> None:
        """End the conversation of a page; delete its folder and the uploads that no other page has."""
        with self._lock:
            session = self._sessions.pop(session_id, None)
        if session is not None:
            session.close()
        self.keep_uploads(session_id, ())

    def close_all(self) -> None:
        """End all conversations."""
        for session_id in [*self._sessions, *self._uploads]:
            self.close(session_id)

    def keep_uploads(self, session_id: str, paths: Sequence[Path]) -> None:
        """Set the uploads that a page may still send; delete its others.

        A file is named by its content, so that two pages that upload the same one share it.
        """
        with self._lock:
            earlier = self._uploads.pop(session_id, set())
            if paths:
                self._uploads[session_id] = set(paths)
            used = Counter(path for kept in self._uploads.values() for path in kept)
            for path in earlier:
                if not used[path]:
                    path.unlink(missing_ok=True)

    def find_file(self, name: str) -> Path | None:
        """File of a clip of any conversation by its random name."""
        for session in list(self._sessions.values()):
            if (path := session.folder / name).is_file():
                return path
        return None

    def _make_room(self) -> None:
        """Delete the conversation that was unused longest, if one must go and may.

        Raises:
            UserError: every conversation has been used lately.
        """
        if len(self._sessions) < self.limits.num_sessions:
            return
        oldest = min(self._sessions, key=lambda name: self._sessions[name].last_used)
        session = self._sessions[oldest]
        if session.is_answering or time.monotonic() - session.last_used < self.limits.idle_seconds:
            raise UserError(
                f"{len(self._sessions)} conversations are open -- expected at most {self.limits.num_sessions}; "
                f"try again when one has ended"
            )
        self._sessions.pop(oldest).close()
