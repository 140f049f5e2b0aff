"""Sources of a recipe's long videos: a corpus, or the simulator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import model_validator

from deft_llm.config import Settings
from deft_llm.data.corpus_videos import corpus_subjects, corpus_videos
from deft_llm.data.long_videos import CodedVideo, LongVideoData, simulated_videos, video_specs
from deft_llm.data.window_pictures import simulated_windows, windows_of
from deft_llm.files import digest
from deft_llm.motion.flow_windows import Bytes

_NO_MATTER = {"workers", "head_file"}  # they do not change the videos


class CorpusFolder(Settings):
    """A corpus of long videos.

    Attributes:
        name: A key of ``CORPORA``.
        root: Its folder.
    """

    name: str
    root: Path


class VideoSource(Settings):
    """Exactly one of two sources.

    Attributes:
        simulated: What to simulate.
        corpus: A corpus with long videos.
    """

    simulated: LongVideoData | None = None
    corpus: CorpusFolder | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> VideoSource:
        if (self.simulated is None) == (self.corpus is None):
            raise ValueError("give one of simulated and corpus")
        return self

    def subjects(self) -> set[str]:
        """The subjects of the videos, found without measuring anything.

        Raises:
            UserError: If the corpus cannot be read.
        """
        if self.simulated is not None:
            return {spec.subject for spec in video_specs(self.simulated)}
        assert self.corpus is not None
        return corpus_subjects(self.corpus.name, self.corpus.root)

    def open(self, cache: Path) -> list[CodedVideo]:
        """The videos, measured first where they have not been yet.

        Args:
            cache: Folder for what is measured.

        Raises:
            UserError: If the corpus cannot be read, or nothing of it can be measured.
        """
        if self.simulated is not None:
            return simulated_videos(self.simulated, cache / f"videos-{self._key}")
        assert self.corpus is not None
        return corpus_videos(self.corpus.name, self.corpus.root, cache / self.corpus.name)

    def windows(self, cache: Path) -> Callable[[CodedVideo], Bytes]:
        """The flow windows of each video that ``open`` gave, measured when they are asked for.

        Simulated videos are rendered again here, all of them, for their pictures are not kept.

        Args:
            cache: As for ``open``.
        """
        if self.simulated is not None:
            return simulated_windows(self.simulated, cache / f"windows-{self._key}")
        assert self.corpus is not None
        return partial(windows_of, cache=cache / self.corpus.name)

    @property
    def _key(self) -> str:
        assert self.simulated is not None
        return digest(self.simulated.model_dump_json(exclude=_NO_MATTER))[:12]
