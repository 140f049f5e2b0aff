"""What the page's tab for faces in 3D and 4D does: uploads in, HTML out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from deft_llm.data.scan_views import shaded
from deft_llm.errors import UserError
from deft_llm.facet.files import SCANS, SEQUENCES, embedded_weights, load_facet
from deft_llm.facet.scan_reader import ScanReader, ScanReading
from deft_llm.facet.texts import read_prompts
from deft_llm.scans.reading import is_sequence, read_scan, read_sequence
from deft_llm.service.page import Files, Page
from deft_llm.stages import READING, begin
from deft_llm.viz.scan_report import ViewPicture, scan_card


class ScanPage:
    """Reads uploaded scans; the networks are loaded once.

    Args:
        page: Whose sessions hold the uploads.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._readers: dict[str, ScanReader] = {}
        self._lock = Lock()

    def read(self, key: str, files: Files, prompts: str) -> tuple[str]:
        """The card of a scan, or of the frames of a sequence, for expressions of the visitor's.

        Raises:
            UserError: If no scan was uploaded, or it cannot be read.
        """
        if not files:
            raise UserError("no scan: upload one, or all frames of a sequence")
        if len(files) > self._page.service.limits.scan_frames:
            most = self._page.service.limits.scan_frames
            raise UserError(f"{len(files)} files; at most {most} frames are read")
        if loose := [line for line in prompts.splitlines() if line.strip() and not _maps(line)]:
            raise UserError(
                f"expressions: {loose[0].strip()!r} has no name; expected one a line, its name "
                "before its text, such as pouting: a pout"
            )
        begin(READING)
        paths = [self._page.sessions.upload(key, file) for file in files]
        with TemporaryDirectory() as scratch:
            own = Path(scratch) / "prompts.yaml"
            # ``read_prompts`` reads the same file from the command line: one way, the same errors.
            own.write_text(prompts, encoding="utf-8")
            face = paths[0] if len(paths) == 1 else _folder_of(paths, Path(scratch) / "sequence")
            reader, reading = self._reading(face, own if prompts.strip() else None)
        views = [
            ViewPicture(yaw, shaded(relief), relief.mask, seen, reading.weights.get(yaw))
            for yaw, relief, seen in zip(
                reader.config.yaws, reading.reliefs, reading.attention, strict=True
            )
        ]
        return (scan_card(paths[0].name, reading.record(), views, reader.tower),)

    def _reading(self, face: Path, prompts: Path | None) -> tuple[ScanReader, ScanReading]:
        if not is_sequence(face):
            reader = self._reader(SCANS, prompts)
            return reader, reader.read(read_scan(face), face.name)
        reader, frames = self._reader(SEQUENCES, prompts), read_sequence(face)
        return reader, reader.read_sequence(frames.scans, face.name, notes=frames.notes)

    def _reader(self, kind: str, prompts: Path | None) -> ScanReader:
        # Two visitors at once would load the same network twice.
        with self._lock:
            if kind not in self._readers:
                self._readers[kind] = ScanReader(load_facet(embedded_weights(kind)))
        usual = self._readers[kind]
        if prompts is None:
            return usual
        return usual.asked(read_prompts(prompts, usual.config.prompts))


def _maps(line: str) -> bool:
    """Whether a line names an expression, or belongs to one above it: an item of its list."""
    return ":" in line or line.lstrip().startswith(("#", "-")) or line[0].isspace()


def _folder_of(paths: Sequence[Path], folder: Path) -> Path:
    """The frames of a sequence in one folder: every upload lies in one of its own.

    Raises:
        UserError: If two have the same name, which numbers the frames.
    """
    folder.mkdir()
    for path in paths:
        link = folder / path.name
        if link.exists():
            raise UserError(f"{path.name}: two files have this name; number the frames")
        # A hundred frames of 3D are too large to copy for every reading.
        link.symlink_to(path)
    return folder
