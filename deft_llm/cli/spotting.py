"""One video of ``deft-llm spot``: search it part by part, tell of it, write its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deft_llm.cli.clips import FoundClip
from deft_llm.cli.eyes import Eyes, recorded
from deft_llm.cli.light_start import check_model, load_explainer, use_one_thread
from deft_llm.cli.lines import Lines, counted
from deft_llm.cli.reading import Reading
from deft_llm.cli.results import Results
from deft_llm.cli.spotted_lines import rate_line, seconds_with_face, spotted_line
from deft_llm.errors import UserError
from deft_llm.files import text_of

if TYPE_CHECKING:
    from deft_llm.cli.search_log import SearchLog
    from deft_llm.cli.spotted_files import Searched
    from deft_llm.clip import Expression
    from deft_llm.deft.inference.explainer import Explainer
    from deft_llm.media.options import ReadOptions
    from deft_llm.spotters.finder import Finder, Found, Spotted


class VideoFailed(UserError):
    """A video that cannot be searched, where others may."""


@dataclass(frozen=True)
class _Search:
    """The search of one video.

    Attributes:
        clip: The video.
        seconds: Length of what is read of it.
        finder: What searches.
        options: How it is read.
        read: Numbers of the frames that are.
        log: What was seen, and the folder.
    """

    clip: FoundClip
    seconds: float
    finder: Finder
    options: ReadOptions
    read: range
    log: SearchLog


@dataclass
class Spotting:
    """Searches videos with one finder, and says what it finds as soon as it is known.

    Attributes:
        out: Where results go.
        spotter: Name of the finder, see ``spotters.spot.load_finder``.
        eyes: A recording of the eye, or None.
        checkpoint: Folder of the model that explains; None explains nothing.
        macro: List macro-expressions as well.
        reading: How the videos are read.
        results: Rows and objects of all videos.
        megc: Where MEGC's table goes; None writes none.
        lines: Where the findings are told, and the seconds of video counted.
        searched: Name, seconds with a face and number of micro-expressions of each video.
        spotted: Subject and video -> micro-expressions.
        kept: What is kept when the command is stopped now.
    """

    out: Path
    spotter: str
    eyes: Eyes | None
    checkpoint: Path | None
    macro: bool
    reading: Reading
    results: Results
    megc: Path | None
    lines: Lines
    searched: list[tuple[str, float, int]] = field(default_factory=list)
    spotted: dict[tuple[str, str], tuple[Expression, ...]] = field(default_factory=dict)
    kept: str = "the same command goes on"
    _finders: dict[str, Finder] = field(default_factory=dict)

    def check(self) -> None:
        """Find what is wrong with the model before a video is searched for hours.

        Raises:
            UserError: If it is not there.
        """
        if self.checkpoint is not None:
            check_model(self.checkpoint)

    def search(self, clip: FoundClip, before: float, seconds: float) -> None:
        """Search one video and write its files.

        Args:
            clip: The video.
            before: Seconds of the videos that are done.
            seconds: Length of what is read of it.

        Raises:
            VideoFailed: If it cannot be read, shows no face, is too short, or another process
                searches it.
            UserError: If the finder or the model cannot be loaded, or a file cannot be written.
        """
        from deft_llm.claims import FolderHeldError
        from deft_llm.cli.search_log import SearchLog

        if clip.problem:
            raise VideoFailed(clip.problem)
        # Before the finder, whose networks load torch.
        use_one_thread()
        # A finder that cannot be loaded is not the fault of this video.
        finder = self._finder(seconds)
        options, read = self._introduced(clip.path)
        explained = self._model_state
        settings = (finder.key, options, explained, bool(explained) and self.macro)
        try:
            with SearchLog.open(self.out, clip, settings) as log:
                self._search(_Search(clip, seconds, finder, options, read, log), before)
        except FolderHeldError as error:
            raise VideoFailed(str(error)) from error

    def _search(self, video: _Search, before: float) -> None:
        """Search a video whose folder is taken."""
        from deft_llm.spotters.spot import check_seen, search_video

        clip, options, log = video.clip, video.options, video.log
        known = tuple(log.seen)
        self._say_known(video)
        looked, said = 0, 0
        try:
            steps = search_video(clip.path, options, video.finder, log.folder / "motion", known)
            # To decode a long video only to find that all is known takes minutes.
            for step in () if log.ended else steps:
                done = step.done * video.seconds
                self.lines.progress.at(round(before + done), clip.path.name)
                if step.seen is None:
                    continue
                looked += 1
                # What an earlier search has seen comes first, and is neither logged nor explained
                # again.
                if looked > len(known):
                    log.add(step.seen, self._all_explained(log, step.found))
                said = self._say_settled(log, said)
            # A damaged video ends before all is done, and a stride may pass over its last frame.
            self._say_settled(log, said, ended=True)
            log.end()
            check_seen(log.seen, clip.path.name, options.face)
        except KeyboardInterrupt:
            self._write(video, whole=False)
            self.kept = f"what was found is in {log.folder}; the same command goes on"
            raise
        except UserError as error:
            # A video without a face was searched to its end all the same.
            self._write(video, whole=log.ended)
            raise VideoFailed(str(error)) from error
        self._tell(clip, self._write(video, whole=True))

    def finish(self, several: bool) -> None:
        """Write MEGC's table; of several videos, say how many were found a minute."""
        if self.megc is not None:
            from deft_llm.corpora.megc_spotting import write_spotting

            write_spotting(self.megc, self.spotted)
            self.lines.say("MEGC", str(self.megc))
        if several and self.searched:
            self.lines.say("in all", rate_line(self.searched), apart=True)

    def _finder(self, seconds: float) -> Finder:
        """What searches so many seconds of video."""
        from deft_llm.spotters.spot import CONTEXT, suited

        name = suited(self.spotter, seconds)
        # A video that cannot be read has no length, and is told of when it is opened.
        if name != self.spotter and seconds:
            self.lines.say("note", f"shorter than {CONTEXT:.0f} s: searched without the network")
        if name not in self._finders:
            self._finders[name] = self._loaded(name)
        return self._finders[name]

    def _loaded(self, name: str) -> Finder:
        from deft_llm.spotters.spot import load_finder

        finder = load_finder(name, self.macro)
        if self.eyes is None:
            return finder
        from deft_llm.spotters.eye_aware import EyeAwareFinder

        seen, line = recorded(self.eyes)
        self.lines.say("eyes", line)
        return EyeAwareFinder(finder, seen)

    @cached_property
    def explainer(self) -> Explainer:
        """The model."""
        assert self.checkpoint is not None
        return load_explainer(self.checkpoint)

    @cached_property
    def _model_state(self) -> str:
        """Changes when what explains does, also a model trained anew in its folder; "" if none."""
        if self.checkpoint is None:
            return ""
        from deft_llm.cli.search_log import state
        from deft_llm.deft.inference.adapted import model_path

        return f"{self.checkpoint} {state(model_path(self.checkpoint))}"

    def _introduced(self, path: Path) -> tuple[ReadOptions, range]:
        """Tell of a video; returns how it is read, and the numbers of the frames that are.

        Raises:
            VideoFailed: If it cannot be read.
        """
        from deft_llm.cli.summary import clip_line, to_read
        from deft_llm.media.video import probe

        try:
            options = self.reading.of(path)
            if line := clip_line(path, to_read(path, options)):
                self.lines.say("video", line)
            available = range(probe(path, fps=options.fps).frames)
        except UserError as error:
            raise VideoFailed(str(error)) from error
        return options, available[options.start : options.stop : options.stride]

    def _all_explained(
        self, log: SearchLog, found: Sequence[Found]
    ) -> dict[int, dict[str, Any] | None]:
        """What the model says of each expression of a part, by its apex."""
        # Frames of the video: by its apex an expression is known in all parts.
        told = {each.spotted.expression.interval.apex: each for each in found}
        return {apex: self._explained(log, each) for apex, each in told.items()}

    def _explained(self, log: SearchLog, found: Found) -> dict[str, Any] | None:
        """What the model says of an expression, with pictures beside it; None without a model."""
        if self.checkpoint is None or (found.spotted.kind == "macro" and not self.macro):
            return None
        from deft_llm.cli.search_log import PICTURES
        from deft_llm.files import write_bytes
        from deft_llm.motion.eyes import with_eyes
        from deft_llm.viz.faces import eye_distance, moment_pictures, motion_pictures
        from deft_llm.viz.stage import encode_jpeg

        measurement = found.measurement
        if self.eyes is None:  # a recording was heeded by the finder
            measurement = with_eyes(measurement)
        explanation = self.explainer.explain(measurement)
        eyes = round(eye_distance(measurement), 3)
        told = {**explanation.to_dict(), "interocular_px": eyes}
        shown = (moment_pictures(measurement), motion_pictures(measurement, explanation.evidence))
        for kind, pictures in zip(PICTURES, shown, strict=True):
            told[kind] = {}
            for number, (caption, picture) in enumerate(pictures.items(), 1):
                file = log.picture(found.spotted.expression.interval.apex, kind, number)
                write_bytes(file, encode_jpeg(picture))
                told[kind][caption] = file.name
        return told

    def _say_known(self, video: _Search) -> None:
        """Say how far an earlier search came, if there was one."""
        if video.log.ended:
            self.lines.say("known", "nothing is left to search")
        # A part may show no frame that the one before did not.
        elif times := [time for part in video.log.seen for time in part.times]:
            self.lines.say("goes on", f"{times[-1]:.1f} s are searched already")

    def _say_settled(self, log: SearchLog, said: int, ended: bool = False) -> int:
        """Say what no later part can change any more, from number ``said`` on; how many are said.

        A small movement may turn out to be a part of a macro-expression that goes on.
        """
        from deft_llm.spotters.spot import SETTLED, listed

        times = log.seen[-1].times
        found = listed(log.seen, self.macro)
        # In order of time, so the first that may still change ends it.
        for each in found[said:]:
            if not ended and (not times or each.seconds[2] > times[-1] - SETTLED):
                break
            self.lines.say(*spotted_line(self._told(each, log)))
            said += 1
        return said

    def _told(self, spotted: Spotted, log: SearchLog) -> Spotted:
        """The expression with emotion and AUs of the model, where it was asked."""
        said = log.told.get(spotted.expression.interval.apex)
        if not said:
            return spotted
        # AUs of the search stay where the model names none.
        expression = replace(spotted.expression, emotion=said["emotion"])
        shares, aus = said["probabilities"], tuple(said["aus"])
        return replace(spotted, expression=expression, probabilities=shares, aus=aus or spotted.aus)

    def _write(self, video: _Search, whole: bool) -> Searched:
        """Write the video's files, and its rows and objects."""
        from deft_llm.cli.spotted_files import Searched, record_of, row_of, write_files
        from deft_llm.spotters.spot import listed

        clip, log, finder = video.clip, video.log, video.finder
        found = [self._told(each, log) for each in listed(log.seen, self.macro)]
        remarks = _remarks(log, found, finder)
        name = text_of(clip.path.name)
        searched = Searched(log, name, found, finder, remarks, video.read, whole)
        write_files(searched, explained=self.checkpoint is not None)
        for each in found:
            self.results.add(row_of(str(clip.path), each), record_of(str(clip.path), each))
        # MEGC scores micro-expressions apart from macro-expressions.
        micro = tuple(each.expression for each in found if each.kind == "micro")
        self.spotted[video_key(clip)] = micro
        return searched

    def _tell(self, clip: FoundClip, searched: Searched) -> None:
        """Say what a video that was searched to its end holds, and count it."""
        log, found = searched.log, searched.found
        for remark in searched.remarks:
            self.lines.say("note", remark)
        # Of a search that goes on, a part of another may yet be listed by itself.
        log.keep_pictures({each.expression.interval.apex for each in found})
        # For the rate of several videos: what shows no face cannot hold false alarms.
        face = seconds_with_face(log.seen)
        micro = sum(each.kind == "micro" for each in found)
        told = [counted(micro, "micro-expression")]
        told += [counted(len(found) - micro, "macro-expression")] if self.macro else []
        self.lines.say("found", f"{', '.join(told)} in {face:.1f} s with a face")
        self.lines.say("results", str(log.folder))
        self.searched.append((clip.path.name, face, micro))


def _remarks(log: SearchLog, found: Sequence[Spotted], finder: Finder) -> list[str]:
    """What the user should know of a search, such as on noise: each once, not of every part."""
    import numpy as np

    from deft_llm.motion.remarks import on_rate, too_slow
    from deft_llm.spotters.finder import MOTION

    remarks = sorted({remark for part in log.seen for remark in part.remarks})
    times = np.array([time for part in log.seen for time in part.times])
    # Of the whole search, also where nothing was found: then it says why.
    if len(times) > 1:
        slow = too_slow(times)
        remarks += [slow] if slow else on_rate(times)
    if finder.threshold is not None and any(each.scorer == MOTION for each in found):
        remarks.append(
            "a score of motion is of a movement that was found without the network: the "
            "network's curve and threshold do not apply to it"
        )
    return remarks


def video_key(clip: FoundClip) -> tuple[str, str]:
    """Subject and video in MEGC's table: the names of the folder and of the file."""
    subject = clip.folder.name or clip.path.resolve().parent.name or "video"
    return text_of(subject), text_of(clip.path.stem)


def seconds_of(clip: FoundClip, reading: Reading) -> float:
    """Length of what is read of a video; 0 if it cannot be read, which is told later."""
    from deft_llm.spotters.spot import length

    if clip.problem:
        return 0.0
    try:
        return length(clip.path, reading.of(clip.path))
    except UserError:
        return 0.0
