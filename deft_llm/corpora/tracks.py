"""Landmark and AU tracks that OpenFace and py-feat write, as arrays.

OpenFace 2 (FeatureExtraction): ``frame`` from 1, ``face_id``, ``timestamp``, ``confidence``,
``success``, ``x_0..x_67``, ``y_0..y_67`` in pixels, ``AUnn_r`` intensity 0..5, ``AUnn_c`` presence
0 or 1; its headers begin with blanks. py-feat (Fex): ``frame`` from 0, ``FaceScore``, the same
landmarks, ``AUnn`` probability 0..1. Both number landmarks as iBUG's 68, image-left first. The
columns are those of the tools' documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deft_llm.errors import UserError

Floats = NDArray[np.float32]
_X = [f"x_{i}" for i in range(68)]
_Y = [f"y_{i}" for i in range(68)]


@dataclass(frozen=True)
class Track:
    """One face over a clip.

    Attributes:
        tool: Who wrote it.
        frames: (T,) int64, frame indices from 0, increasing; frames without a row are absent.
        timestamps: (T,) seconds; NaN where the tool wrote none.
        landmarks: (T, 68, 2) float32 px; NaN where no face was found.
        confidence: (T,) float32 in 0..1; 0 where no face was found.
        intensity: AU number -> (T,) float32, 0..5 (OpenFace only).
        presence: AU number -> (T,) float32: 0 or 1 from OpenFace, a probability from py-feat.
    """

    tool: Literal["openface", "py-feat"]
    frames: NDArray[np.int64]
    timestamps: NDArray[np.float64]
    landmarks: Floats
    confidence: Floats
    intensity: dict[int, Floats]
    presence: dict[int, Floats]

    @property
    def present(self) -> NDArray[np.bool_]:
        """(T,), where a face was found."""
        found: NDArray[np.bool_] = np.isfinite(self.landmarks).all((1, 2)) & (self.confidence > 0)
        return found


def read_track(path: Path) -> Track:
    """Read a CSV of OpenFace or py-feat; which one, its columns tell.

    Of several faces in a frame, the one that is found in most frames is kept (OpenFace), or the
    surest (py-feat, which does not tell faces apart).

    Raises:
        UserError: If the file is missing, no table, or lacks columns.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a CSV of OpenFace or py-feat")
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as CSV ({error})") from error
    table.columns = table.columns.str.strip()
    openface = "success" in table and "confidence" in table
    wanted = ["frame", *_X, *_Y, *([] if openface else ["FaceScore"])]
    missing = [name for name in wanted if name not in table]
    if missing or table.empty:
        what = f"no column {missing[0]!r}" if missing else "no row"
        raise UserError(
            f"{path}: {what}; expected frame, x_0..x_67, y_0..y_67 with success and confidence "
            "(OpenFace) or FaceScore (py-feat)"
        )
    return _openface(table) if openface else _py_feat(table)


def _openface(table: pd.DataFrame) -> Track:
    if "face_id" in table and table["face_id"].nunique() > 1:
        found = table[table["success"] > 0]["face_id"]
        main = (found if len(found) else table["face_id"]).mode().iloc[0]
        table = table[table["face_id"] == main]
    table = table.sort_values("frame").drop_duplicates("frame")
    seen = table["success"].to_numpy() > 0
    times = table["timestamp"] if "timestamp" in table else pd.Series(np.nan, table.index)
    return Track(
        "openface",
        table["frame"].to_numpy(np.int64) - 1,
        np.asarray(times, np.float64),
        _landmarks(table, seen),
        np.where(seen, table["confidence"].to_numpy(np.float32), 0).astype(np.float32),
        _units(table, "_r"),
        _units(table, "_c"),
    )


def _py_feat(table: pd.DataFrame) -> Track:
    table = table.sort_values(["frame", "FaceScore"], ascending=[True, False])
    table = table.drop_duplicates("frame")
    score = table["FaceScore"].to_numpy(np.float32)
    seen = np.isfinite(score)
    return Track(
        "py-feat",
        table["frame"].to_numpy(np.int64),
        np.full(len(table), np.nan),
        _landmarks(table, seen),
        np.where(seen, score, 0).astype(np.float32),
        {},
        _units(table, ""),
    )


def _landmarks(table: pd.DataFrame, seen: NDArray[np.bool_]) -> Floats:
    points = np.stack([table[_X].to_numpy(np.float32), table[_Y].to_numpy(np.float32)], axis=-1)
    points[~seen] = np.nan
    return points


def _units(table: pd.DataFrame, ending: str) -> dict[int, Floats]:
    """Columns ``AUnn`` + ending by number."""
    names = {
        name: name.removeprefix("AU").removesuffix(ending)
        for name in table.columns
        if name.startswith("AU") and name.endswith(ending)
    }
    return {
        int(number): table[name].to_numpy(np.float32)
        for name, number in names.items()
        if number.isdigit()
    }
