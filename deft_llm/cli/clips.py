"""Find the clips that a command is given: files, folders of frames, and folders of these."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deft_llm.errors import UserError

logger = logging.getLogger(__name__)
# As a path has it, "https:/host", with one slash.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
# A folder that holds one of these is a report or a search of ours, with pictures in it.
_RESULTS = frozenset({"explanation.json", "search.jsonl"})


@dataclass(frozen=True)
class FoundClip:
    """A clip to explain.

    Attributes:
        path: A file, or a folder of frames.
        folder: Folders between the argument and the clip; empty for a clip that was named itself.
        problem: Why the argument names no clip; empty if it does.
    """

    path: Path
    folder: Path = Path()
    problem: str = ""


def find_clips(arguments: Sequence[Path], passed_over: Path | None = None) -> list[FoundClip]:
    """All clips that the arguments name, in natural order inside each folder.

    A folder of pictures is one clip. In any other folder the videos are the clips, and so are those
    of its subfolders; hidden files and results of earlier runs are passed over. An argument that
    names no clip is returned with its problem, since the others may be good.

    Args:
        arguments: What the user gave.
        passed_over: A folder, inside the others, whose pictures are no clip.
    """
    found = []
    for argument in arguments:
        try:
            found += _clips_of(argument, passed_over)
        except UserError as error:
            found.append(FoundClip(argument, problem=str(error)))
    return found


def one_clip(argument: Path) -> Path:
    """The clip that an argument names, for commands that take a single one.

    Raises:
        UserError: If it names no clip, or several.
    """
    found = _clips_of(argument)
    # Choosing one for the user would answer about another clip than the one in mind.
    if len(found) > 1:
        raise UserError(
            f"{argument}: holds {len(found)} clips; give one, for example {found[0].path}"
        )
    return found[0].path


def _clips_of(argument: Path, passed_over: Path | None = None) -> list[FoundClip]:
    # A container needs to be read from both ends, which a pipe cannot do.
    if str(argument) == "-":
        raise UserError("-: a clip cannot be read from standard input; save it, and name the file")
    try:
        there, folder = argument.exists(), argument.is_dir()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UserError(f"{argument}: {error.strerror}; expected a video or a folder") from None
    if not there and _ADDRESS.match(str(argument)):
        # A path loses one of the two slashes.
        address = re.sub(":/+", "://", str(argument), count=1)
        raise UserError(
            f"{address}: an address on the network; download the video, and name the file"
        )
    if not folder:
        return [FoundClip(argument)]  # reading it tells what is wrong with it
    seen = {passed_over.resolve()} if passed_over is not None else set()
    found = list(_look_into(argument, Path(), seen))
    if not found:
        raise UserError(
            f"{argument}: no images and no videos in this folder; expected the frames of one clip, "
            "or videos, or folders of these"
        )
    return found


def _look_into(folder: Path, place: Path, seen: set[Path]) -> Iterator[FoundClip]:
    from deft_llm.media.frames import natural_key, videos_and_pictures

    # Links can lead back to a folder above.
    if (real := folder.resolve()) in seen:
        return
    seen.add(real)
    try:
        # By the numbers in the names: a9 before a10.
        entries = sorted(os.scandir(folder), key=lambda entry: natural_key(Path(entry.name)))
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; it cannot be looked into") from None
    entries = [entry for entry in entries if not entry.name.startswith(".")]
    files = [folder / entry.name for entry in entries if _kind(entry) == "file"]
    if any(file.name in _RESULTS for file in files):
        return
    videos, pictures = videos_and_pictures(files)
    # The name of "." or ".." is that of the folder behind it.
    itself = FoundClip(folder if folder.name not in ("", "..") else real, place.parent)
    # Folders below a folder of frames hold masks, crops or flow of it, so they are not looked into.
    if len(pictures) > 1 and not videos:
        yield itself
        return
    if len(pictures) > 1:
        logger.warning("%s: holds pictures and videos; taking the videos alone", folder)
    # Before those of the folders below, as a listing has them.
    yield from (FoundClip(video, place) for video in videos)
    below = [entry.name for entry in entries if _kind(entry) == "folder"]
    inside = [clip for name in below for clip in _look_into(folder / name, place / name, seen)]
    yield from inside
    # A single picture beside other clips is a cover; alone it may be a stack of frames.
    if pictures and not videos and not inside:
        yield itself


def _kind(entry: os.DirEntry[str]) -> str:
    """Either "file", "folder", or "" for a link to itself or to what may not be looked at."""
    try:
        return "file" if entry.is_file() else "folder" if entry.is_dir() else ""
    except OSError:
        return ""
