"""Clips that clients sent to a server, by id, until they are deleted or newer ones replace them."""

from __future__ import annotations

import re
import shutil
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from threading import Lock

from deft_llm.service.clip_service import ClipResult
from deft_llm.service.sessions import MOST

_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass
class StoredClip:
    """A clip that a client sent.

    Attributes:
        id: Its id.
        path: The video, or the folder of its frames; deleted once the clip is measured.
        bytes: Size of the video or of all frames.
        created: Unix time, seconds.
        seen: The clip, measured and explained; None until somebody asks about it.
    """

    id: str
    path: Path
    bytes: int
    created: int = field(default_factory=lambda: int(time.time()))
    seen: ClipResult | None = None


class ClipStore:
    """Stored clips; beyond ``MOST``, the one that was unused for longest is dropped."""

    def __init__(self, folder: Path) -> None:
        """Set the folder in which the clips lie; nothing outside it is read or deleted."""
        self.folder = folder
        self._held: OrderedDict[str, StoredClip] = OrderedDict()
        self._lock = Lock()

    def place(self, key: str, name: str) -> Path:
        """A path for a new clip, in a folder of its own that exists.

        Args:
            key: The clip's id.
            name: The client's name of it, of which harmless characters are kept.
        """
        # A client on Windows sends its own separators.
        last = PurePosixPath(name.replace("\\", "/")).name
        # 60 letters are at most 240 bytes, which every file system takes; the suffix is at the end.
        safe = _UNSAFE.sub("_", last)[-60:].lstrip(".") or "clip"
        folder = self.folder / key
        folder.mkdir(exist_ok=True)
        return folder / safe

    def add(self, clip: StoredClip) -> StoredClip:
        """Hold a clip whose file is complete."""
        with self._lock:
            self._held[clip.id] = clip
            # The first of the dictionary is the one unused for longest, see ``get``.
            dropped = [self._held.popitem(last=False)[1] for _ in range(len(self._held) - MOST)]
        # Outside the lock: a folder of frames takes a while.
        for old in dropped:
            self.delete_file(old)
        return clip

    def get(self, key: str) -> StoredClip | None:
        """The clip with this id, which counts as used now; None if there is none."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def clips(self) -> list[StoredClip]:
        """All clips, those used last at the end."""
        with self._lock:
            return list(self._held.values())

    def remove(self, key: str) -> bool:
        """Delete a clip; whether there was one."""
        with self._lock:
            clip = self._held.pop(key, None)
        if clip is not None:
            self.delete_file(clip)
        return clip is not None

    def delete_file(self, clip: StoredClip) -> None:
        """Delete a clip's video or frames; what was measured stays."""
        shutil.rmtree(self.folder / clip.id, ignore_errors=True)
