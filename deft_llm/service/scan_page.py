"""What the page's tab for faces in 3D and 4D does: uploads in, HTML out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from deft_llm.data.scan_views import shaded
from deft_llm.errors import UserError
from deft_llm.facet.files import embedded_weights, load_facet
from deft_llm.facet.scan_reader import ScanReader, ScanReading
from deft_llm.facet.texts import read_prompts
from deft_llm.scans.frame_files import numbered_files
from deft_llm.scans.reading import is_sequence, read_scan, read_sequence
from deft_llm.service.page import Files, Page
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

    def read(self, key: str, files: Files, prompts: str) -> str:
        """The card of a scan, or of the frames of a sequence, for expressions of the visitor's.

        Raises:
            UserError: If no scan was uploaded, or it cannot be read.
        """
        if not files:
            raise UserError("no scan: upload one, or all frames of a sequence")
        if len(files) > self._page.service.limits.scan_frames:
            most = self._page.service.limits.scan_frames
            raise UserError(f"{len(files)} files; at most {most} frames are read")
        paths = [self._page.sessions.upload(key, file) for file in files]
        with TemporaryDirectory() as scratch:
            own = Path(scratch) / "prompts.yaml"
            own.write_text(prompts, encoding="utf-8")
            reader, reading = self._reading(paths, own if prompts.strip() else None)
        views = [
            ViewPicture(yaw, shaded(relief), relief.mask, seen, reading.weights.get(yaw))
            for yaw, relief, seen in zip(
                reader.config.yaws, reading.reliefs, reading.attention, strict=True
            )
        ]
        return scan_card(paths[0].name, reading.record(), views, reader.tower)

    def _reading(self, paths: list[Path], prompts: Path | None) -> tuple[ScanReader, ScanReading]:
        name = paths[0].name
        if len(paths) == 1 and not is_sequence(paths[0]):
            reader = self._reader("scans", prompts)
            return reader, reader.read(read_scan(paths[0]), name)
        reader = self._reader("sequences", prompts)
        if len(paths) == 1:
            read = read_sequence(paths[0])
            frames, notes = read.scans, list(read.notes)
        else:
            # Every upload lies in a folder of its own.
            files, notes = numbered_files(paths)
            frames = tuple(read_scan(path) for _, path in files)
        return reader, reader.read_sequence(frames, name, notes=notes)

    def _reader(self, kind: str, prompts: Path | None) -> ScanReader:
        with self._lock:
            if kind not in self._readers:
                self._readers[kind] = ScanReader(load_facet(embedded_weights(kind)))
        usual = self._readers[kind]
        if prompts is None:
            return usual
        return usual.asked(read_prompts(prompts, usual.config.prompts))
