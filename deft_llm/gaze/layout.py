"""Simulated recordings on disk in the layout of 3ET+: events beside ``label.txt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deft_llm.errors import UserError
from deft_llm.files import replacing, write_text
from deft_llm.simulator.events import EyeRecording


def write_recording(folder: Path, recording: EyeRecording, hdf5: bool = False) -> Path:
    """Write ``NAME/NAME.npz`` (or ``.h5``) and ``NAME/label.txt``, NAME being the folder's.

    Args:
        folder: Created if missing.
        recording: What is written.
        hdf5: Write the file of 3ET+, which needs h5py, in place of an ``.npz``.

    Returns:
        The file of events.

    Raises:
        UserError: If h5py is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = recording.events
    path = folder / f"{folder.name}{'.h5' if hdf5 else '.npz'}"
    columns: dict[str, np.ndarray] = {"t": events.t, "x": events.x, "y": events.y, "p": events.p}
    with replacing(path) as partial:
        if hdf5:
            _write_hdf5(partial, columns)
        else:
            with partial.open("wb") as file:
                np.savez(file, t=events.t, x=events.x, y=events.y, p=events.p)
    rows = zip(recording.pupil, recording.closed, strict=True)
    text = "".join(f"({x:.3f}, {y:.3f}, {closed:d})\n" for (x, y), closed in rows)
    write_text(folder / "label.txt", text)
    return path


def _write_hdf5(path: Path, columns: dict[str, np.ndarray]) -> None:
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            "writing HDF5 needs h5py; get it with: pip install 'deft-llm[events]'"
        ) from error
    table = np.empty(len(columns["t"]), [(name, "<u8") for name in columns])
    for name, column in columns.items():
        table[name] = column
    with h5py.File(path, "w") as file:
        file.create_dataset("events", data=table, chunks=True, compression="lzf")
