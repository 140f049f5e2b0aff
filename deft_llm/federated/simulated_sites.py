"""Sites that are rendered: classes drawn unevenly, a camera and a compression of their own each.

What a federation has to cope with, with known truth: how classes are shared out is drawn from a
Dirichlet distribution (small: most clips of a site are of one class), and clips of two sites look
as different as recordings of two laboratories do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from deft_llm import facs
from deft_llm.config import Settings
from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.clip_lines import CLIPS
from deft_llm.data.clip_shards import records, write_shards
from deft_llm.data.features import DEFAULT_SIZES, FeatureSizes
from deft_llm.data.simulated import measure_simulated
from deft_llm.files import digest, write_lines
from deft_llm.simulator.render.camera import Sensor
from deft_llm.simulator.scene.clip_spec import FRAME_RATES, ClipSpec, draw_spec
from deft_llm.simulator.scene.clips import render_many
from deft_llm.simulator.scene.statistics import combinations

_SHARD = "clips"
_COMPRESSIONS = (18, 33)  # x264 quality from nearly lossless to visibly compressed
_BLUR, _NOISE, _GAMMA = (0.4, 1.2), (0.4, 2.5), (0.8, 1.2)
_APART = 1_000_000  # seeds of two sites


class SimulatedSites(Settings):
    """What to render.

    Attributes:
        sites: Number of sites.
        clips: Clips of each.
        identities: Faces of each, none of them at two sites.
        least: Clips of every class that a site has at least; the others are drawn. All classes
            together have to fit into ``clips``.
        concentration: Of the Dirichlet distribution of a site's classes.
        first_identity: Seed of the first face.
        seed: Seed of classes, cameras and clips.
        workers: Number of processes.
    """

    sites: int = Field(default=5, ge=2)
    clips: int = Field(default=120, ge=6)
    identities: int = Field(default=24, ge=2)
    least: int = Field(default=12, ge=0)
    concentration: float = Field(default=0.3, gt=0)
    first_identity: int = 2_000_000
    seed: int = 24_000_000
    workers: int = 2

    @model_validator(mode="after")
    def _fits(self) -> SimulatedSites:
        classes = len(facs.THREE_CLASSES)
        if self.clips < self.least * classes:
            raise ValueError(
                f"{self.clips} clips of a site cannot hold {self.least} of each of {classes} "
                f"classes (least); set clips to {self.least * classes} or more, or least to "
                f"{self.clips // classes} or fewer"
            )
        return self

    @property
    def names(self) -> list[str]:
        """Names of the sites."""
        return [f"site{k + 1}" for k in range(self.sites)]


@dataclass(frozen=True)
class Camera:
    """How a site films.

    Attributes:
        sensor: Its lens and sensor; background and noise are each clip's own.
        fps: Frames per second.
        crf: x264 quality.
    """

    sensor: Sensor
    fps: float
    crf: int

    def films(self, spec: ClipSpec) -> ClipSpec:
        """The same clip as this camera films it."""
        own = spec.sensor
        sensor = replace(
            self.sensor,
            background=own.background,
            background_seed=own.background_seed,
            noise_seed=own.noise_seed,
        )
        return replace(spec, sensor=sensor)


def camera_of(data: SimulatedSites, site: int) -> Camera:
    """The camera of a site, counted from 0."""
    # 71 to 74 only keep the streams of random numbers of this file apart.
    rng = np.random.default_rng([data.seed, site, 71])
    # Spread over the ranges, so that no two sites are alike by chance.
    place = (site + rng.uniform(0, 1)) / data.sites
    noise = _NOISE[0] + (_NOISE[1] - _NOISE[0]) * place
    sensor = Sensor(
        grey=bool(rng.random() < 0.35),
        gamma=float(rng.uniform(*_GAMMA)),
        blur=float(rng.uniform(*_BLUR)),
        read_noise=float(noise),
        shot_noise=float(2 * noise),
        background=0.5,
        background_seed=0,
        noise_seed=0,
    )
    low, high = _COMPRESSIONS
    # One permutation for all sites: compression does not rise with the number, as the noise does.
    order = np.random.default_rng([data.seed, 72]).permutation(data.sites)
    crf = round(low + (high - low) * int(order[site]) / (data.sites - 1))
    return Camera(sensor, float(rng.choice(FRAME_RATES[2:])), crf)


def classes_of(data: SimulatedSites, site: int) -> list[str]:
    """The class of every clip of a site, in their order."""
    rng = np.random.default_rng([data.seed, site, 73])
    classes = facs.THREE_CLASSES
    free = data.clips - data.least * len(classes)
    share = rng.dirichlet([data.concentration] * len(classes))
    counts = rng.multinomial(free, share) + data.least
    return [str(name) for name in rng.permutation(np.repeat(classes, counts))]


def site_specs(data: SimulatedSites, site: int) -> list[ClipSpec]:
    """The recipes of a site's clips."""
    camera, table = camera_of(data, site), combinations()
    emotions = {
        name: [e for e in sorted(table) if facs.to_three(e) == name] for name in facs.THREE_CLASSES
    }
    specs = []
    for i, name in enumerate(classes_of(data, site)):
        seed = data.seed + site * _APART + i
        # Emotions of a class as often as they are coded in real corpora.
        weights = np.array([sum(table[e].values()) for e in emotions[name]], float)
        rng = np.random.default_rng([seed, 74])
        emotion = str(rng.choice(emotions[name], p=weights / weights.sum()))
        identity = data.first_identity + site * data.identities + i % data.identities
        drawn = draw_spec(seed, identity, neutral_share=0.0, emotion=emotion, fps=camera.fps)
        specs.append(camera.films(drawn))
    return specs


def simulated_site(
    data: SimulatedSites, site: int, cache: Path, sizes: FeatureSizes = DEFAULT_SIZES
) -> ClipDataset:
    """Render and measure the clips of a site, once; after a stop, the same call goes on.

    Args:
        data: What to render.
        site: Number of the site, counted from 0.
        cache: Cache folder.
        sizes: Sizes of the features.

    Returns:
        The clips whose face was found, as a data folder holds them.
    """
    specs, crf = site_specs(data, site), camera_of(data, site).crf
    # Clips with the features that are always stored are keyed by what they show alone.
    stored = [] if sizes == DEFAULT_SIZES else [json.dumps(sizes.facts())]
    key = digest(*(spec.to_json() for spec in specs), str(crf), *stored)[:12]
    folder = cache / f"federated-{key}"
    folder.mkdir(parents=True, exist_ok=True)

    made = partial(measure_simulated, crf=crf, sizes=sizes)

    def measured(some: Iterable[ClipSpec]) -> Iterator[MeasuredClip]:
        return render_many(some, made, data.workers)

    names = write_shards(_SHARD, specs, measured, folder)
    # What makes it a data folder, which a client in a process of its own can be given.
    write_lines(folder / CLIPS, (record.to_json() for record in records(folder, names)))
    return ClipDataset.open(folder)
