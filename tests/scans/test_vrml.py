"""VRML: arrays are found by the name of their node, and a texture belongs to one shape."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_llm.scans.vrml import read_vrml

POINTS = "coord Coordinate { point [ 0 0 5, 1 0 5, 1 1 5, 0 1 5 ] }\n"
PLACES = "texCoord TextureCoordinate { point [ 0 0, 0.5 0, 1 0, 0 0.5, 0 1, 1 1 ] }\n"
CORNERS = "coordIndex [ 0, 1, 2, 3, -1 ] texCoordIndex [ 0, 2, 5, 4, -1 ]\n"
RED, GREEN, GREY = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.5, 0.5)


def shape(appearance: str, arrays: str = POINTS + PLACES + CORNERS) -> str:
    return f"Shape {{ {appearance} geometry IndexedFaceSet {{ {arrays} }} }}\n"


def texture(name: str, define: str = "") -> str:
    return f'appearance Appearance {{ texture {define} ImageTexture {{ url "{name}" }} }}'


def written(folder: Path, *shapes: str) -> Path:
    for name, colour in (("red.png", (0, 0, 255)), ("green.png", (0, 255, 0))):
        cv2.imwrite(str(folder / name), np.full((4, 4, 3), colour, np.uint8))
    path = folder / "face.wrl"
    path.write_text("#VRML V2.0 utf8\n" + "".join(shapes), encoding="utf-8")
    return path


def colours(path: Path) -> list[tuple[float, ...]]:
    """The colour of each shape of four vertices, all of which must have the same."""
    found = read_vrml(path).colours
    assert found is not None
    by_shape = found.reshape(-1, 4, 3)
    assert (by_shape == by_shape[:, :1]).all()
    return [tuple(colour) for colour in by_shape[:, 0].tolist()]


@pytest.mark.parametrize("arrays", [POINTS + PLACES + CORNERS, PLACES + CORNERS + POINTS])
def test_texture_coordinates_are_no_points(tmp_path: Path, arrays: str) -> None:
    scan = read_vrml(written(tmp_path, shape(texture("red.png"), arrays)))
    assert scan.vertices.tolist() == [[0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 1, 5]]
    assert scan.colours is not None and scan.colours.tolist() == [list(RED)] * 4


def test_every_shape_has_its_own_texture(tmp_path: Path) -> None:
    both = shape(texture("red.png")), shape(texture("green.png"))
    assert colours(written(tmp_path, *both)) == [RED, GREEN]
    # The fields of a shape may stand in any order.
    geometry = f"geometry IndexedFaceSet {{ {POINTS + PLACES + CORNERS} }}"
    turned = f"Shape {{ {geometry} {texture('green.png')} }}"
    assert colours(written(tmp_path, both[0], turned)) == [RED, GREEN]


def test_a_texture_can_be_used_again(tmp_path: Path) -> None:
    first = shape(texture("red.png")), shape(texture("green.png", define="DEF Skin"))
    again = shape("appearance Appearance { texture USE Skin }")
    assert colours(written(tmp_path, *first, again)) == [RED, GREEN, GREEN]
    whole = texture("green.png").replace("Appearance {", "DEF Look Appearance {", 1)
    again = shape("appearance USE Look")
    assert colours(written(tmp_path, first[0], shape(whole), again)) == [RED, GREEN, GREEN]


def test_a_shape_without_a_texture_is_grey_beside_one_that_has_one(tmp_path: Path) -> None:
    assert colours(written(tmp_path, shape(texture("red.png")), shape(""))) == [RED, GREY]
    assert read_vrml(written(tmp_path, shape(""), shape(""))).colours is None


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_of_textures_may_have_umlauts(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, shape(texture("Jürgen.png")))
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    (tmp_path / "green.png").rename(tmp_path / "Jürgen.png")
    assert colours(path) == [GREEN]
