"""Simulated recordings on disk in the layout of 3ET+: events beside ``label.txt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deft_llm.errors import UserError
from deft_llm.files import replacing_folder
from deft_llm.simulator.events import EyeRecording


def write_recording(folder: Path, recording: EyeRecording, hdf5: bool = False) -> Path:
    """Write ``NAME/NAME.npz`` (or ``.h5``) and ``NAME/label.txt``, NAME being the folder's.

    Args:
        folder: New; it appears when it is whole.
        recording: What is written.
        hdf5: Write the file of 3ET+, which needs h5py, in place of an ``.npz``.

    Returns:
        The file of events.

    Raises:
        UserError: If h5py is missing.
    """
    events = recording.events
    name = f"{folder.name}{'.h5' if hdf5 else '.npz'}"
    rows = zip(recording.pupil, recording.closed, strict=True)
    text = "".join(f"({x:.3f}, {y:.3f}, {closed:d})\n" for (x, y), closed in rows)
    columns: dict[str, np.ndarray] = {"t": events.t, "x": events.x, "y": events.y, "p": events.p}
    with replacing_folder(folder) as partial:
        if hdf5:
            _write_hdf5(partial / name, columns)
        else:
            np.savez(partial / name, t=events.t, x=events.x, y=events.y, p=events.p)
        (partial / "label.txt").write_text(text, encoding="utf-8")
    return folder / name


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
