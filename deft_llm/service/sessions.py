"""Visitor sessions: their clips and uploads, which are deleted when the session ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from deft_llm.errors import UserError
from deft_llm.service.clip_service import ClipResult
from deft_llm.viz.cards import ChatTurn

MOST = 12  # sessions held at once: a clip of 200 frames takes 30 MB


@dataclass
class Session:
    """One visitor's clip, questions and uploaded files.

    Attributes:
        seen: The current clip.
        turns: Answered questions.
        waiting: Unanswered questions, in order.
        answering: Held while a question is answered, so that answers come in order.
        uploads: Files to delete with the session.
    """

    seen: ClipResult | None = None
    turns: list[ChatTurn] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    answering: Lock = field(default_factory=Lock)
    uploads: set[Path] = field(default_factory=set)


class Sessions:
    """Sessions by key; beyond ``MOST``, the one idle for longest is dropped."""

    def __init__(self, uploads: Path) -> None:
        """Set the upload folder: no file outside it is ever read for a visitor, or deleted."""
        self.folder = uploads.resolve()
        self._spared: frozenset[Path] = frozenset()
        self._held: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._held)

    def spare_present(self) -> None:
        """Mark the files now in the folder (examples) as shared: no session deletes them."""
        self._spared = frozenset(path for path in self.folder.rglob("*") if path.is_file())

    def get(self, key: str) -> Session:
        """The session with this key; created if missing."""
        with self._lock:
            # The end of the dictionary is what was used last.
            session = self._held.setdefault(key, Session())
            self._held.move_to_end(key)
            idle = list(self._held)[:-MOST]
        # Outside the lock, which ``forget`` takes itself and which is not reentrant.
        for other in idle:
            self.forget(other)
        return session

    def clip(self, key: str) -> ClipResult:
        """The current clip.

        Raises:
            UserError: If no clip has been explained yet.
        """
        seen = self.get(key).seen
        if seen is None:
            raise UserError("no clip yet: explain one first")
        return seen

    def upload(self, key: str, file: str | Mapping[str, Any] | None) -> Path:
        """The path of an uploaded file; the file is deleted with the session.

        Args:
            key: The session.
            file: A path, or the record of a file with its ``path``.

        Raises:
            UserError: If no file is given, or it is not an uploaded one.
        """
        named = file.get("path") if isinstance(file, Mapping) else file
        if not isinstance(named, str) or not named:
            raise UserError("no clip: upload a video, record one, or take an example")
        # Resolved first, so that neither ".." nor a link leads out of the upload folder.
        path = Path(named).resolve()
        if not path.is_relative_to(self.folder) or not path.is_file():
            raise UserError(f"{path.name}: not an uploaded file; upload it first")
        self.get(key).uploads.add(path)
        return path

    def forget(self, key: str) -> None:
        """End a session: drop its clip, and delete its uploads unless another session uses them."""
        with self._lock:
            session = self._held.pop(key, None)
            # Gradio stores equal files once, so two visitors may share a path.
            others = {path for held in self._held.values() for path in held.uploads}
        # Examples are shared by all visitors, as are equal uploads.
        for path in (session.uploads - others - self._spared) if session else ():
            path.unlink(missing_ok=True)
            # Each upload lies in a folder of its own, which would be left behind empty. Of two
            # sessions that end at once with the same upload, the other may have removed it.
            if path.parent != self.folder:
                with suppress(OSError):  # not empty, or gone
                    path.parent.rmdir()
