"""The clips that questions ask about: found on disk, and measured when somebody looks at them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from deft_llm.clip import Interval
from deft_llm.corpora.people import canonical
from deft_llm.corpora.tree import FrameTree, walk
from deft_llm.data.features import Features, FeatureSizes, pack
from deft_llm.data.measuring import measure_video
from deft_llm.data.raw_frames import RAW_SIDE
from deft_llm.errors import UserError
from deft_llm.evaluation.mevqa.questions import LONG, VqaQuestion
from deft_llm.evaluation.vlm.views import FRAMES_SHOWN
from deft_llm.files import digest, file_digest, sampled_digest
from deft_llm.media.frames import list_frames
from deft_llm.media.landmarks import usual_finder
from deft_llm.media.options import ReadOptions
from deft_llm.media.suffixes import VIDEO_SUFFIXES
from deft_llm.motion.measure import Measurement
from deft_llm.motion.onset_apex import WINDOW
from deft_llm.spotters.finder import Spotted, join_macros
from deft_llm.spotters.spot import load_finder, search_video

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipKey:
    """A clip of one dataset."""

    dataset: str
    clip: str


@dataclass
class SeenClip:
    """One clip, measured once, when an answerer first asks for it.

    Attributes:
        source: Its video file or folder of frames.
        interval: Onset, apex and offset if they are coded; None finds them.
        fps: Frames per second of a folder, if known.
        spotter: Name of the finder for long videos.
    """

    source: Path
    interval: Interval | None = None
    fps: float | None = None
    spotter: str = "returning"

    @cached_property
    def measurement(self) -> Measurement:
        """Its strongest movement.

        Raises:
            UserError: If it cannot be measured.
        """
        return measure_video(self.source, self._options, self.interval)[1]

    @cached_property
    def features(self) -> Features:
        """What networks and pictures are made of, frames included.

        Raises:
            UserError: If it cannot be measured, or shows no motion to take frames of.
        """
        return pack(self.measurement, FeatureSizes(frames=FRAMES_SHOWN, raw=RAW_SIDE))

    @cached_property
    def plain_features(self) -> Features:
        """The same without frames, for models that read motion alone."""
        return pack(self.measurement)

    @cached_property
    def expressions(self) -> tuple[Spotted, ...]:
        """Micro- and macro-expressions of a long video, in order of time.

        Raises:
            UserError: If it cannot be read.
        """
        steps = search_video(self.source, self._options, load_finder(self.spotter, macro=True))
        found = [each for step in steps if step.seen is not None for each in step.seen.spotted]
        return tuple(join_macros(sorted(found, key=lambda each: each.seconds), WINDOW))

    def digest(self) -> str:
        """A hash of its frames and coding, and of the spotter; "" if it cannot be read."""
        interval = None if self.interval is None else asdict(self.interval)
        facts = [json.dumps([interval, self.fps, self.spotter])]
        try:
            if not self.source.is_dir():
                return digest(*facts, sampled_digest(self.source))
            # By their bytes: frames of two clips may have the same names.
            read = list_frames(self.source)
            times = [json.dumps(read.places)] if read.missing else []
            return digest(*facts, *map(file_digest, read.frames), *times)
        except (OSError, UserError):
            # Why is said when somebody looks at it.
            return ""

    @property
    def _options(self) -> ReadOptions:
        return ReadOptions(fps=self.fps, landmarks=usual_finder())


def clip_of(question: VqaQuestion) -> ClipKey:
    """The clip that a question asks about."""
    return ClipKey(question.dataset, question.clip)


def long_clips(questions: Iterable[VqaQuestion]) -> frozenset[ClipKey]:
    """Clips that some question takes for a long video."""
    return frozenset(clip_of(q) for q in questions if q.kind in LONG)


def find_clips(
    questions: Iterable[VqaQuestion], folder: Path
) -> tuple[dict[ClipKey, Path], dict[ClipKey, str]]:
    """Where the clips lie: as folders of frames or as video files, however deep.

    Args:
        questions: They name the clips.
        folder: Folder of all of them.

    Returns:
        Clip -> its folder or file, and clip -> why it is not found.

    Raises:
        UserError: If the folder is missing, or holds not one of them.
    """
    if not folder.is_dir():
        raise UserError(f"clips: {folder}: no such folder; expected the folder of the clips")
    tree, files = FrameTree(folder), _videos(folder)
    found, missing = dict[ClipKey, Path](), dict[ClipKey, str]()
    for question in questions:
        key = clip_of(question)
        if key in found or key in missing:
            continue
        places = list(_places(question))
        try:
            path = next((files[p] for p in map(_spelled, places) if p in files), None)
            path = path or tree.find(places)
        except UserError as error:
            missing[key] = str(error)
            continue
        if path is None:
            missing[key] = f"{folder}: no folder or video {places[0]}"
        else:
            found[key] = path
    if not found:
        raise UserError(
            f"{next(iter(missing.values()))}, nor any other clip of the questions; expected the "
            "folder of the clips that they ask about"
        )
    return found, missing


def _places(question: VqaQuestion) -> Iterator[str]:
    """Ends of the path of a clip, the most certain first."""
    subject, name = question.row.get("subject"), question.row.get("filename")
    if subject and name:
        yield f"{subject}/{name}"
    clip = question.clip.replace("\\", "/").strip("/")
    stem = clip.removesuffix(Path(clip).suffix) if _is_video(clip) else clip
    yield stem
    if subject:
        yield f"{subject}/{stem.removeprefix(f'{subject}_')}"
    elif "_" in stem:
        # The names of the task begin with the subject, whose folder holds the clip in CASME II.
        yield stem.replace("_", "/", 1)


def _videos(folder: Path) -> dict[str, Path]:
    """Every end of the path of a video file, without suffix -> the file; no end of two files."""
    found: dict[str, Path | None] = {}
    for place, names in walk(folder):
        for name in sorted(names):
            if not _is_video(name) or name.startswith("."):
                continue
            parts = (place / Path(name).stem).relative_to(folder).parts
            for start in range(len(parts)):
                end = _spelled("/".join(parts[start:]))
                found[end] = None if end in found else place / name
    return {end: path for end, path in found.items() if path is not None}


def _spelled(place: str) -> str:
    return "/".join(map(canonical, place.split("/")))


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES
