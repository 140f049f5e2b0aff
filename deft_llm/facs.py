"""The Facial Action Coding System as this project uses it: AUs, regions, directions, emotions.

Names follow the FACS manual (Ekman, Friesen and Hager, 2002). The regions and the expected
direction of each AU are our own reading of the appearance changes in the manual. The simulator,
the instruction data and the scoring all use these definitions, because they link each sentence
of an explanation to measured motion.

Image axes: u to the right, v down. Left and right are the subject's, so the subject's left is
image right. Offsets and sizes of regions are in units of the interocular distance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from deft_llm.errors import UserError

Side = Literal["left", "right", "middle"]

# --------------------------------------------------------------------------- regions


@dataclass(frozen=True)
class Region:
    """A patch of the face, placed by landmarks.

    Attributes:
        name: For example "left inner brow".
        side: The subject's side, or "middle".
        anchors: 68-point iBUG indices whose mean is the centre before the offset.
        offset: (right, down) in interocular units, image axes of an upright face.
        half_size: (half width, half height) in interocular units.
    """

    name: str
    side: Side
    anchors: tuple[int, ...]
    offset: tuple[float, float]
    half_size: tuple[float, float]


# Subject's right side (image left): name -> anchors, offset, half size.
# Only one side is written out; _build_regions mirrors it, so both sides stay symmetric.
_RIGHT = {
    "inner brow": ((20, 21), (0.0, -0.02), (0.17, 0.11)),
    "outer brow": ((17, 18, 19), (0.0, -0.03), (0.18, 0.11)),
    "upper lid": ((37, 38), (0.0, -0.03), (0.19, 0.07)),
    "lower lid": ((40, 41), (0.0, 0.08), (0.19, 0.08)),
    "cheek": ((36, 41, 48), (0.0, 0.12), (0.21, 0.16)),
    "nostril wing": ((31,), (-0.08, -0.06), (0.11, 0.12)),
    "upper lip": ((49, 50), (0.02, -0.05), (0.13, 0.10)),
    "mouth corner": ((48,), (-0.06, 0.0), (0.13, 0.12)),
    "lower lip": ((58, 59), (0.02, 0.06), (0.14, 0.10)),
}
# The same point on the other side of the face, for the 68-point scheme.
MIRROR_68: tuple[int, ...] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30),
    *(35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48),
    *(59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60),
    *(67, 66, 65),
)


def _build_regions() -> dict[str, Region]:
    regions = {}
    for name, (anchors, (dx, dy), size) in _RIGHT.items():
        mirrored = tuple(MIRROR_68[a] for a in anchors)
        # A mirrored offset changes sign in x only.
        regions[f"left {name}"] = Region(f"left {name}", "left", mirrored, (-dx, dy), size)
        regions[f"right {name}"] = Region(f"right {name}", "right", anchors, (dx, dy), size)
    regions["glabella"] = Region("glabella", "middle", (21, 22), (0.0, 0.02), (0.13, 0.12))
    regions["chin"] = Region("chin", "middle", (8, 57), (0.0, 0.02), (0.24, 0.13))
    return regions


REGIONS: dict[str, Region] = _build_regions()

# ------------------------------------------------------------------------- directions

# Unit vectors in (outward, down) for sided regions, (subject's left = image right, down) for
# regions on the midline, keyed by octant.
# From outward over down to inward and up; octant() relies on this order. Because v points down,
# that is clockwise on the screen, but counter-clockwise on the subject's right (outward is -u).
_D = math.sqrt(0.5)
_SIDED = {
    "outward": (1.0, 0.0),
    "down and outward": (_D, _D),
    "down": (0.0, 1.0),
    "down and inward": (-_D, _D),
    "inward": (-1.0, 0.0),
    "up and inward": (-_D, -_D),
    "up": (0.0, -1.0),
    "up and outward": (_D, -_D),
}
_MIDDLE = {
    name.replace("outward", "left").replace("inward", "right"): vector
    for name, vector in _SIDED.items()
}
OCTANTS = len(_SIDED)
DIRECTIONS: tuple[str, ...] = tuple(dict.fromkeys((*_SIDED, *_MIDDLE)))


def _table(side: Side) -> dict[str, tuple[float, float]]:
    return _MIDDLE if side == "middle" else _SIDED


def _outward_sign(side: Side) -> float:
    # The subject's right is image left, so outward means -u there. Midline regions are named by the
    # subject's left, which is image right (+u).
    return -1.0 if side == "right" else 1.0


def directions(side: Side) -> tuple[str, ...]:
    """Direction names for regions on that side, ordered by octant."""
    return tuple(_table(side))


def direction_name(u: float, v: float, side: Side) -> str:
    """Name the octant of a motion.

    Args:
        u: Motion to the image's right, any unit.
        v: Motion down.
        side: Side of the region that moved; decides what "outward" means.

    Returns:
        A name such as "up" or "up and outward" ("up and left" for regions on the midline).
    """
    # Each octant is centred on its direction. atan2 is negative for upward motion; % 8 brings those
    # octants to 4..7.
    number = round(math.atan2(v, u * _outward_sign(side)) / (math.pi / 4)) % 8
    return directions(side)[number]


def direction_vector(name: str, side: Side) -> tuple[float, float]:
    """Unit vector (u, v) in image axes for a direction name.

    Raises:
        UserError: If the name does not exist for that side.
    """
    outward, down = list(_table(side).values())[octant(name, side)]
    return outward * _outward_sign(side), down


def octant(name: str, side: Side) -> int:
    """Octant of a direction name in steps of 45 degrees: 0 outward (left), 2 down, 4 inward, 6 up.

    Raises:
        UserError: If the name does not exist for that side.
    """
    names = directions(side)
    if name not in names:
        raise UserError(f"direction {name!r}: expected one of {', '.join(names)}")
    return names.index(name)


def mirror_direction(name: str, side: Side) -> str:
    """The direction name after a left-right flip of the image; only midline names change."""
    # Sided names are relative to the midline ("outward"), so a flip does not change them.
    if side != "middle":
        return name
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(word, word) for word in name.split())


def mirror_region(name: str) -> str:
    """The matching region on the other side of the face; midline regions map to themselves."""
    side, _, rest = name.partition(" ")
    return {"left": f"right {rest}", "right": f"left {rest}"}.get(side, name)


# ------------------------------------------------------------------------ action units


@dataclass(frozen=True)
class Movement:
    """What an AU does to one kind of region.

    Attributes:
        region: Region name without its side ("inner brow"), or a midline region.
        directions: Directions that agree with the AU, main direction first.
    """

    region: str
    directions: tuple[str, ...]


@dataclass(frozen=True)
class ActionUnit:
    """One FACS action unit.

    Attributes:
        number: FACS number.
        name: FACS name, lower case.
        movements: Regions it moves; empty if it is not visible in region motion, for example
            eye and head positions.
    """

    number: int
    name: str
    movements: tuple[Movement, ...] = ()

    @property
    def label(self) -> str:
        """For example "AU12 lip corner puller"."""
        return f"AU{self.number} {self.name}"


def _au(number: int, name: str, **regions: str) -> ActionUnit:
    movements = []
    # Keyword names cannot hold spaces, hence the underscores; "|" separates the directions.
    for region, directions in regions.items():
        names = tuple(d.strip() for d in directions.split("|"))
        movements.append(Movement(region.replace("_", " "), names))
    return ActionUnit(number, name, tuple(movements))


_IN, _OUT = "inward", "outward"
ACTION_UNITS: dict[int, ActionUnit] = {
    au.number: au
    for au in (
        _au(1, "inner brow raiser", inner_brow="up", glabella="up"),
        _au(2, "outer brow raiser", outer_brow="up"),
        _au(
            4,
            "brow lowerer",
            inner_brow="down|down and inward|inward",
            outer_brow="down|down and inward",
            glabella="down",
            upper_lid="down",
        ),
        _au(5, "upper lid raiser", upper_lid="up"),
        _au(6, "cheek raiser", cheek="up|up and outward", lower_lid="up"),
        _au(7, "lid tightener", lower_lid="up|up and inward", upper_lid="down"),
        _au(8, "lips toward each other", upper_lip="down", lower_lip="up"),
        _au(
            9,
            "nose wrinkler",
            nostril_wing="up|up and outward",
            upper_lip="up",
            glabella="down",
            inner_brow="down",
        ),
        _au(10, "upper lip raiser", upper_lip="up|up and outward", nostril_wing="up"),
        _au(
            12,
            "lip corner puller",
            mouth_corner="up and outward|up|outward",
            upper_lip="up and outward|outward|up",
            lower_lip="up and outward|outward|up",
            cheek="up|up and outward",
        ),
        _au(13, "sharp lip puller", mouth_corner="up", cheek="up"),
        _au(14, "dimpler", mouth_corner="outward|inward", upper_lip=_OUT, lower_lip=_OUT),
        _au(15, "lip corner depressor", mouth_corner="down|down and outward", lower_lip="down"),
        _au(16, "lower lip depressor", lower_lip="down|down and outward"),
        _au(17, "chin raiser", chin="up", lower_lip="up", mouth_corner="up"),
        _au(18, "lip pucker", mouth_corner=_IN, upper_lip=_IN, lower_lip=_IN),
        _au(
            20,
            "lip stretcher",
            mouth_corner="outward|down and outward",
            upper_lip=_OUT,
            lower_lip="outward|down and outward",
        ),
        _au(21, "neck tightener"),
        _au(
            22,
            "lip funneler",
            mouth_corner=_IN,
            upper_lip="up|up and inward",
            lower_lip="down|down and inward",
        ),
        _au(
            23,
            "lip tightener",
            mouth_corner=_IN,
            upper_lip="down|down and inward",
            lower_lip="up|up and inward",
        ),
        _au(24, "lip pressor", upper_lip="down", lower_lip="up", chin="up"),
        _au(25, "lips part", upper_lip="up", lower_lip="down"),
        _au(26, "jaw drop", lower_lip="down", chin="down"),
        _au(27, "mouth stretch", lower_lip="down", chin="down", mouth_corner="down"),
        _au(28, "lip suck", upper_lip="down", lower_lip="up"),
        _au(31, "jaw clencher"),
        _au(38, "nostril dilator", nostril_wing=_OUT),
        _au(39, "nostril compressor", nostril_wing=_IN),
        _au(43, "eyes closed", upper_lid="down", lower_lid="up"),
        _au(45, "blink", upper_lid="down", lower_lid="up"),
        _au(56, "head tilt right"),
        _au(61, "eyes turn left"),
        _au(62, "eyes turn right"),
        _au(63, "eyes up"),
        _au(64, "eyes down"),
    )
}


# The code of an annotation, as au_notation.CodedAU.code writes it.
_CODE = re.compile(r"[LR]?([0-9]{1,3})")


def au_number(code: str) -> int:
    """The FACS number of an annotation's code: ``"L12"`` -> 12.

    Raises:
        ValueError: If the code is not one to three digits, optionally after ``L`` or ``R``.
    """
    if not (found := _CODE.fullmatch(code)):
        raise ValueError(f"{code!r} is no AU code; expected one like '12' or 'L12'")
    return int(found[1])


def au_sides(code: str) -> tuple[Side, ...]:
    """The sides that a code refers to: ``"L12"`` -> ("left",); a bare number -> both."""
    if code.startswith("L"):
        return ("left",)
    return ("right",) if code.startswith("R") else ("left", "right")


def au_short(code: str) -> str:
    """A code as people write it: ``"12"`` -> "AU12"; one side as coders do, ``"L12"`` -> "L12"."""
    return f"AU{code}" if code.isdecimal() else code


def mirror_au(code: str) -> str:
    """The code after a left-right flip: ``"L12"`` -> ``"R12"``."""
    swap = {"L": "R", "R": "L"}
    return swap[code[0]] + code[1:] if code[0] in swap else code


def sort_aus(codes: Iterable[str]) -> tuple[str, ...]:
    """Sort codes by number, then by side: both, left, right. Duplicates are removed."""
    # False sorts before True: a bare code gives (False, False), L (False, True), R (True, False).
    return tuple(sorted(set(codes), key=lambda c: (au_number(c), c[0] == "R", c[0] == "L")))


def join_sides(codes: Iterable[str]) -> tuple[str, ...]:
    """Every AU once, sorted: "L12" with "R12", or one side beside "12", is "12"."""
    sides: dict[int, set[str]] = {}
    for code in codes:
        sides.setdefault(au_number(code), set()).add(code.rstrip("0123456789"))
    return sort_aus(
        f"{found.pop() if len(found) == 1 else ''}{number}" for number, found in sides.items()
    )


def expected_directions(code: str) -> dict[str, tuple[str, ...]]:
    """Regions that a coded AU should move, and their expected directions.

    Returns:
        Region name (with side) -> directions that agree with the AU, main direction first.
    """
    au = ACTION_UNITS[au_number(code)]
    expected: dict[str, tuple[str, ...]] = {}
    for movement in au.movements:
        # Only midline regions are in REGIONS without a side; they move whichever side was coded.
        if movement.region in REGIONS:
            expected[movement.region] = movement.directions
            continue
        for side in au_sides(code):
            expected[f"{side} {movement.region}"] = movement.directions
    return expected


# --------------------------------------------------------------------------- emotions

EMOTIONS: tuple[str, ...] = (
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
    "repression",
    "others",
)
THREE_CLASSES: tuple[str, ...] = ("negative", "positive", "surprise")
#: Every label that a corpus gives a clip: an emotion, or a coarse class where it has nothing finer.
LABELS: tuple[str, ...] = tuple(dict.fromkeys((*EMOTIONS, *THREE_CLASSES)))
_THREE = {
    **dict.fromkeys(("anger", "contempt", "disgust", "fear", "sadness", "repression"), "negative"),
    "happiness": "positive",
    "surprise": "surprise",
}
# Corpus -> emotions that MEGC2019 gives no class of three: CASME II has too few of them, while the
# same two are negative in SAMM.
_UNMERGED = {"casme2": frozenset({"sadness", "fear"})}

SCHEMES: dict[str, tuple[str, ...]] = {
    "3": THREE_CLASSES,
    "4": (*THREE_CLASSES, "others"),
    "5-casme2": ("happiness", "disgust", "repression", "surprise", "others"),
    "5-samm": ("anger", "contempt", "happiness", "surprise", "others"),
    "7": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "others"),
    "7-dfme": ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
}
"""Label schemes by name. The schemes with three and four classes merge emotions (MEGC2019;
CAS(ME)3 adds "others"). The larger schemes use the emotions themselves and leave out clips of any
other emotion."""


def to_three(emotion: str | None, corpus: str = "") -> str | None:
    """MEGC2019's three-class scheme; None for "others" and for clips without expression.

    Args:
        emotion: One of ``LABELS``, or None.
        corpus: Where it is coded; CASME II's sadness and fear have no class.

    Raises:
        UserError: If the emotion is unknown.
    """
    if emotion in THREE_CLASSES:
        return emotion
    if emotion is not None and emotion not in EMOTIONS:
        raise UserError(f"emotion {emotion!r}: expected one of {', '.join(EMOTIONS)}")
    if emotion is None or emotion in _UNMERGED.get(corpus, ()):
        return None
    return _THREE.get(emotion)


def to_scheme(emotion: str | None, scheme: str, corpus: str = "") -> str | None:
    """The class of an emotion in one of ``SCHEMES``, or None if the scheme has no such class.

    Args:
        emotion: One of ``LABELS``, or None.
        scheme: One of ``SCHEMES``.
        corpus: As for :func:`to_three`.

    Raises:
        UserError: If scheme or emotion is unknown.
    """
    if scheme not in SCHEMES:
        raise UserError(f"label scheme {scheme!r}: expected one of {', '.join(SCHEMES)}")
    merged = to_three(emotion, corpus)
    # Only schemes "3" and "4" merge; "others" has no merged class and keeps its name.
    label = emotion if merged is None or not scheme.startswith(("3", "4")) else merged
    return label if label in SCHEMES[scheme] else None
