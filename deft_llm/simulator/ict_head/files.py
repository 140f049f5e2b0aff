"""Read the ICT-FaceKit model from the packed safetensors file or the official OBJ folder.

Source: ICT-FaceKit (USC Institute for Creative Technologies, MIT licence),
https://github.com/USC-ICT/ICT-FaceKit, folder `FaceXModel`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from deft_llm.errors import UserError
from deft_llm.simulator.head import FloatArray, IntArray

_EXPECTED = (
    "expected ict_facekit.safetensors, or ICT-FaceKit's FaceXModel folder "
    "(generic_neutral_mesh.obj, identity000.obj …, one OBJ per expression, vertex_indices.json; "
    "from https://github.com/USC-ICT/ICT-FaceKit)"
)
SOCKET = "socket"
"""Our name for the mouth and eye sockets, which share a material with the back of the head."""
_SOCKETS_FROM = 11248  # their first vertex in the model's numbering
_TENSORS: tuple[str, ...] = (
    *("neutral", "uv", "face_uv", "faces", "face_material", "landmarks68"),
    *("expression_deltas", "identity_deltas"),
)


@dataclass(frozen=True)
class IctData:
    """The model as published, in its authors' frame (cm; the eyes at y = 3.4).

    Attributes:
        neutral: (V, 3) the mean head.
        triangles: (F, 3).
        material: (F,) name of each triangle's material, such as "M_Face", or `SOCKET`.
        uvs: (V, 2) in 0..1 (of the tile).
        expressions: name to (V, 3) displacement.
        identities: (K, V, 3) displacement of each identity mode for one standard deviation.
        landmarks: (68,) vertices in the iBUG order of the image.
    """

    neutral: FloatArray
    triangles: IntArray
    material: NDArray[np.str_]
    uvs: FloatArray
    expressions: dict[str, FloatArray]
    identities: FloatArray
    landmarks: IntArray


def ict_file() -> Path | None:
    """The packed file named by ``DEFT_ICT``, or else the one in the ``DEFT_DATA`` folder."""
    if named := os.environ.get("DEFT_ICT"):
        return Path(named)
    beside = Path(os.environ.get("DEFT_DATA", ".")) / "ict_facekit" / "ict_facekit.safetensors"
    return beside if beside.is_file() else None


def head_file(name: str, given: Path | None = None) -> Path | None:
    """File of a head by name: the given one or that of :func:`ict_file`; None for "own"."""
    return None if name == "own" else given or ict_file()


def read_ict(path: Path | None) -> IctData:
    """Read the model from a packed file or an OBJ folder.

    Args:
        path: one of them; None takes that of :func:`ict_file`.

    Raises:
        UserError: the path is missing or holds something else.
    """
    path = ict_file() if path is None else path
    if path is None:
        raise UserError(
            "the head 'ict' needs a path, got none; set DEFT_ICT to it, or DEFT_DATA to the folder "
            f"around ict_facekit/; {_EXPECTED}"
        )
    path = Path(path)
    if path.is_dir():
        packed = path / "ict_facekit.safetensors"
        return _read_packed(packed) if packed.is_file() else _read_folder(path)
    if not path.is_file():
        raise UserError(f"no ICT-FaceKit model at {path}; {_EXPECTED}")
    return _read_packed(path)


def _read_packed(path: Path) -> IctData:
    try:
        with safe_open(path, "np") as file:
            meta = file.metadata() or {}
            missing = set(_TENSORS) - set(file.keys())
            missing |= {"expressions", "materials"} - set(meta)
            if missing:
                raise UserError(f"{path} lacks {sorted(missing)}; {_EXPECTED}")
            tensor = {key: file.get_tensor(key) for key in _TENSORS}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no readable safetensors file ({error}); {_EXPECTED}") from error
    names = json.loads(meta["expressions"])
    materials = np.array(json.loads(meta["materials"]))
    quads, quad_uv = tensor["faces"], tensor["face_uv"]
    triangles = _cut(quads)
    deltas = tensor["expression_deltas"].astype(np.float32)
    return IctData(
        neutral=tensor["neutral"],
        triangles=triangles,
        material=_name_sockets(triangles, _kept(quads, materials[tensor["face_material"]])),
        uvs=_vertex_uvs(len(tensor["neutral"]), triangles, _cut(quad_uv, quads), tensor["uv"]),
        expressions=dict(zip(names, deltas, strict=True)),
        identities=tensor["identity_deltas"].astype(np.float32),
        landmarks=tensor["landmarks68"],
    )


def _halves(quads: IntArray) -> NDArray[np.bool_]:
    """True (2, Q) where a half of a quad is a proper triangle; quads may repeat a corner."""
    a, b, c, d = quads.T
    return np.stack([(a != b) & (b != c) & (a != c), (a != c) & (c != d) & (a != d)])


def _cut(quads: IntArray, by: IntArray | None = None) -> IntArray:
    # uv quads are cut by the corners of their faces, so that both lists stay parallel.
    halves = _halves(quads if by is None else by)
    return np.concatenate([quads[halves[0]][:, [0, 1, 2]], quads[halves[1]][:, [0, 2, 3]]])


def _kept(quads: IntArray, values: NDArray[np.str_]) -> NDArray[np.str_]:
    halves = _halves(quads)
    return np.concatenate([values[halves[0]], values[halves[1]]])


def _name_sockets(triangles: IntArray, material: NDArray[np.str_]) -> NDArray[np.str_]:
    inside = (material == "M_BackHead") & (triangles.min(axis=1) >= _SOCKETS_FROM)
    return np.where(inside, SOCKET, material)


def _vertex_uvs(count: int, triangles: IntArray, corners: IntArray, uv: FloatArray) -> FloatArray:
    """One uv per vertex (at seams, that of one side), relative to its tile."""
    result = np.zeros((count, 2), dtype=np.float32)
    # By the triangle's mean: a corner may lie exactly on the border of two tiles.
    tile = np.floor(uv[corners].mean(axis=1, keepdims=True))
    result[triangles] = uv[corners] - tile
    return np.clip(result, 0.0, 1.0)


def _read_folder(folder: Path) -> IctData:
    config = _read_config(folder / "vertex_indices.json")
    lines = _lines(folder / "generic_neutral_mesh.obj")
    neutral = _vertices(lines, "v ", 3, folder / "generic_neutral_mesh.obj")
    triangles, corners, material = _faces(lines)
    if len(triangles) == 0 or triangles.max() >= len(neutral) or triangles.min() < 0:
        raise UserError(f"{folder}/generic_neutral_mesh.obj: faces do not fit its vertices")
    uvs = np.zeros((len(neutral), 2), dtype=np.float32)
    if corners.min() >= 0:
        table = _vertices(lines, "vt ", 2, folder / "generic_neutral_mesh.obj")
        uvs = _vertex_uvs(len(neutral), triangles, corners, table)

    def delta(file: Path) -> FloatArray:
        points = _vertices(_lines(file), "v ", 3, file)
        if points.shape != neutral.shape:
            raise UserError(f"{file} has {len(points)} vertices, expected {len(neutral)}")
        return points - neutral

    landmarks = np.array(config["idx_to_landmark_verts"], dtype=np.int32)
    if landmarks.shape != (68,) or landmarks.max() >= len(neutral) or landmarks.min() < 0:
        raise UserError(f"{folder}/vertex_indices.json: expected 68 landmark vertices of the mesh")
    identities = sorted(folder.glob("identity[0-9][0-9][0-9].obj"))
    if not identities:
        raise UserError(f"{folder} has no identity000.obj; {_EXPECTED}")
    # dict.fromkeys: a set that keeps the order of vertex_indices.json.
    names = dict.fromkeys(str(name) for name in config["expressions"])
    extra = sorted(p.stem for p in folder.glob("*.obj") if not p.stem.startswith("identity"))
    names |= dict.fromkeys(name for name in extra if name != "generic_neutral_mesh")
    return IctData(
        neutral=neutral,
        triangles=triangles,
        material=_name_sockets(triangles, material),
        uvs=uvs,
        expressions={name: delta(folder / f"{name}.obj") for name in names},
        identities=np.stack([delta(file) for file in identities]),
        landmarks=landmarks,
    )


def _read_config(path: Path) -> dict[str, list[int] | list[str]]:
    try:
        config: dict[str, list[int] | list[str]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}); {_EXPECTED}") from error
    missing = {"expressions", "idx_to_landmark_verts"} - set(config)
    if missing:
        raise UserError(f"{path} lacks {sorted(missing)}; {_EXPECTED}")
    return config


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); {_EXPECTED}") from error


def _vertices(lines: list[str], prefix: str, width: int, path: Path) -> FloatArray:
    rows = [line.split()[1 : 1 + width] for line in lines if line.startswith(prefix)]
    try:
        table = np.array(rows, dtype=np.float32)
    except ValueError as error:
        raise UserError(f"{path}: a line {prefix!r} has no {width} numbers") from error
    if table.ndim != 2 or table.shape[1] != width:
        raise UserError(f"{path} has no {prefix.strip()!r} lines of {width} numbers; {_EXPECTED}")
    return table


def _faces(lines: list[str]) -> tuple[IntArray, IntArray, NDArray[np.str_]]:
    """Triangles, their uv corners (-1 without), and their materials, from an OBJ's lines."""
    triangles, corners, materials = [], [], []
    name = ""
    for line in lines:
        if line.startswith("usemtl"):
            name = line.split(maxsplit=1)[-1].strip()
        elif line.startswith("f "):
            parts = [corner.split("/") for corner in line.split()[1:]]
            # OBJ counts from 1.
            points = [int(p[0]) - 1 for p in parts]
            uv = [int(p[1]) - 1 if len(p) > 1 and p[1] else -1 for p in parts]
            # A fan: cuts quads, and any convex polygon, into triangles.
            for i in range(1, len(points) - 1):
                triangles.append((points[0], points[i], points[i + 1]))
                corners.append((uv[0], uv[i], uv[i + 1]))
                materials.append(name)
    shape = (len(triangles), 3)
    return (
        np.array(triangles, dtype=np.int32).reshape(shape),
        np.array(corners, dtype=np.int32).reshape(shape),
        np.array(materials, dtype=np.str_),
    )
