"""The folders of a corpus, found by the end of their path, however deep and however spelled."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deft_llm.corpora.people import canonical, clip_name, is_video
from deft_llm.errors import UserError
from deft_llm.media.frames import SUFFIXES

# Levels below the corpus folder: the published ones have up to six, and archives unpacked into a
# folder of their own name add some.
_DEEPEST = 10
_LEFTOVERS = "__MACOSX"  # what zip archives made on a Mac leave behind


def walk(root: Path, deepest: int = _DEEPEST) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below a corpus folder and itself, each with the names of its files.

    Hidden folders and what archives leave behind are skipped; links are followed once.

    Args:
        root: The corpus folder.
        deepest: Levels below it.
    """
    seen: set[str] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        depth = len(Path(folder).relative_to(root).parts)
        # In place: os.walk then leaves these folders out.
        below[:] = sorted(n for n in below if not n.startswith(".") and n != _LEFTOVERS)
        if depth >= deepest or real in seen:
            below.clear()
        if real not in seen:
            seen.add(real)
            yield Path(folder), files


@dataclass(frozen=True)
class _Folder:
    path: Path
    names: tuple[str, ...]  # canonical parts of the path below the corpus folder
    words: frozenset[str]  # all words on the way to the images
    frames: Path | None  # the folder itself or, if it has no images, the only one below that has


class FrameTree:
    """The folders below a corpus folder."""

    def __init__(self, root: Path) -> None:
        """List them.

        Args:
            root: The corpus folder.
        """
        self._root = root
        self._folders: dict[str, list[_Folder]] = defaultdict(list)
        self._films: dict[tuple[str, ...], Path] = {}  # canonical parts of the path -> file
        frames: dict[Path, list[Path]] = {}  # folder -> folders with images: itself, or below
        for path, files in walk(root):
            frames[path] = []
            for name in filter(is_video, files):
                parts = (*path.relative_to(root).parts, clip_name(name))
                self._films[tuple(map(canonical, parts))] = path / name
            if any(name.lower().endswith(SUFFIXES) and name[0] != "." for name in files):
                frames[path].append(path)
                for above in path.parents[: len(path.relative_to(root).parts)]:
                    frames[above].append(path)
        for path, found in frames.items():
            if parts := path.relative_to(root).parts:
                names = tuple(map(canonical, parts))
                own = path if path in found else found[0] if len(found) == 1 else None
                whole = canonical(str((own or path).relative_to(root)))
                words = frozenset(re.findall(r"[^\W_]+", whole))
                self._folders[names[-1]].append(_Folder(path, names, words, own))

    def find(
        self, places: Sequence[str], trees: Sequence[str] = (), foreign: Collection[str] = ()
    ) -> Path | None:
        """The folder of a clip; one with images if there is any.

        Args:
            places: Ends of its path ("sub01/EP02_01f"), the preferred ones first. Case and leading
                zeros do not matter; a last part with "*" at its end may go on with anything but a
                digit.
            trees: Names of folders above it, the preferred ones first ("raw", "cropped").
            foreign: Words of folders above it that hold something else ("depth").

        Raises:
            UserError: If two folders fit equally well, so that one may be another person's.
        """
        ranked = [
            (self._rank(folder, place, number, trees), folder)
            for number, place in enumerate(places)
            for folder in self._ending(place)
            if not folder.words.intersection(foreign)
        ]
        if not ranked:
            return None
        rank, best = min(ranked, key=lambda pair: (pair[0], str(pair[1].path)))
        for other_rank, other in ranked:
            if other_rank == rank and other.path != best.path and other.names == best.names:
                raise UserError(f"{best.path} and {other.path} both fit; expected one of them")
        return best.frames or best.path

    def film(self, places: Sequence[str]) -> Path | None:
        """A video file in place of a clip's folder, where the frames were never written.

        Args:
            places: Ends of the clip's path, as for :meth:`find`.
        """
        for place in places:
            parts = tuple(map(canonical, place.split("/")))
            for names, path in self._films.items():
                if names[-len(parts) :] == parts:
                    return path
        return None

    def tree_of(self, folder: Path, trees: Sequence[str]) -> str:
        """Which of some folders a folder lies in, by their names; "" for none."""
        above = set(map(canonical, folder.relative_to(self._root).parts))
        return next((tree for tree in trees if canonical(tree) in above), "")

    def named(self, name: re.Pattern[str], foreign: Collection[str] = ()) -> list[str]:
        """Names of the folders with images that match a pattern, in canonical spelling, sorted."""
        return sorted(
            last
            for last, folders in self._folders.items()
            if name.fullmatch(last)
            and any(f.frames and not f.words.intersection(foreign) for f in folders)
        )

    def with_frames(self, foreign: Collection[str] = ()) -> list[Path]:
        """Folders that hold images themselves, sorted; without those of foreign words."""
        return sorted(
            f.path
            for folders in self._folders.values()
            for f in folders
            if f.frames == f.path and not f.words.intersection(foreign)
        )

    def _ending(self, place: str) -> Iterator[_Folder]:
        *above, last = map(canonical, place.removesuffix("*").split("/"))
        if place.endswith("*"):
            begins = re.compile(re.escape(last) + r"(?!\d)")
            found = [f for name, fs in self._folders.items() if begins.match(name) for f in fs]
        else:
            found = self._folders.get(last, [])
        for folder in found:
            # By length, because a slice from -0 would take everything.
            if list(folder.names[:-1][len(folder.names) - 1 - len(above) :]) == above:
                yield folder

    @staticmethod
    def _rank(folder: _Folder, place: str, number: int, trees: Sequence[str]) -> tuple[int, ...]:
        # Reversed, so that of names that are alike the first counts.
        above = {canonical(tree): i for i, tree in reversed(list(enumerate(trees)))}
        tree = min((above[name] for name in folder.names if name in above), default=len(trees))
        written = folder.path.as_posix().endswith("/" + place.removesuffix("*"))
        # In this order: a folder with images before an empty one of the same name, the preferred
        # release, the preferred place, the exact spelling, the shorter path.
        return (folder.frames is None, tree, number, not written, len(folder.names))
