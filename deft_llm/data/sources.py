"""Sources of a recipe's clips: a data folder, a prepared corpus, or the simulator."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import model_validator

from deft_llm.config import Settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import FeatureSizes
from deft_llm.data.inputs import INPUTS
from deft_llm.data.prepared import open_prepared
from deft_llm.data.raw_frames import RAW_FEATURES, RAW_SIDE
from deft_llm.data.simulated import SimulatedData, simulated_clips, specs

FRAMES_SIDE = 64  # px of simulated frames, if a network reads frames


class ClipSource(Settings):
    """Exactly one of three sources; a bare path is a data folder.

    Attributes:
        folder: Data folder written by ``deft-llm instructions build``.
        prepared: ``<corpus>.jsonl`` in the cache of ``deft-llm corpora prepare``.
        simulated: What to simulate; measured once and cached beside the run.
    """

    folder: Path | None = None
    prepared: Path | None = None
    simulated: SimulatedData | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_path(cls, values: Any) -> Any:
        return {"folder": values} if isinstance(values, str | Path) else values

    @model_validator(mode="after")
    def _one_of_three(self) -> ClipSource:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{len(given)} sources; give one of folder, prepared and simulated")
        return self

    def subjects(self) -> set[str]:
        """The subjects of the clips, found without measuring anything.

        Raises:
            UserError: If a file is missing.
        """
        if self.simulated is not None:
            return {spec.subject for spec in specs(self.simulated)}
        # Folders and prepared corpora use neither inputs nor cache.
        return set(self.open((), Path()).subjects.tolist())

    def open(self, inputs: Iterable[str], cache: Path) -> ClipDataset:
        """Open the clips; simulated ones are measured first.

        Args:
            inputs: Inputs that networks will read; they decide which features are measured.
            cache: Cache folder for simulated clips.

        Raises:
            UserError: If a file is missing.
        """
        if self.folder is not None:
            return ClipDataset.open(self.folder)
        if self.prepared is not None:
            return open_prepared(self.prepared)
        assert self.simulated is not None
        return simulated_clips(self.simulated, cache, sizes=sizes_for(inputs))


def sizes_for(inputs: Iterable[str]) -> FeatureSizes:
    """Sizes of the features that some inputs are made from; those stored on demand only if needed.

    Args:
        inputs: Names of inputs; one that nothing makes has its message where inputs are made.
    """
    known = (INPUTS[name] for name in inputs if name in INPUTS)
    wanted = {feature for made in known for feature in made.sources}
    # Frames need more space than all other features.
    return FeatureSizes(
        frames=FRAMES_SIDE if "frames" in wanted else 0,
        raw=RAW_SIDE if wanted & set(RAW_FEATURES) else 0,
    )
