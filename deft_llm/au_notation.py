"""AUs in the notation of the published sheets: "R12", "T28+14", "(R6 or R12)+R15", "ref(7B)+43"."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from deft_llm.errors import UserError
from deft_llm.facs import ACTION_UNITS


@dataclass(frozen=True)
class CodedAU:
    """One AU as a coder wrote it.

    Attributes:
        number: FACS number.
        side: "L", "R" or "" (both sides or unspecified).
        part: "T" (top), "B" (bottom) or "" for lip AUs coded on one lip only.
        asymmetric: Coded with the prefix A: on both sides, with unequal strength.
        intensity: "A" to "E", "A/B" for between two levels, or "".
        reference: Written as ``ref(…)``: already present in the reference frame.
        uncertain: Written with a question mark.
        alternative: Members of one "or" group share a number > 0; 0 means not in a group.
    """

    number: int
    side: str = ""
    part: str = ""
    asymmetric: bool = False
    intensity: str = ""
    reference: bool = False
    uncertain: bool = False
    alternative: int = 0

    @property
    def code(self) -> str:
        """Side and number, as used in annotations: "12" or "L12"."""
        return f"{self.side}{self.number}"


# Prefix (A, L, R, A/L or A/R), lip part, number, intensity (X is accepted besides A to E).
_ATOM = re.compile(r"^([ALR]|A/[LR])?([TB])?\s*(\d{1,2})\s*([A-EX](?:/[A-E])?)?$")
_NOT_AN_AU = {"soft focus"}


def _parse_atom(text: str, code: str) -> CodedAU | None:
    reference = False
    # ref(...) and "?" wrap the code, so they are removed before the code itself is matched.
    if match := re.fullmatch(r"ref\s*\((.*)\)", text, flags=re.IGNORECASE):
        text, reference = match.group(1).strip(), True
    uncertain = "?" in text
    text = text.replace("?", "").strip()
    if text.lower() in _NOT_AN_AU:
        return None
    match = _ATOM.match(text.upper())
    if not match:
        raise UserError(
            f"AU code {code!r}: cannot read {text!r}; expected forms like R12, L1+L2, "
            "T28+14, 4D+ref(7B), (R6 or R12)+R15"
        )
    prefix, part, number, intensity = (g or "" for g in match.groups())
    if int(number) not in ACTION_UNITS:
        raise UserError(f"AU code {code!r}: AU{number} is not a FACS AU that this project knows")
    # "A", "A/L" and "A/R" become "", "L" and "R".
    side = prefix.removeprefix("A").removeprefix("/")
    asymmetric = prefix.startswith("A")
    return CodedAU(int(number), side, part, asymmetric, intensity, reference, uncertain)


def _split_top_level(text: str) -> list[str]:
    """Split at "+" outside brackets."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "+" and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    if depth != 0:
        raise UserError(f"AU code {text!r}: brackets do not match")
    return [part.strip() for part in (*parts, text[start:])]


def parse_aus(code: str | int | float | None) -> tuple[CodedAU, ...]:
    """Parse an AU coding in the notation of the published sheets.

    Args:
        code: For example ``"R12"``, ``"L1+L2"``, ``"(R6 or R12)+R15"``, ``"A9+12"``,
            ``"T28+14"``, ``"ref(7B)+43"``, ``"10A/B"``, ``"4?"``, or a bare number; ``None``,
            ``""``, ``"/"``, ``"0"``, ``"nan"`` and ``"-"`` mean that nothing was coded.

    Returns:
        The AUs in the order written.

    Raises:
        UserError: If a part is not a valid AU code, or names an unknown AU.
    """
    text = "" if code is None else str(code).strip()
    if text.endswith(".0"):  # spreadsheets store a bare number as a float
        text = text[:-2]
    if text in {"", "/", "0", "nan", "-"}:
        return ()
    aus: list[CodedAU] = []
    group = 0
    for part in _split_top_level(text):
        inner = part[1:-1] if part.startswith("(") and part.endswith(")") else part
        choices = re.split(r"\s+or\s+", inner)
        # Group numbers start at 1, because 0 marks an AU outside any group.
        group += len(choices) > 1
        for choice in choices:
            au = _parse_atom(choice.strip(), text)
            if au is not None:
                aus.append(replace(au, alternative=group if len(choices) > 1 else 0))
    return tuple(aus)
