"""Text towers and prompts: the vector of an expression is the mean of its texts' vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from deft_llm.config import read_yaml
from deft_llm.errors import UserError, did_you_mean
from deft_llm.facet.au_text import EMOTION_AUS, AuTextTower, au_phrase
from deft_llm.facet.configuration import Prompts, TextConfig

STYLES = ("plain", "described", "ensemble")
_FACES = ("a face that shows {}", "the expression of {}")
_NAMELESS = {"others": (18, 20, 22)}
"""Units of classes whose word names no movement: 4DME's "others", as the simulator shows them."""


class TextTower(Protocol):
    """Texts to unit vectors."""

    name: str
    width: int

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (K, E) of texts."""


def load_text_tower(config: TextConfig) -> TextTower:
    """The text tower of a configuration.

    Raises:
        UserError: If a CLIP model is not named or cannot be loaded.
    """
    if config.kind == "au":
        return AuTextTower()
    from deft_llm.facet.clip_towers import ClipText

    return ClipText(config.name_or_path)


def default_prompts(classes: Iterable[str], style: str = "ensemble") -> Prompts:
    """Texts for expressions.

    Args:
        classes: Their names; emotions, or combinations of units such as "4+12".
        style: "plain" names the emotion, "described" names its movements, "ensemble" has both.

    Raises:
        UserError: If the style is unknown.
    """
    if style not in STYLES:
        raise UserError(f"prompt style {style!r}: expected one of {', '.join(STYLES)}")
    return {name: _texts(name, style) for name in classes}


def _texts(name: str, style: str) -> list[str]:
    if name[:1].isdigit():  # a combination of units
        return [au_phrase(int(number) for number in name.split("+"))]
    if name in _NAMELESS:
        return [au_phrase([au]) for au in _NAMELESS[name]]
    plain = [face.format(name) for face in _FACES]
    if name not in EMOTION_AUS:
        return plain
    described = [f"{au_phrase(EMOTION_AUS[name])}, as in {name}"]
    return {"plain": plain, "described": described, "ensemble": plain + described}[style]


def class_vectors(prompts: Prompts, tower: TextTower) -> Tensor:
    """Unit vectors (K, E) of expressions, in their order."""
    # Mean of unit vectors, then to unit length again, as CLIP averages its prompts.
    means = [tower.encode(texts).mean(dim=0) for texts in prompts.values()]
    return F.normalize(torch.stack(means), dim=-1)


def read_prompts(path: Path, known: Prompts) -> Prompts:
    """Add to, rename or replace expressions by a user's file.

    The file maps a name to a text or a list of texts; a name that is known gets the new texts, and
    ``{rename: {happiness: joy}}`` changes names. ``{only: [...]}`` leaves all others out.

    Args:
        path: The YAML file.
        known: The expressions so far.

    Raises:
        UserError: If the file is not readable or holds something else, or two expressions would
            have one name.
    """
    values = read_yaml(path)
    names = values.pop("rename", None) or {}
    only = values.pop("only", None)
    if not isinstance(names, dict) or not (only is None or isinstance(only, list)):
        raise UserError(f"{path}: expected rename: {{old: new}} and only: [names]")
    if unknown := [str(old) for old in names if old not in known]:
        raise UserError(
            f"{path}: rename: no expression {unknown[0]!r}; expected {', '.join(known)}"
        )
    made: Prompts = {}
    for name, texts in known.items():
        new = str(names.get(name, name))
        if new in made:
            raise UserError(
                f"{path}: rename: {new} would be the name of two expressions; give one of them "
                "another name"
            )
        made[new] = texts
    for name, texts in values.items():
        # Any other key is the name of an expression, so that a misspelt one would become one.
        if name not in known and (near := did_you_mean(str(name), ("rename", "only"), 0.85)):
            raise UserError(f"{path}: unknown key {str(name)!r}{near}")
        made[str(name)] = _listed(texts, f"{path}: {name}")
    if only is not None:
        if missing := [str(name) for name in only if str(name) not in made]:
            raise UserError(
                f"{path}: only: no expression {missing[0]!r}; there are {', '.join(made)}"
            )
        if not only:
            raise UserError(f"{path}: only: no expression is left; name some of {', '.join(made)}")
        made = {str(name): made[str(name)] for name in only}
    return made


def _listed(texts: Any, where: str) -> list[str]:
    listed = [texts] if isinstance(texts, str) else texts
    if not isinstance(listed, list) or not listed or not all(isinstance(t, str) for t in listed):
        raise UserError(f"{where}: got {texts!r}; expected a text, or a list of texts")
    return listed
