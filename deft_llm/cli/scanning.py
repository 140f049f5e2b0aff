"""One scan of ``deft-llm scan``: read it, tell of it, write its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft_llm.cli.light_start import use_one_thread
from deft_llm.errors import UserError
from deft_llm.facet.files import MICRO, SCANS, SEQUENCES, embedded_weights, load_facet
from deft_llm.facet.scan_reader import ScanReader, ScanReading, probabilities_line
from deft_llm.facet.texts import read_prompts
from deft_llm.files import text_of
from deft_llm.scans.range_images import Camera
from deft_llm.scans.reading import is_sequence, read_scan, read_sequence

_COLUMNS = ("scan", "expression", "probability", "frames", "problem")


@dataclass(frozen=True)
class ScanDone:
    """What a scan gave.

    Attributes:
        lines: Label and text of each line to print.
        row: Of the CSV.
        record: Of the JSON.
    """

    lines: list[tuple[str, str]]
    row: dict[str, Any]
    record: dict[str, Any]


@dataclass
class Scanning:
    """Reads scans with one network for each kind of input.

    Attributes:
        weights: Folder of the network that is asked for; None for those that come along.
        prompts: File of the user's prompts.
        without: Yaws of the views that are left out.
        camera: Of depth maps.
        out: Folder of the reports; None writes none.
    """

    weights: Path | None
    prompts: Path | None
    without: tuple[float, ...]
    camera: Camera
    out: Path | None

    def __post_init__(self) -> None:
        self._readers: dict[Path, ScanReader] = {}

    @classmethod
    def of(
        cls,
        weights: Path | None,
        prompts: Path | None,
        without: tuple[float, ...],
        pitch: float | None,
        focal: float | None,
        out: Path | None,
    ) -> Scanning:
        """From the command's options; "micro" is a network that comes along, unless a folder is.

        Raises:
            UserError: If both pitch and focal length are given, or one is not positive.
        """
        if pitch is not None and focal is not None:
            raise UserError("--pitch and --focal: a depth map is orthographic or not; give one")
        for name, value in (("--pitch", pitch), ("--focal", focal)):
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"{name} {value:g}: expected a number above 0")
        if weights is not None and str(weights) == MICRO and not weights.exists():
            weights = embedded_weights(MICRO)
        # The networks are small, and the views of a scan come one after the other.
        use_one_thread()
        return cls(weights, prompts, without, Camera(pitch, focal), out)

    def read(self, path: Path) -> ScanDone:
        """Read a scan or a sequence.

        Raises:
            UserError: If it cannot be read, shows no face, or the network cannot be loaded.
        """
        reader, reading = self.reading(path)
        record = {"scan": text_of(path), **reading.record()}
        lines = _lines(path, reading)
        if self.out is not None:
            lines.append(("report", str(self._report(path, reader, reading, record))))
        shares = reading.probabilities
        first = reading.expression
        frames = 1 if reading.curve is None else len(reading.curve)
        values = (str(path), first, f"{shares[first]:.4f}", frames, "")
        return ScanDone(lines, dict(zip(_COLUMNS, values, strict=True)), record)

    def reading(self, path: Path) -> tuple[ScanReader, ScanReading]:
        """What a scan or a sequence is read as, and by which reader.

        Raises:
            UserError: As ``read``.
        """
        if not is_sequence(path):
            reader = self._reader(SCANS)
            return reader, reader.read(read_scan(path, self.camera), str(path), self.without)
        reader, frames = self._reader(SEQUENCES), read_sequence(path, self.camera)
        notes = _notes_of(frames.scans, frames.notes)
        return reader, reader.read_sequence(frames.scans, str(path), self.without, notes)

    def failed_row(self, path: Path, error: UserError) -> dict[str, Any]:
        """The CSV's row of a scan that could not be read."""
        return dict(zip(_COLUMNS, (str(path), "", "", 0, str(error)), strict=True))

    def _reader(self, kind: str) -> ScanReader:
        """The reader of 3D scans or of sequences, loaded once."""
        # A network of the user's reads both kinds; ours are one for each.
        folder = self.weights or embedded_weights(kind)
        # Scans and sequences may come mixed, and a network takes a second to load.
        if folder not in self._readers:
            loaded = load_facet(folder)
            known = loaded.network.config.prompts
            chosen = None if self.prompts is None else read_prompts(self.prompts, known)
            self._readers[folder] = ScanReader(loaded, chosen)
        return self._readers[folder]

    def _report(
        self, path: Path, reader: ScanReader, reading: ScanReading, record: dict[str, Any]
    ) -> Path:
        from deft_llm.data.scan_views import shaded
        from deft_llm.viz.report_folder import report_folder, safe_name, source_mark
        from deft_llm.viz.scan_report import ViewPicture, write_scan_report

        views = [
            ViewPicture(yaw, shaded(relief), relief.mask, seen, reading.weights.get(yaw))
            for yaw, relief, seen in zip(
                reader.config.yaws, reading.reliefs, reading.attention, strict=True
            )
        ]
        assert self.out is not None
        # As for clips: a scan that is read again replaces its own report and no other.
        mark = source_mark(path)
        with report_folder(self.out, safe_name(path.stem), mark) as folder:
            return write_scan_report(
                folder, text_of(path.name), {**record, "source": mark}, views, reader.tower
            )


def scan_beside(path: Path) -> tuple[dict[str, Any], str]:
    """Read a scan that comes with a clip.

    Returns:
        Its record for the clip's report, and a line that tells of it.

    Raises:
        UserError: As ``Scanning.read``.
    """
    reading = Scanning.of(None, None, (), None, None, None).reading(path)[1]
    shares = probabilities_line(reading.probabilities)
    line = f"{path.name}, by itself: {shares}; the model is not shown it"
    return {"name": text_of(path.name), **reading.record()}, line


def _notes_of(scans: Any, notes: tuple[str, ...]) -> list[str]:
    """Notes on a sequence, and those of its files, each once."""
    return list(dict.fromkeys((*notes, *(note for scan in scans for note in scan.notes))))


def _lines(path: Path, reading: ScanReading) -> list[tuple[str, str]]:
    # Signed: to the subject's left and right by the same angle are two views.
    weights = " · ".join(f"{yaw:+g}° {weight:.2f}" for yaw, weight in reading.weights.items())
    # They come sorted, the nearest first.
    near = reading.prompts[0]
    lines = [
        ("scan", str(path)),
        ("face", probabilities_line(reading.probabilities)),
        ("views", weights.replace("+0°", "0°")),
        ("prompt", f"{near.text!r} ({near.expression}, cosine {near.likeness:.2f})"),
    ]
    if reading.curve is not None:
        # Frames of a sequence are files, which people count from 1.
        peak = int(reading.curve.argmax())
        moved = reading.curve[peak]
        told = f"{len(reading.curve)} frames, most at frame {peak + 1}: {moved:.2f} mm"
        lines.append(("motion", told))
    return [*lines, *(("note", note) for note in reading.notes)]
