"""Precomputed onset-to-apex flow images in the layout that STSTNet and HTNet publish.

``<subject>/u_test/<0 negative, 1 positive, 2 surprise>/<clip>.png``: 28x28, file channels
R = u, G = v, B = optical strain, each stretched to 0..255 separately. The published folders may
also hold ``u_train``: copies of the other subjects' test images, one set per fold. Reading every
image in the folder would put each clip into its own training set some sixty times, so only
``u_test`` is read; `audit_flow_images` reports what the copies are.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.corpora.report import Report
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import digest

SIDE = 28
_TREE = "<subject>/u_test/<0, 1 or 2>/<clip>.png"


def read_flow_images(folder: Path) -> ClipDataset:
    """Read a folder of precomputed flow images.

    Args:
        folder: The folder that holds one folder per subject.

    Returns:
        Clips ordered by subject, class and clip, with the feature ``flow_image``: uint8
        (28, 28, 3), channels u, v, strain. The records have subject, class (one of
        ``facs.THREE_CLASSES``) and corpus: "SMIC" for subjects ``sNN``, "SAMM" for ``NNN``,
        "CASME II" for ``subNN``.

    Raises:
        UserError: If the folder or its images are missing, a clip occurs twice, or an image is no
            28x28 RGB PNG.
    """
    files = _files(folder, "u_test")
    if not files:
        raise UserError(f"{folder}: no images; expected {_TREE}")
    # <subject>/u_test/<class>/<clip>.png
    subjects = [path.parts[-4] for path in files]
    clips = [clip_name(path.stem, subject) for path, subject in zip(files, subjects, strict=True)]
    if len(set(clips)) < len(clips):
        twice = next(c for c in clips if clips.count(c) > 1)
        raise UserError(f"{folder}: clip {twice} is there twice; keep one of its images")
    records = [
        ClipRecord(
            clip, subject, facs.THREE_CLASSES[_label(path)], True, (), dataset=_dataset(subject)
        )
        for path, subject, clip in zip(files, subjects, clips, strict=True)
    ]
    images = np.stack([_read(path) for path in files])
    return ClipDataset.of_arrays(records, {"flow_image": images}, str(folder))


def audit_flow_images(folder: Path) -> Report:
    """Report what the folder holds besides one test image per clip.

    Reported are ``u_train`` images that are copies of another subject's test image, training images
    of the fold's own test subject (a leak), training images that match no test image, equal test
    images of different clips, and subjects without an image.

    Raises:
        UserError: If the folder is missing.
    """
    report = Report()
    # By content, because names do not prove that an image is a copy.
    owners: dict[str, set[str]] = defaultdict(set)
    named: dict[str, list[str]] = defaultdict(list)
    for path in _files(folder, "u_test"):
        content = _digest(path)
        owners[content].add(path.parts[-4])
        named[content].append(clip_name(path.stem, path.parts[-4]))
    for clips in named.values():
        if len(clips) > 1:
            why = "equal images under several names"
            report.add(str(folder), None, " = ".join(sorted(clips)), why, "noted")
    for subject in sorted(p for p in folder.iterdir() if p.is_dir()):
        if not any((subject / "u_test").glob("*/*.png")):
            report.add(subject.name, None, "no image in u_test", "the subject is not read", "noted")
        train = _files(folder, "u_train", subject.name)
        if train:
            _audit_train(subject.name, [owners[_digest(path)] for path in train], report)
    return report


def _audit_train(subject: str, found: list[set[str]], report: Report) -> None:
    # An image that both the subject and others have counts as a leak, not as a copy.
    own = sum(subject in owners for owners in found)
    copies = sum(bool(owners - {subject}) and subject not in owners for owners in found)
    place, total = f"{subject}/u_train", len(found)
    if copies:
        what = f"{copies} of {total} images are copies of other subjects' u_test"
        report.add(place, None, what, "made again by the split, not read", "dropped")
    if own:
        what = f"{own} of {total} images are the test images of {subject} itself"
        report.add(place, None, what, "a leak: the fold trains on what it is tested on", "dropped")
    if total - own - copies:
        what = f"{total - own - copies} of {total} images are nobody's test image"
        report.add(place, None, what, "no subject is known for them", "dropped")


def _files(folder: Path, part: str, subject: str = "*") -> list[Path]:
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; expected {_TREE}, as the authors of STSTNet and HTNet "
            "publish beside their code"
        )
    return sorted(folder.glob(f"{subject}/{part}/*/*.png"))


def _digest(path: Path) -> str:
    # Of the pixels: the same image may be compressed differently.
    return digest(_read(path).tobytes())


def clip_name(stem: str, subject: str) -> str:
    """``"s11_s11_sur_01 "`` -> ``"s11_sur_01"``: published names repeat the subject."""
    name = stem.strip().removeprefix(f"{subject}_")
    return name if name.startswith(subject) else f"{subject}_{name}"


def _label(path: Path) -> int:
    known = {str(i): i for i in range(len(facs.THREE_CLASSES))}
    if path.parent.name not in known:
        raise UserError(f"{path}: class folder {path.parent.name!r}; expected 0, 1 or 2")
    return known[path.parent.name]


def _dataset(subject: str) -> str:
    if subject.startswith("sub"):
        return "CASME II"
    # "sub" was tested first: it begins with "s" too.
    return "SMIC" if subject.startswith("s") else "SAMM"


def _read(path: Path) -> NDArray[np.uint8]:
    # cv2.imread cannot open every path on Windows; decoding from memory can.
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None or image.shape != (SIDE, SIDE, 3) or image.dtype != np.uint8:
        got = "no image" if image is None else f"{image.dtype} {image.shape}"
        raise UserError(f"{path}: {got}; expected a {SIDE}x{SIDE} RGB PNG of 8 bits")
    # OpenCV decodes to BGR; R, G, B hold u, v, strain.
    rgb: NDArray[np.uint8] = np.ascontiguousarray(image[..., ::-1])
    return rgb
