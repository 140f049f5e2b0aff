"""Read pairs with exact flow in the published layout of SRFlow's sibling (SRFlow3D).

    ROOT/{train,val,test}/render/<subject>/NNNN.{png,jpg}   frames
                          flow/<subject>/NNNN.flo           from frame NNNN to frame NNNN + 1
                          mask/<subject>/NNNN.{png,jpg,npy} head visible in frame NNNN

The names come from the public text (SRFlow, arXiv 2601.06479, and the list of files of SRFlow3D).
That a flow leads to the next frame is our reading. Other folders (camera, depth ...) are ignored.
``dataset.py`` writes this layout, ``deft-llm flow-score`` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.motion.flow_files import read_flow

_LAYOUT = (
    "expected {split}/render/<subject>/NNNN.png or .jpg, {split}/flow/<subject>/NNNN.flo and "
    "{split}/mask/<subject>/NNNN.png, .jpg or .npy, split one of train, val, test"
)


@dataclass(frozen=True)
class FlowPair:
    """Two frames and the flow between them.

    Attributes:
        name: "<subject>/NNNN".
        image1: (H, W, 3) uint8 RGB.
        image2: The same for the next frame.
        flow: (2, H, W) float32, pixels, u right and v down; 0 where it is unknown.
        mask: (H, W) bool, True where ``image1`` shows the head and the flow is known.
    """

    name: str
    image1: NDArray[np.uint8]
    image2: NDArray[np.uint8]
    flow: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class PairFiles:
    """The files of one pair, not yet read."""

    subject: str
    image1: Path
    image2: Path
    flow: Path
    mask: Path

    def read(self) -> FlowPair:
        """Read and check the pair; pixels whose flow is unknown (or NaN) are outside the mask.

        Raises:
            UserError: If a file is unreadable, or sizes differ.
        """
        image1, image2 = _read_image(self.image1), _read_image(self.image2)
        (flow, known), mask = read_flow(self.flow), _read_mask(self.mask)
        size = image1.shape[:2]
        for path, got in (
            (self.image2, image2.shape[:2]),
            (self.flow, flow.shape[1:]),
            (self.mask, mask.shape),
        ):
            if got != size:
                raise UserError(
                    f"{path}: shape {got}; expected {size}, the height and width of {self.image1}"
                )
        name = f"{self.subject}/{self.flow.stem}"
        return FlowPair(name, image1, image2, flow, mask & known)


def list_pairs(root: Path, split: str) -> list[PairFiles]:
    """All pairs of a split, by subject and number.

    Raises:
        UserError: If the split has no flow files, or one of them lacks a frame or its mask.
    """
    flows = sorted((root / split / "flow").glob("*/*.flo"))
    if not flows:
        raise UserError(f"{root}: no flow in split {split!r}; {_LAYOUT}")
    return [_files(root / split, path) for path in flows]


def read_pairs(root: Path, split: str) -> Iterator[FlowPair]:
    """Read the pairs of a split one by one.

    Raises:
        UserError: As :func:`list_pairs` and :meth:`PairFiles.read`.
    """
    return (files.read() for files in list_pairs(root, split))


def _files(folder: Path, flow: Path) -> PairFiles:
    subject, number = flow.parent.name, flow.stem
    if not number.isdecimal():
        raise UserError(f"{flow}: expected the number of a frame as its name, like 0007.flo")
    # Frame numbers keep their leading zeros.
    following = str(int(number) + 1).zfill(len(number))
    return PairFiles(
        subject=subject,
        image1=_find(folder / "render" / subject, number, ("png", "jpg", "jpeg")),
        image2=_find(folder / "render" / subject, following, ("png", "jpg", "jpeg")),
        flow=flow,
        mask=_find(folder / "mask" / subject, number, ("png", "jpg", "jpeg", "npy")),
    )


def _find(folder: Path, stem: str, endings: tuple[str, ...]) -> Path:
    for ending in endings:
        path = folder / f"{stem}.{ending}"
        if path.is_file():
            return path
    raise UserError(f"{folder / stem}.{endings[0]}: no such file; {_LAYOUT}")


def _read_image(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{path}: not readable as an image; get the file again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _read_mask(path: Path) -> NDArray[np.bool_]:
    if path.suffix == ".npy":
        try:
            mask = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(f"{path}: not readable as an array ({error})") from error
        mask = mask.squeeze()
    else:
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise UserError(f"{path}: not readable as an image; get the file again")
    if mask.ndim != 2:
        raise UserError(f"{path}: a mask of shape {mask.shape}; expected (H, W)")
    # Masks are 0 and 1, or 0 and 255; JPEG adds ringing, hence a threshold in the middle.
    return mask > (0.5 if mask.max(initial=0) <= 1 else 127)
