"""Everything that a reader mended, dropped or noted: no row changes silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Action = Literal["mended", "dropped", "noted"]


@dataclass(frozen=True)
class Note:
    """One remark.

    Attributes:
        file: Name of the sheet or folder.
        row: Row number in the spreadsheet, from 1 and counting the header; None for a folder.
        what: What was found.
        why: Why it is not used, or what replaces it.
        action: "mended" (used with a change), "dropped" (not used), "noted" (used unchanged).
    """

    file: str
    row: int | None
    what: str
    why: str
    action: Action

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file}, row {self.row}"
        return f"{self.action:<7}  {place}: {self.what}; {self.why}"


@dataclass
class Report:
    """All remarks of one reading, in order."""

    notes: list[Note] = field(default_factory=list)

    def add(self, file: str, row: int | None, what: str, why: str, action: Action) -> None:
        """Add one remark."""
        self.notes.append(Note(file, row, what, why, action))

    def extend(self, notes: Iterable[Note]) -> None:
        """Add several remarks."""
        self.notes.extend(notes)

    def __iter__(self) -> Iterator[Note]:
        return iter(self.notes)

    def __len__(self) -> int:
        return len(self.notes)

    def count(self, action: Action) -> int:
        """Number of remarks with this action."""
        return sum(note.action == action for note in self.notes)

    def summary(self) -> str:
        """For example "12 mended, 1 dropped"; "nothing to mend" for an empty report."""
        counts = Counter(note.action for note in self.notes)
        return ", ".join(f"{n} {action}" for action, n in counts.items()) or "nothing to mend"

    def rows(self) -> list[dict[str, Any]]:
        """JSON-ready rows."""
        return [asdict(note) for note in self.notes]
