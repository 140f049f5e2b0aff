"""The sites of a federation: their clips, split by subject once, and checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from deft_llm import facs, protocols
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips, labelled
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.leaks import require_disjoint

_LEAST = 2  # training clips; a batch norm learns nothing from one


@dataclass(frozen=True)
class Site:
    """One site.

    Attributes:
        name: Its name.
        train: Training clips.
        test: Clips of other subjects of the same site.
    """

    name: str
    train: LabelledClips
    test: LabelledClips

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.train.classes

    @property
    def people(self) -> set[str]:
        """Everybody at the site, with the corpus in front."""
        return {*self.train.clips.people.tolist(), *self.test.clips.people.tolist()}

    @property
    def contents(self) -> set[str]:
        """Hashes of the decoded clips, where they are known."""
        records = (*self.train.clips.records, *self.test.clips.records)
        return {record.content for record in records}


def split_site(name: str, clips: LabelledClips, share: float, seed: int) -> Site:
    """Hold out a share of a site's subjects.

    Args:
        name: Name of the site.
        clips: Its clips.
        share: Share of the subjects to test on.
        seed: Seed of the choice; the same at every call.

    Raises:
        UserError: If the site has too few subjects.
    """
    try:
        split = protocols.hold_out(clips.clips.people, share, seed=seed)[0]
    except UserError as error:
        raise UserError(f"site {name}: {error}") from error
    if len(split.train) < _LEAST:
        raise UserError(
            f"site {name}: {len(split.train)} training clip; expected at least {_LEAST}; join it "
            "with another site"
        )
    # The public code splits by clip, so that a subject is trained on and tested.
    protocols.require_disjoint_subjects(split, clips.clips.people)
    return Site(name, clips.subset(split.train), clips.subset(split.test))


def make_site(name: str, clips: ClipDataset, scheme: str, share: float, seed: int) -> Site:
    """A site of the clips that have a class.

    Args:
        name: Name of the site.
        clips: Its clips.
        scheme: Label scheme, a name of ``facs.SCHEMES``.
        share: Share of the subjects to test on.
        seed: Seed of that choice.

    Raises:
        UserError: If there is no clip with a class, or there are too few subjects.
    """
    if not len(clips):
        raise UserError(f"site {name}: {clips.name} holds no clip; leave the site out, or fill it")
    try:
        known = labelled(clips, facs.SCHEMES[scheme], partial(ClipRecord.class_of, scheme=scheme))
    except UserError as error:
        raise UserError(f"site {name}: {error}") from error
    return split_site(name, known, share, seed)


def require_apart(sites: Sequence[Site]) -> None:
    """Reject sites that share a subject or a clip, or that differ in classes or in features.

    Raises:
        UserError: If they do; names both sites.
    """
    for one, other in combinations(sites, 2):
        both = f"sites {one.name} and {other.name}"
        require_disjoint(
            # By content as well: one clip may lie at two sites under two names.
            {"subject": one.people, "content": one.contents},
            {"subject": other.people, "content": other.contents},
            both,
            "a subject that one site trains on would be tested at the other; keep each person at "
            "one site",
        )
        if one.classes != other.classes:
            raise UserError(
                f"{both} have the classes {', '.join(one.classes)} and "
                f"{', '.join(other.classes)}; use one scheme"
            )


def require_same_shapes(shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> None:
    """Reject sites whose inputs have other shapes.

    Args:
        shapes: Site -> input -> shape of one clip.

    Raises:
        UserError: If two sites differ; names them and the input.
    """
    first, *rest = shapes
    for site in rest:
        for name, shape in shapes[site].items():
            if shape != shapes[first][name]:
                raise UserError(
                    f"site {site}: input {name} has the shape {shape}, that of site {first} "
                    f"{shapes[first][name]}; measure both with the same settings"
                )


def pooled(sites: Sequence[Site]) -> Site:
    """The clips of all sites in one place, for the centralised training."""
    parts = ([s.train for s in sites], [s.test for s in sites])
    train, test = (
        LabelledClips(
            ClipDataset.joined(*(p.clips for p in part)),
            np.concatenate([p.labels for p in part]),
            part[0].classes,
        )
        for part in parts
    )
    return Site("all", train, test)
