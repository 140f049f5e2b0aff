"""Write an SRFlow-like dataset with the simulator: subjects with exact flow.

SRFlow (arXiv 2601.06479) renders tracked heads by splatting. The layout is that of its sibling's
files, which `srflow_files.py` reads:

    OUT/manifest.json                               settings, version, SHA-256 of every file
    OUT/{train,val,test}/render/<subject>/NNNN.png  RGB, lossless
                         mask/<subject>/NNNN.png    255 where the head is visible
                         depth/<subject>/NNNN.npy   float32 cm from the camera, 0 off the mask
                         camera/<subject>/NNNN.npy  (3, 4): head coordinates in cm to pixels
                         flow/<subject>/NNNN.flo    from frame NNNN to NNNN + 1; even numbers only
                         occlusion/<subject>/NNNN.png  255 where NNNN + 1 no longer shows it

Frames 2k and 2k + 1 are a pair. A subject is written to a temporary folder and moved into place
when it is complete. ``OUT/.progress`` lists its files until the manifest does.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from deft_llm import __version__
from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.files import file_digest, write_text
from deft_llm.motion.flow_files import write_flow
from deft_llm.parallel import parallel_map
from deft_llm.simulator.flow.pairs import RenderedPair, pair_head, render_pair

SPLITS = ("train", "val", "test")
FILE_KINDS = ("camera", "depth", "flow", "mask", "occlusion", "render")
_FORMAT = 1
# The defaults and recipes of other simulated sets have face seeds below this range, so that no
# face is shared; only sets of flow images with a seed of 1 to 9 reach into it (`images.py`).
_IDENTITIES = (1_000_000, 10_000_000)


class FlowSettings(Settings):
    """Settings that determine the bytes of the dataset.

    Attributes:
        train: Pairs in the training split.
        val: Pairs in the validation split.
        test: Pairs in the test split.
        per_subject: Pairs of one subject; the last of a split may have fewer.
        head: Name of the head model.
        size: Side of the frames, px.
        seed: Seed of the identities and everything else.
    """

    train: int = Field(default=1000, ge=0)
    val: int = Field(default=100, ge=0)
    test: int = Field(default=100, ge=0)
    per_subject: int = Field(default=10, ge=1, le=5000)
    head: str = "own"
    size: int = Field(default=256, ge=64, le=1024)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Subject:
    """One face of the dataset."""

    split: str
    identity: int
    pairs: int
    head: str

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.head}{self.identity}"

    @property
    def key(self) -> str:
        """Name of its progress file."""
        return f"{self.split}-{self.name}"


def subjects(settings: FlowSettings) -> list[Subject]:
    """All subjects; no face is in two splits."""
    pairs = [
        (split, min(settings.per_subject, getattr(settings, split) - first))
        for split in SPLITS
        for first in range(0, getattr(settings, split), settings.per_subject)
    ]
    first, last = _IDENTITIES
    rng = np.random.default_rng(settings.seed)
    # Without replacement: a face in two splits would leak.
    drawn = first + rng.choice(last - first, len(pairs), replace=False)
    return [
        Subject(split, int(identity), n, settings.head)
        for (split, n), identity in zip(pairs, drawn, strict=True)
    ]


def write_dataset(
    folder: Path, settings: FlowSettings, workers: int = 1, head_path: Path | None = None
) -> Path:
    """Write the dataset, or its missing subjects.

    Equal settings give equal bytes, whatever the number of workers and interruptions.

    Args:
        folder: Target folder: new, empty, or begun with the same settings.
        settings: What to write.
        workers: Number of processes.
        head_path: File or folder of the head model, if it needs one.

    Returns:
        Path of the manifest.

    Raises:
        UserError: If the folder holds something else, there is nothing to write, or the head is
            unknown.
    """
    todo = subjects(settings)
    if not todo:
        raise UserError("no pairs to write: expected --train, --val or --test above 0")
    # Fail on an unknown head before creating the folder.
    pair_head(settings.head, head_path)
    try:
        return _write_all(folder, settings, todo, workers, head_path)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); mend that and run again to go on"
        ) from error


def _write_all(
    folder: Path,
    settings: FlowSettings,
    todo: list[Subject],
    workers: int,
    head_path: Path | None,
) -> Path:
    known = _begin(folder, settings)
    notes = {s.key: _note(folder, s, known.get(s.key, {})) for s in todo}
    missing = [s for s in todo if notes[s.key] is None]
    written = parallel_map(
        partial(_write_subject, folder=folder, settings=settings, head_path=head_path),
        missing,
        min(workers, len(missing)),
        # Results are stored by subject, so their order does not matter.
        ordered=False,
        advice="run again to go on, with fewer --workers",
    )
    pairs = sum(s.pairs for s in todo)
    with closing(written), tqdm(total=pairs, desc="simulate flow", unit="pair") as bar:
        bar.update(pairs - sum(s.pairs for s in missing))
        for subject, files in written:
            notes[subject.key] = files
            bar.update(subject.pairs)
    # In the order of `todo`, so that the manifest does not depend on which worker was first.
    files = {name: digest for s in todo for name, digest in (notes[s.key] or {}).items()}
    manifest = folder / "manifest.json"
    _write_json(manifest, {**_header(settings), "complete": True, "files": files})
    # Only now: an interruption before the complete manifest still finds the progress files.
    shutil.rmtree(folder / ".progress", ignore_errors=True)
    shutil.rmtree(folder / ".partial", ignore_errors=True)
    return manifest


def _header(settings: FlowSettings) -> dict[str, Any]:
    return {"format": _FORMAT, "version": __version__, "settings": settings.model_dump()}


def _begin(folder: Path, settings: FlowSettings) -> dict[str, dict[str, str]]:
    """Start or resume the folder; returns the files in its manifest, by subject.

    Raises:
        UserError: If the folder holds something else.
    """
    path, header = folder / "manifest.json", _header(settings)
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(
                f"{folder}: holds something that is no dataset of this command; expected a new or "
                "empty folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(path, {**header, "complete": False, "files": {}})
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        old = {"format": found["format"], "version": found["version"], **found["settings"]}
        known: dict[str, dict[str, str]] = {}
        for name, digest in found["files"].items():
            split, _, subject, _ = name.split("/")
            known.setdefault(f"{split}-{subject}", {})[name] = digest
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); delete the folder or name another") from error
    new = {"format": _FORMAT, "version": __version__, **header["settings"]}
    if differ := [key for key in {**old, **new} if old.get(key) != new.get(key)]:
        values = ", ".join(f"{key} {old.get(key)!r}, not {new.get(key)!r}" for key in differ)
        raise UserError(
            f"{folder}: holds a dataset made with {values}; give the same settings to go on, or "
            "name another folder"
        )
    return known


def _note(folder: Path, subject: Subject, known: dict[str, str]) -> dict[str, str] | None:
    """The files of a subject if all are present; None if the subject must be written."""
    path = folder / ".progress" / f"{subject.key}.json"
    files = dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else known
    # A check by name only; hashing all files would take long on every start.
    whole = bool(files) and all((folder / name).is_file() for name in files)
    return files if whole else None


def _write_subject(
    subject: Subject, folder: Path, settings: FlowSettings, head_path: Path | None
) -> tuple[Subject, dict[str, str]]:
    """Render and write one subject; returns its files, relative to ``folder``, with SHA-256."""
    head = pair_head(settings.head, head_path)
    half = folder / ".partial" / subject.key
    shutil.rmtree(half, ignore_errors=True)
    for kind in FILE_KINDS:
        (half / kind).mkdir(parents=True)
    for k in range(subject.pairs):
        seed = (settings.seed, subject.identity, k)
        _write_pair(half, k, render_pair(seed, subject.identity, head, settings.size))
    files = {}
    for kind in FILE_KINDS:
        place = folder / subject.split / kind / subject.name
        # os.replace() fails on a non-empty folder, and an interrupted run may have left one.
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(half / kind, place)
        for path in sorted(place.iterdir()):
            name = path.relative_to(folder).as_posix()
            files[name] = file_digest(path)
    shutil.rmtree(half)
    # Last, so that only a subject whose files are all in place counts as written.
    (folder / ".progress").mkdir(exist_ok=True)
    _write_json(folder / ".progress" / f"{subject.key}.json", files)
    return subject, files


def _write_pair(folder: Path, k: int, pair: RenderedPair) -> None:
    for number, frame in enumerate(pair.frames, start=2 * k):
        # OpenCV expects BGR.
        _write_png(folder / "render" / f"{number:04d}.png", frame.render[:, :, ::-1])
        _write_png(folder / "mask" / f"{number:04d}.png", 255 * frame.mask.astype(np.uint8))
        _write_npy(folder / "depth" / f"{number:04d}.npy", frame.depth)
        _write_npy(folder / "camera" / f"{number:04d}.npy", frame.camera)
    write_flow(folder / "flow" / f"{2 * k:04d}.flo", pair.flow)
    hidden = 255 * pair.occlusion.astype(np.uint8)
    _write_png(folder / "occlusion" / f"{2 * k:04d}.png", hidden)


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    # A full disk raises OSError here; cv2.imwrite would only return False.
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def _write_npy(path: Path, array: NDArray[Any]) -> None:
    data = BytesIO()
    np.save(data, array, allow_pickle=False)
    path.write_bytes(data.getvalue())


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=1) + "\n")
