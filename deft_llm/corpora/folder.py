"""The folder of a licensed dataset, and what to say where it is not as expected."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from deft_llm.errors import UserError

_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".z01", ".001")


class DatasetFolder:
    """A dataset on disk, of videos or of scans.

    Attributes:
        name: Key in the list of its kind.
        title: Its name as the authors write it.
        licence: Whom to ask for access.
        tree: Expected layout, for messages.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    tree: ClassVar[str]

    def __init__(self, root: Path | str) -> None:
        """Open the folder.

        Raises:
            UserError: If it is missing; the message shows the expected tree.
        """
        self.root = Path(root)
        if self.root.is_file():
            raise UserError(f"{self.root}: a file; give the folder of {self.title} that holds it")
        if not self.root.is_dir():
            raise self._missing(f"{self.root}: no such folder")

    def packed(self) -> str:
        """A word on an archive that lies near the top of the folder, as it was downloaded."""
        for pattern in ("*", "*/*"):
            for path in sorted(self.root.glob(pattern)):
                if path.name.lower().endswith(_ARCHIVES) and path.is_file():
                    return f"; {path} is still packed: unpack it"
        return ""

    def _missing(self, what: str) -> UserError:
        tree = "\n".join(f"    {line}" for line in self.tree.strip().splitlines())
        return UserError(
            f"{what}; {self.title} is expected as\n{tree}\n"
            f"  It is given out by {self.licence}; ask there for the licence agreement."
        )
