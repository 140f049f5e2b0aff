"""One clip of ``deft-llm explain``: read, measure, ask the model, write the report, answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deft_llm.cli.clips import FoundClip
from deft_llm.cli.eyes import Eyes, recorded
from deft_llm.cli.light_start import (
    check_model,
    load_explainer,
    use_one_thread,
    without_collection,
)
from deft_llm.cli.lines import Lines
from deft_llm.cli.reading import Reading
from deft_llm.errors import UserError
from deft_llm.files import text_of

if TYPE_CHECKING:
    from deft_llm.clip import Interval
    from deft_llm.deft.inference.answer import Answer
    from deft_llm.deft.inference.explainer import Explainer
    from deft_llm.media.options import ReadOptions
    from deft_llm.media.video import VideoInfo
    from deft_llm.motion.eyes import EyeContext
    from deft_llm.motion.measure import Measurement
    from deft_llm.service.clip_service import ClipResult
    from deft_llm.spotters.finder import Found
    from deft_llm.viz.report import ClipInfo

LONG = 10.0  # s from which a clip is searched as a long video is, part by part
STAGES = ("reading", "measuring", "asking the model", "writing the report")


class ClipFailed(UserError):
    """A clip that cannot be explained, where others may."""


@dataclass
class Explaining:
    """Explains clips with one model, and says what it finds as soon as it is known.

    Attributes:
        checkpoint: Folder of the model, loaded when the first clip needs it.
        out: Where reports go; None writes none.
        questions: Asked about every clip.
        interval: Onset, apex and offset to measure; None finds them.
        every: Explain every movement of a clip, not the strongest alone.
        eyes: A recording of the eye; None goes by what the face video itself shows of the eyes.
        scan: What a 3D scan beside the clip was read as, for its report; None without one.
        samples: Answers to sample beside the likeliest one.
        reading: How the clips are read.
        figure: Also write the report's figure for a paper.
        lines: Where the findings are told, and the stage.
    """

    checkpoint: Path
    out: Path | None
    questions: tuple[str, ...]
    interval: Interval | None
    every: bool
    eyes: Eyes | None
    scan: dict[str, Any] | None
    samples: int
    reading: Reading
    figure: bool
    lines: Lines

    def check(self) -> None:
        """Find what is wrong with model and questions before a clip is measured.

        Raises:
            UserError: If the model is not there, or a question is empty or too long.
        """
        check_model(self.checkpoint)
        if self.questions:
            from deft_llm.deft.inference.conversation import check_request

            for question in self.questions:
                check_request(question, 0.0, ())

    def explain(
        self, clip: FoundClip, step: int
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Explain one clip.

        Args:
            clip: The clip.
            step: Number of its first stage in the progress bar.

        Yields:
            A row and an object (``cli.results``) for each movement that is explained.

        Raises:
            ClipFailed: If the clip cannot be read or measured.
            UserError: If the model cannot be loaded, or the report cannot be written.
        """
        from deft_llm.cli.summary import explained_lines, measured_lines
        from deft_llm.motion.eyes import with_eyes

        # Numbered from 1, as the folders of their reports are.
        for number, (info, measured) in enumerate(self._measure(clip, step), 1):
            if number > 1:
                self.lines.tell([""])
            # A blink or a look aside moves lids and brows, and says nothing of a feeling.
            measurement = with_eyes(measured, self._recorded_eyes)
            # Before the model is asked, which may take minutes with a large one.
            self.lines.tell(measured_lines(measurement))
            self.lines.progress.at(step + 2, f"{clip.path.name}: {STAGES[2]}")
            explanation = self.explainer.explain(measurement, samples=self.samples)
            self.lines.tell(explained_lines(explanation))
            self.lines.progress.at(step + 3, f"{clip.path.name}: {STAGES[3]}")
            from deft_llm.service.clip_service import ClipResult

            # With the scan, on which the explanation above does not rest.
            result = ClipResult(info, measurement, explanation, self.scan)
            report = None if self.out is None else self._write(self.out, clip, result, number)
            if report is not None:
                self.lines.say("report", str(report))
            yield _success(clip, result, report, self._answers(measurement))

    def failure(self, clip: FoundClip, error: Exception) -> tuple[dict[str, Any], dict[str, Any]]:
        """Row and object of a clip that failed."""
        from deft_llm.service.batch import COLUMNS

        name, reason = str(clip.path), str(error)
        row = {**dict.fromkeys(COLUMNS), "file": name, "error": reason, "report": None}
        row |= dict.fromkeys(question_columns(self.questions))
        return row, {"file": name, "error": reason}

    def _measure(self, clip: FoundClip, step: int) -> Iterator[tuple[ClipInfo, Measurement]]:
        from deft_llm.cli.summary import clip_line, part_line, to_read
        from deft_llm.data.measuring import measure_video
        from deft_llm.viz.report import ClipInfo

        if clip.problem:
            raise ClipFailed(clip.problem)
        try:
            self.lines.progress.at(step, f"{clip.path.name}: {STAGES[0]}")
            options = self.reading.of(clip.path)
            read = to_read(clip.path, options)
            if line := clip_line(clip.path, read):
                self.lines.say("clip", line)
            self.lines.progress.at(step + 1, f"{clip.path.name}: {STAGES[1]}")
            use_one_thread()
            found = 0
            # A given interval is a single movement, wherever it is in the video.
            if self.interval is None:
                for each in _spotted(clip.path, options, read, self.every):
                    found += 1
                    yield each
            # Of a short clip, or of a long one in which nothing comes and goes: the two frames that
            # differ most.
            if not found:
                video, measurement = measure_video(clip.path, options, self.interval)
                if line := part_line(read, video):
                    self.lines.say("part", line)
                yield ClipInfo.of(video), measurement
        except UserError as error:
            raise ClipFailed(str(error)) from error

    @cached_property
    def explainer(self) -> Explainer:
        """The model."""
        return load_explainer(self.checkpoint)

    @cached_property
    def _recorded_eyes(self) -> EyeContext | None:
        if self.eyes is None:
            return None
        found, line = recorded(self.eyes)
        self.lines.say("eyes", line)
        return found

    def _write(self, out: Path, clip: FoundClip, result: ClipResult, number: int) -> Path:
        with without_collection():
            from deft_llm.viz.report import write_report
            from deft_llm.viz.report_folder import report_folder, safe_name, source_mark

        # Without a folder for its cache it works all the same, and complains in four lines.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        parent = out.joinpath(*map(safe_name, clip.folder.parts))
        # The name of a folder may have a dot in it, which is not the start of an ending.
        name = safe_name(clip.path.name if clip.path.is_dir() else clip.path.stem)
        name += f"_{number}" if self.every else ""
        # By the path, not the content: a clip that was cut anew replaces its own report.
        mark = source_mark(clip.path)
        try:
            # Taken as late as this, so that a clip that fails leaves no empty folder.
            with report_folder(parent, name, mark) as folder:
                return write_report(
                    folder,
                    result.measurement,
                    result.explanation,
                    clip_info=result.info,
                    source=mark,
                    scan=result.scan,
                    figure=self.figure,
                )
        except OSError as error:
            raise UserError(
                f"{parent / name}: cannot write the report ({error.strerror or error}); give "
                "another folder with --out"
            ) from error

    def _answers(self, measurement: Measurement) -> list[tuple[str, Answer]]:
        from deft_llm.cli.chat import say

        talk: list[tuple[str, Answer]] = []
        for question in self.questions:
            # Each question is asked in the light of those before it.
            turns = [(asked, answered.text) for asked, answered in talk]
            answer = self.explainer.answer(measurement, turns, question, samples=self.samples)
            talk.append((question, answer))
            if not self.lines.quiet:
                with self.lines.progress.above():
                    print(f"\n> {question}")
                    say(answer, measurement)
        return talk


def _spotted(
    path: Path, options: ReadOptions, read: VideoInfo, every: bool
) -> Iterator[tuple[ClipInfo, Measurement]]:
    """The movements of a long clip, or of any clip if all are wanted; else the strongest.

    None if none comes and goes, or the clip is a short one of which one movement is wanted.
    """
    from deft_llm.motion.remarks import on_clip
    from deft_llm.spotters.spot import search_video
    from deft_llm.viz.report import ClipInfo

    # A range that is empty is told by whoever reads it.
    if not every and read.duration < LONG:
        return
    # Of the whole range, though a movement shows a part of it.
    info = ClipInfo(text_of(path.name), read.frames, read.fps, read.duration)
    # One at a time is held: each keeps the frames of its part.
    best: Found | None = None
    number = 0
    for progress in search_video(path, options):
        for each in progress.found:
            number += 1
            if every:
                yield info, _placed(each, options.stride)
            elif best is None or each.spotted.expression.score > best.spotted.expression.score:
                best = each
    if best is not None:
        shown = _placed(best, options.stride)
        # Of the others only the number is told.
        others = on_clip(None, "", (best.measurement.interval,) * (number - 1))
        yield info, replace(shown, remarks=(*shown.remarks, *others))


def _placed(found: Found, stride: int) -> Measurement:
    """The measurement, with a remark on where in the video it is."""
    measured = found.measurement
    # spotted counts frames of the video, measured those that were read of the part around it.
    first = found.spotted.expression.interval.onset - measured.interval.onset * stride
    if not first:
        return measured
    start = float(measured.aligned.timestamps[0])
    place = (
        f"frames count from frame {first} of the video, at {start:.2f} s; seconds from its start"
    )
    return replace(measured, remarks=(*measured.remarks, place))


def _success(
    clip: FoundClip, result: ClipResult, report: Path | None, answers: list[tuple[str, Answer]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    from deft_llm.service.batch import row_of

    place = None if report is None else str(report)
    name = str(clip.path)
    row = {**row_of(name, result), "error": None, "report": place}
    columns = question_columns([question for question, _ in answers])
    row |= {name: answer.text for name, (_, answer) in zip(columns, answers, strict=True)}
    record = {"file": name, "error": None, "report": place, **result.record()}
    told = [{"question": question, **answer.record()} for question, answer in answers]
    return row, {**record, "answers": told}


def question_columns(questions: Sequence[str]) -> list[str]:
    """Columns of the CSV for the answers: the questions.

    One that is the name of another column, or was asked before, gets a number.
    """
    from deft_llm.service.batch import COLUMNS

    names: list[str] = []
    for question in questions:
        taken = {*COLUMNS, "error", "report", *names}
        numbered = (f"{question} ({number})" for number in count(2))
        names.append(next(name for name in chain([question], numbered) if name not in taken))
    return names


def parse_interval(text: str | None, clips: int) -> Interval | None:
    """The value of ``--interval``.

    Raises:
        UserError: If it is not three frames in order, or there are several clips.
    """
    from deft_llm.clip import Interval

    if text is None:
        return None
    if clips > 1:
        raise UserError(f"--interval {text}: the frames of one clip, but {clips} clips are given")
    try:
        # Three, no more and no fewer, or unpacking fails as well.
        onset, apex, offset = map(int, text.split(","))
    except ValueError:
        raise UserError(
            f"--interval {text}: expected three frame numbers, onset, apex and offset, such as "
            "12,22,35"
        ) from None
    return Interval(onset, apex, offset)
