"""Recordings of event cameras by the names of their files.

HDF5 files (3ET+, EV-Eye) stay on disk and are sliced there; other files are read once, piece by
piece, into columns on disk that are mapped into memory, so that a recording may be larger than it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.gaze.hdf5 import open_hdf5
from deft_llm.media.events import Events, EventSource, as_events, checked_columns

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)
_TYPES = (np.int64, np.int16, np.int16, np.uint8)
_NAMES = {
    "t": ("t", "ts", "time", "timestamp", "timestamps", "time_us", "t_us"),
    "x": ("x", "col", "column"),
    "y": ("y", "row"),
    "p": ("p", "pol", "polarity", "on", "polarities"),
}
_ROWS = 2_000_000  # of text read at a time


def open_events(path: Path) -> EventSource:
    """Open a recording.

    Args:
        path: A file: .h5 or .hdf5 (3ET+, EV-Eye and others, see ``hdf5``), .npz, .npy, .csv or
            .txt, and .aedat4, .raw, .dat or .es with the extra ``events``; or a folder with one of
            these (a recording of 3ET+, a session of EV-Eye).

    Returns:
        The events, sorted by time, polarity 0 or 1.

    Raises:
        UserError: If there is no such file, its kind is unknown or needs a package that is not
            installed, it is damaged or empty, or its events are none.
    """
    path = _chosen(path)
    kind = path.suffix.lower()
    if kind not in _READERS:
        raise UserError(
            f"{path}: {kind or 'no suffix'}; expected a recording of events: {', '.join(_READERS)}"
        )
    source = _READERS[kind](path)
    if not len(source):
        raise UserError(f"{path}: holds no events")
    return source


def _chosen(path: Path) -> Path:
    """The file itself; of a folder, the one recording in it or in its ``events`` folder."""
    if path.is_dir():
        inner = path / "events" if (path / "events").is_dir() else path
        # The labels of 3ET+ lie beside its events.
        found = sorted(
            f for f in inner.iterdir() if f.suffix.lower() in _READERS and f.stem != "label"
        )
        if len(found) != 1:
            names = ", ".join(f.name for f in found) or "none"
            raise UserError(f"{path}: a folder with one recording is expected, found {names}")
        return found[0]
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return path


def spooled(parts: Iterable[list[NDArray]], where: str) -> Events:
    """Gather parts of a recording on disk.

    Args:
        parts: Columns t, x, y, p of consecutive stretches.
        where: The file, for messages.

    Raises:
        UserError: As ``as_events``.
    """
    # They are gone when the last array that is mapped from them is.
    files: list[Any] = [tempfile.TemporaryFile() for _ in _TYPES]  # noqa: SIM115
    in_order, last, count = True, np.iinfo(np.int64).min, 0
    for part in parts:
        columns = checked_columns(part, where)
        t = columns[0]
        if len(t):
            in_order &= bool(t[0] >= last and (np.diff(t) >= 0).all())
            last, count = int(t[-1]), count + len(t)
        for file, column in zip(files, columns, strict=True):
            file.write(np.ascontiguousarray(column).data)
    for file in files:
        file.flush()
    if not count:
        return as_events(np.zeros((0, 4), np.int64))
    mapped: list[Any] = [np.memmap(f, kind, "r") for f, kind in zip(files, _TYPES, strict=True)]
    if not in_order:
        logger.info("%s: the times are not in order; sorted", where)
        return Events.sorted(*mapped)
    return Events(*mapped)


def _read_npz(path: Path) -> Events:
    try:
        arrays = _arrays(path)
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise UserError(f"{path}: not readable ({' '.join(str(error).split())[:120]})") from error
    except Exception as error:  # zipfile's and zlib's own errors for a cut-off file
        raise UserError(f"{path}: damaged ({error}); copy it again") from error
    if isinstance(arrays, np.ndarray):
        return as_events(arrays, str(path))
    columns = _by_name(list(arrays))
    if columns is not None:
        parts = [arrays[name] for name in columns]
        lengths = {len(part) for part in parts}
        if len(lengths) > 1:
            raise UserError(f"{path}: columns of {sorted(lengths)} events; expected equal lengths")
        return Events.sorted(*checked_columns(parts, str(path)))
    if len(arrays) == 1 or "events" in arrays:
        return as_events(arrays.get("events", next(iter(arrays.values()))), str(path))
    raise UserError(
        f"{path}: holds {', '.join(arrays)}; expected t, x, y, p, or events of shape (N, 4)"
    )


def _arrays(path: Path) -> NDArray | dict[str, NDArray]:
    """The array of a .npy file, or those of a .npz file by name."""
    held = np.load(path, allow_pickle=False)
    if isinstance(held, np.ndarray):
        return held
    with held:
        return {name: held[name] for name in held.files}


def _by_name(found: list[str]) -> list[str] | None:
    """The names that mean t, x, y and p; None unless all four are there."""
    lower = {name.strip().lower(): name for name in found}
    chosen = [next((lower[n] for n in names if n in lower), None) for names in _NAMES.values()]
    return None if None in chosen else [str(name) for name in chosen]


def _read_text(path: Path) -> Events:
    return spooled(_text_parts(path), str(path))


def _text_parts(path: Path) -> Iterator[list[NDArray]]:
    """Columns t, x, y, p of a text file, with a line of names or in this order."""
    import pandas as pd

    opening = _opening(path)
    if not opening:
        return
    *comments, first = opening
    separator, words = _split(first)
    named = any(not _is_number(word) for word in words)
    names = words if named else _names_in(comments, len(words))
    columns = _by_name(names or list("txyp"))
    if columns is None:
        raise UserError(f"{path}: columns {', '.join(words)}; expected t, x, y and p among them")
    if names is None and len(words) != 4:
        raise UserError(f"{path}: {len(words)} columns without names; expected t, x, y, p")
    skipped = len(opening) if named else len(comments)
    try:
        with pd.read_csv(
            path,
            sep=separator or r"\s+",
            names=names or list("txyp"),
            skiprows=skipped,
            chunksize=_ROWS,
            encoding="utf-8-sig",
            # One type a column and part: otherwise pandas warns of cells that are told below.
            low_memory=False,
        ) as parts:
            for part in parts:
                cells = part[columns]
                if not len(cells):
                    return
                _require_numbers(cells, path, skipped)
                yield [cells[name].to_numpy() for name in cells]
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable ({' '.join(str(error).split())})") from error


def _opening(path: Path) -> list[str]:
    """The lines of a text file up to the first that is neither empty nor a comment.

    Raises:
        UserError: If it is no text.
    """
    lines: list[str] = []
    try:
        # With a mark of the byte order, as spreadsheets write it, or without.
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                lines.append(line.strip())
                if lines[-1] and not lines[-1].startswith("#"):
                    return lines
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8; expected lines of t, x, y, p") from error
    return []


def _split(line: str) -> tuple[str | None, list[str]]:
    """What separates the words of a line, None for blanks; and the words."""
    separator = next((c for c in ",;\t" if c in line), None)
    return separator, [word.strip() for word in line.split(separator)]


def _names_in(comments: list[str], count: int) -> list[str] | None:
    """The names that the last comment gives so many columns, as NumPy writes them; or None."""
    found = (_split(comment.lstrip("# "))[1] for comment in reversed(comments))
    return next((names for names in found if len(names) == count and _by_name(names)), None)


def _require_numbers(cells: pd.DataFrame, path: Path, skipped: int) -> None:
    """Check that each cell of a part holds a number; ``skipped`` lines come before row 0.

    Raises:
        UserError: If one does not; names the line and the column.
    """
    import pandas as pd

    texts = [c for c in cells if cells[c].dtype.kind not in "iufb"]
    wrong = texts or [c for c in cells if cells[c].isna().any()]
    if wrong:
        numbers = pd.to_numeric(cells[wrong[0]], errors="coerce")
        # pandas leaves whole numbers that no type holds as Python's.
        bad = numbers.isna() | (numbers.abs() >= 2**63)
        line = _line_of(int(numbers.index[bad][0]), path, skipped)
        raise UserError(f"{path}, line {line}: {wrong[0]} is no number of 64 bits")


def _line_of(row: int, path: Path, skipped: int) -> int:
    """The line, from 1, of a row, from 0: empty lines are none."""
    with path.open(encoding="utf-8-sig") as file:
        filled = (n for n, line in enumerate(file, 1) if n > skipped and line.strip())
        return next(islice(filled, row, None))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _read_by_faery(path: Path) -> Events:
    try:
        import faery
    except ImportError as error:
        raise UserError(
            f"{path}: reading {path.suffix} needs faery; get it with: pip install "
            "'deft-llm[events]'"
        ) from error
    with path.open("rb") as file:
        # Without a header, faery takes any bytes for events.
        if path.suffix.lower() == ".raw" and file.read(1) != b"%":
            raise UserError(f"{path}: not readable as .raw (it has no header of lines with %)")
    try:
        stream = faery.events_stream_from_file(path)
        return spooled(
            ([part["t"], part["x"], part["y"], part["on"]] for part in stream), str(path)
        )
    except UserError:
        raise
    except Exception as error:  # its decoders raise plain exceptions
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not readable as {path.suffix} ({reason})") from error


_READERS: dict[str, Callable[[Path], EventSource]] = {
    **dict.fromkeys((".h5", ".hdf5"), open_hdf5),
    **dict.fromkeys((".npz", ".npy"), _read_npz),
    **dict.fromkeys((".csv", ".txt"), _read_text),
    **dict.fromkeys((".aedat4", ".raw", ".dat", ".es"), _read_by_faery),
}
