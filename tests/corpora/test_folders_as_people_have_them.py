"""Folders of frames as they lie on people's disks: found as they are, or refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.synthetic import Written, write_corpus
from deft_llm.errors import UserError
from tests.corpora.on_disk import (
    EMOTION,
    RAW,
    read_all,
    save,
    table_of,
)

from .conftest import tiny


def capital(raw: Path) -> None:
    for folder in list(raw.iterdir()):
        folder.rename(raw / folder.name.capitalize())


def unpadded(raw: Path) -> None:
    for folder in list(raw.iterdir()):
        folder.rename(raw / folder.name.replace("sub0", "sub"))


def numbers(raw: Path) -> None:
    for folder in list(raw.iterdir()):
        folder.rename(raw / folder.name.replace("sub", ""))


def deeper(raw: Path) -> None:
    (raw.parent / "archive" / "x").mkdir(parents=True)
    raw.rename(raw.parent / "archive" / "x" / "Cropped")


def shallower(raw: Path) -> None:
    for folder in list(raw.iterdir()):
        folder.rename(raw.parent / folder.name)
    raw.rmdir()


def flat(raw: Path) -> None:
    for folder in list(raw.glob("*/*")):
        folder.rename(raw / f"{folder.parent.name}_{folder.name}")


def nested(raw: Path) -> None:
    for folder in list(raw.glob("*/*")):
        (folder / "frames" / "rgb").mkdir(parents=True)
        for file in folder.glob("*.jpg"):
            file.rename(folder / "frames" / "rgb" / file.name)
        (folder / "flow").mkdir()


def upper(raw: Path) -> None:
    for folder in sorted(raw.rglob("*"), reverse=True):
        folder.rename(folder.with_name(folder.name.upper()))


def unpacked_on_a_mac(raw: Path) -> None:
    """Leftovers that look like the clips, and hidden twins of every frame."""
    shutil.copytree(raw, raw.parent / "__MACOSX" / raw.name)
    for file in [f for f in raw.rglob("*.jpg") if "__MACOSX" not in f.parts]:
        (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7")


def films_beside(raw: Path) -> None:
    for folder in list(raw.glob("*/*")):
        (folder / f"{folder.name}.avi").write_bytes(b"RIFF")
        (folder / "Thumbs.db").write_bytes(b"")
    shutil.copytree(raw, raw.parent / "CASME2_compressed")
    for file in (raw.parent / "CASME2_compressed").rglob("*.jpg"):
        file.unlink()


def resized(raw: Path) -> None:
    for file in list(raw.rglob("*.jpg")):
        file.rename(file.with_name(f"reg_{file.stem}_224x224.jpg"))


def linked(raw: Path) -> None:
    elsewhere = raw.parent.parent / "disk"
    raw.rename(elsewhere)
    raw.symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "again").symlink_to(raw.parent, target_is_directory=True)  # a circle


def an_overview(raw: Path) -> None:
    for folder in raw.glob("*/*"):
        shutil.copy(next(folder.iterdir()), folder / "overview.jpg")


@pytest.mark.parametrize(
    "change",
    [
        *(capital, unpadded, numbers, deeper, shallower, flat, upper, unpacked_on_a_mac, resized),
        *(films_beside, linked, an_overview, nested),
    ],
)
def test_frames_are_found_where_people_keep_them(
    casme2: tuple[Path, tuple[Written, ...]], change: Callable[[Path], None]
) -> None:
    root, written = casme2
    change(root / RAW)
    read_all("casme2", root, written)


def test_raw_frames_are_preferred_to_cropped_ones(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    root, written = casme2
    shutil.copytree(root / RAW, root / "Cropped")
    assert all(
        e.folder is not None and RAW in e.folder.parts
        for e in read_all("casme2", root, written).entries
    )


def test_clips_of_another_release_are_noted(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    """One clip that is missing in RAW would come from Cropped without a word."""
    root, written = casme2
    shutil.copytree(root / RAW, root / "Cropped")
    shutil.rmtree(written[0].folder)
    reading = read_all("casme2", root, written)
    (note,) = reading.report
    assert note.action == "noted" and note.row == 2
    assert "frames from Cropped" in note.what and f"read from {RAW}" in note.why


def test_films_whose_frames_were_never_written_are_named(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    root, written = casme2
    for clip in written:
        shutil.rmtree(clip.folder)
        film = root / "CASME2-raw-compressed" / clip.folder.parent.name / f"{clip.folder.name}.AVI"
        film.parent.mkdir(parents=True, exist_ok=True)
        film.write_bytes(b"RIFF")
        (film.parent / f"._{film.name}").write_bytes(b"")
    with pytest.raises(UserError, match=r"only the film .*EP01_01f.AVI; write its frames as num"):
        load_corpus("casme2", root).read()


def test_a_folder_that_two_people_could_own_is_refused(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    root, _ = casme2
    raw = root / RAW
    (raw / "sub01").rename(raw / "Sub1")
    shutil.copytree(raw / "Sub1", raw / "SUB001")
    reading = load_corpus("casme2", root).read()
    assert {a.subject for a in reading.annotations} == {"sub02", "sub03"}
    note = next(n for n in reading.report if n.action == "dropped")
    assert "SUB001" in note.what and "Sub1" in note.what and "both fit" in note.what


def two_kinds(folder: Path) -> str:
    for file in list(folder.iterdir()):
        shutil.copy(file, folder / f"reg_{file.name}")
    return "images of two kinds"


def test_a_copy_between_the_frames_is_left_aside(tmp_path: Path) -> None:
    """It shifts no frame number, and is told."""
    written = write_corpus("casme2", tmp_path, subjects=1, clips=1, renderer=tiny)
    (folder,) = {clip.folder for clip in written}
    before = load_corpus("casme2", tmp_path).read()
    shutil.copy(next(folder.iterdir()), folder / "img40 copy.jpg")
    reading = load_corpus("casme2", tmp_path).read()
    assert reading.entries == before.entries
    assert any("img40 copy.jpg" in note.what for note in reading.report)


def a_film_alone(folder: Path) -> str:
    for file in list(folder.iterdir()):
        file.unlink()
    (folder / "clip.avi").write_bytes(b"RIFF")
    return "no images in this folder"


def nothing(folder: Path) -> str:
    shutil.rmtree(folder)
    return "no folder sub01/EP01_01f"


@pytest.mark.parametrize("change", [two_kinds, a_film_alone, nothing])
def test_the_reason_is_that_of_the_first_row_that_is_dropped(
    tmp_path: Path, change: Callable[[Path], str]
) -> None:
    """And not of one that was mended before it."""
    written = write_corpus("casme2", tmp_path, subjects=1, clips=2, renderer=tiny)
    table = table_of(tmp_path)
    table[1][EMOTION] = table[1][EMOTION].upper()
    save(tmp_path, table)
    words = change(written[0].folder)
    shutil.rmtree(written[1].folder)
    with pytest.raises(UserError, match=r"no clip can be used \(dropped .*row 2") as error:
        load_corpus("casme2", tmp_path).read()
    assert words in str(error.value)
