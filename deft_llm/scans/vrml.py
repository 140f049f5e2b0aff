"""VRML 2 (`.wrl`), as BU-3DFE and BU-4DFE are given out: the shapes, without the scene.

Only indexed face sets and point sets are read, with colours a vertex or a texture. Transforms are
not applied, as normalisation finds the pose anyway; several shapes in one file are joined.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.scans.scan import Floats, Scan, Triangles
from deft_llm.scans.texture import colours_at

HEADER = "#VRML V2.0"
_SHAPE = re.compile(r"\bShape\s*\{")
_NODE = re.compile(r"\b(IndexedFaceSet|PointSet)\s*\{")
_COMMENT = re.compile(r"\"[^\"]*\"|#[^\n]*")
_URL = re.compile(r"\bImageTexture\s*\{[^}]*?\burl\s*\[?\s*\"([^\"]*)\"", re.DOTALL)
_USE = re.compile(r"\b(?:appearance|texture)\s+USE\s+([^\s{}]+)")


def read_vrml(path: Path) -> Scan:
    """Read a file.

    Raises:
        UserError: If it is another version of VRML, is cut short, or holds no surface.
    """
    text = _text(path)
    if not text.startswith(HEADER):
        raise UserError(f"{path}: starts with {text[:16]!r}; expected {HEADER!r}")
    # A # inside a string (a file's name) is no comment.
    text = _COMMENT.sub(lambda found: found[0] if found[0][0] == '"' else "", text)
    scans = [
        _painted(
            _Geometry(_block(shape, found.end(), path), path), path, _picture(shape, text, path)
        )
        # Split and not matched by braces: a file without its last ones is read all the same.
        for shape in _SHAPE.split(text)
        for found in _NODE.finditer(shape)
    ]
    if not scans:
        raise UserError(f"{path}: no IndexedFaceSet or PointSet in it; expected a scan as VRML 2")
    return scans[0] if len(scans) == 1 else _joined(scans)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")  # as the header says
    except UnicodeDecodeError:
        return path.read_text(encoding="latin-1")  # as older programs write names; reads any byte


def _picture(shape: str, text: str, path: Path) -> str | None:
    """The texture of a shape, its own or one that it uses by name; None without."""
    found, used = _URL.search(shape), _USE.search(shape)
    if found is None and used is not None:
        named = re.search(rf"\bDEF\s+{re.escape(used[1])}\s+\w+\s*\{{", text)
        if named is not None:
            end = named.end() + len(_block(text, named.end(), path))
            found = _URL.search(text, named.start(), end)
    return None if found is None else found[1]


def write_vrml(path: Path, scan: Scan) -> None:
    """Write a scan, with colours a vertex if it has any."""
    points = ",\n".join(" ".join(_shortest(v) for v in row) for row in scan.vertices)
    index = ",\n".join(f"{a}, {b}, {c}, -1" for a, b, c in scan.triangles)
    colours = ""
    if scan.colours is not None:
        rows = ",\n".join(" ".join(_shortest(v) for v in row) for row in scan.colours)
        colours = f"color Color {{ color [\n{rows}\n] }}\n"
    kind = "IndexedFaceSet" if len(scan.triangles) else "PointSet"
    faces = f"coordIndex [\n{index}\n]\n" if len(scan.triangles) else ""
    path.write_text(
        f"{HEADER} utf8\nShape {{\ngeometry {kind} {{\n"
        f"coord Coordinate {{ point [\n{points}\n] }}\n{colours}{faces}}}\n}}\n",
        encoding="ascii",
    )


def _shortest(value: np.float32) -> str:
    """The shortest text that gives the same float32."""
    return np.format_float_positional(value, unique=True, trim="0")


class _Geometry:
    """The arrays of one shape, as they stand in the file."""

    def __init__(self, body: str, path: Path) -> None:
        def numbers(node: str, field: str, width: int) -> Floats | None:
            # \b: TextureCoordinate is no Coordinate.
            pattern = rf"\b{node}\s*\{{\s*{field}\s*\[([^\]]*)\]"
            found = re.search(pattern, body, re.DOTALL)
            return None if found is None else _table(found[1], width, path)

        points = numbers("Coordinate", "point", 3)
        if points is None:
            raise UserError(
                f"{path}: a shape without points; expected Coordinate {{ point [...] }}"
            )
        self.points = points
        self.colours = numbers("Color", "color", 3)
        self.places = numbers("TextureCoordinate", "point", 2)
        self.corners = _polygons(body, r"\bcoordIndex", path)
        self.place_corners = _polygons(body, r"\btexCoordIndex", path)


def _block(text: str, start: int, path: Path) -> str:
    """The text up to the brace that closes the one before `start`."""
    depth = 1
    for found in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return text[start : found.start()]
    raise UserError(f"{path}: a brace is never closed; the file is cut short, copy it again")


def _table(text: str, width: int, path: Path) -> Floats:
    try:
        values = np.array(text.replace(",", " ").split(), dtype=np.float32)
        return values.reshape(-1, width)
    except ValueError as error:
        raise UserError(
            f"{path}: not rows of {width} numbers ({error}); the file is damaged"
        ) from None


def _polygons(body: str, name: str, path: Path) -> Triangles | None:
    """Polygons that end with -1, as triangles around their first corner."""
    found = re.search(name + r"\s*\[([^\]]*)\]", body, re.DOTALL)
    if found is None:
        return None
    try:
        values = np.array(found[1].replace(",", " ").split(), dtype=np.int64)
    except ValueError as error:
        raise UserError(f"{path}: {name[2:]}: {error}; the file is damaged") from None
    if not len(values):
        return np.zeros((0, 3), np.int32)
    if values[-1] != -1:
        values = np.append(values, -1)  # the last one may be left out
    ends = np.flatnonzero(values == -1)
    starts = np.r_[0, ends[:-1] + 1]
    fans = []
    sizes = ends - starts
    # By number of corners, so that a loop runs over the sizes and not over the polygons.
    for size in np.unique(sizes[sizes >= 3]):
        first = starts[sizes == size]
        fans += [
            np.stack([values[first], values[first + k], values[first + k + 1]], axis=1)
            for k in range(1, int(size) - 1)
        ]
    return np.concatenate(fans).astype(np.int32) if fans else np.zeros((0, 3), np.int32)


def _painted(shape: _Geometry, path: Path, picture: str | None) -> Scan:
    triangles = np.zeros((0, 3), np.int32) if shape.corners is None else shape.corners
    scan = Scan(shape.points, triangles)
    if shape.colours is not None and len(shape.colours) == len(shape.points):
        return Scan(shape.points, triangles, np.clip(shape.colours, 0, 1))
    if picture is None or shape.places is None:
        return scan
    places = _places_of_vertices(shape, triangles)
    # The name alone: the folder is that of the machine that wrote the file, often with backslashes.
    colours, note = colours_at(path.parent / Path(picture.replace("\\", "/")).name, places)
    return Scan(shape.points, triangles, colours, (note,) if note else ())


def _places_of_vertices(shape: _Geometry, triangles: Triangles) -> Floats:
    """Texture coordinates (V, 2); at seams, those of one side."""
    assert shape.places is not None
    if shape.place_corners is None or len(shape.place_corners) != len(triangles):
        same = len(shape.places) == len(shape.points)
        return shape.places if same else np.full((len(shape.points), 2), np.nan, np.float32)
    places = np.full((len(shape.points), 2), np.nan, np.float32)
    inside = triangles.max(initial=-1) < len(places)
    if inside and shape.place_corners.max(initial=-1) < len(shape.places):
        # A vertex at a seam is written more than once; the last one stays.
        places[triangles.ravel()] = shape.places[shape.place_corners.ravel()]
    return places


def _joined(scans: list[Scan]) -> Scan:
    first = np.cumsum([0, *(len(s.vertices) for s in scans)])
    # Not strict: `first` ends with the count of all vertices.
    triangles: list[NDArray[np.int32]] = [
        s.triangles + np.int32(n) for s, n in zip(scans, first, strict=False)
    ]
    # Grey beside colours, as vertices without a place in a texture are.
    colours = [
        np.full(s.vertices.shape, 0.5, np.float32) if s.colours is None else s.colours
        for s in scans
    ]
    coloured = any(s.colours is not None for s in scans)
    notes = (f"{len(scans)} shapes in the file: joined", *(n for s in scans for n in s.notes))
    return Scan(
        np.concatenate([s.vertices for s in scans]),
        np.concatenate(triangles),
        np.concatenate(colours) if coloured else None,
        notes,
    )
