"""The API of a running demo: plain values in, JSON-ready values out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from deft_llm.clip import Interval
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.service.batch import explain_files, row_of
from deft_llm.service.clip_service import ClipResult, ClipService, ModelChoice
from deft_llm.service.evidence import answer_record
from deft_llm.service.long_video import Found, of_kind, search_video
from deft_llm.service.sessions import Sessions
from deft_llm.spotters.finder import Kind

File = dict[str, Any]


def found_row(found: Found) -> dict[str, Any]:
    """An interval of a long video with its reading; times in seconds from the video's start."""
    row = row_of(found.seen.info.name, found.seen)
    times = {"onset s": found.onset, "apex s": found.apex, "offset s": found.offset}
    moments = {name: round(value, 4) for name, value in times.items()}
    return {**row, "kind": found.spotted.kind, **moments}


class Api:
    """The API's functions by name; calls are independent and keep no state.

    A video is an uploaded file, ``gradio_client.handle_file(path)``. Mistakes that the user can fix
    raise ``UserError``.
    """

    def __init__(self, service: ClipService, sessions: Sessions) -> None:
        self.service, self.sessions = service, sessions

    def _with_clip(self, files: Sequence[File], work: Callable[[list[Any]], Any]) -> Any:
        # A session for this call alone: forgetting it deletes the uploads, even after an error.
        call = f"call-{uuid4().hex}"
        try:
            return work([self.sessions.upload(call, file) for file in files])
        finally:
            self.sessions.forget(call)

    def list_models(self) -> list[str]:
        """Names of the allowed models."""
        return self.service.models.names()

    def explain_clip(
        self,
        video: File,
        model: str = "embedded",
        ablate: list[str] | None = None,
        samples: int = 0,
    ) -> dict[str, Any]:
        """All results of a clip, as in a report's explanation.json.

        ``samples`` answers are sampled beside the likeliest one, and what the measurement bears
        out best is taken.
        """
        choice = ModelChoice(model, tuple(ablate or ()), samples=samples)
        return self._with_clip([video], lambda p: self.service.explain(p[0], choice).record())

    def explain_interval(
        self, video: File, onset: int, apex: int, offset: int, model: str = "embedded"
    ) -> dict[str, Any]:
        """The same for a given onset, apex and offset frame (0-based)."""

        def work(paths: list[Any]) -> dict[str, Any]:
            # The first pass aligns the face; the given frames are then measured on it.
            seen = self.service.explain(paths[0], ModelChoice(model))
            interval = Interval(onset, apex, offset)
            return self.service.explain_interval(seen, interval, ModelChoice(model)).record()

        return self._with_clip([video], work)

    def ask_about_clip(
        self,
        video: File,
        question: str,
        earlier: list[list[str]] | None = None,
        model: str = "embedded",
        temperature: float = 0.0,
        ablate: list[str] | None = None,
    ) -> dict[str, Any]:
        """An answer, with its query, the facts, and the measurements and verdict of each sentence.

        ``earlier`` holds (question, answer) pairs of the same conversation.
        """
        choice = ModelChoice(model, tuple(ablate or ()), temperature)
        turns = [(asked, answered) for asked, answered in earlier or ()]

        def work(paths: list[Any]) -> dict[str, Any]:
            seen = self.service.explain(paths[0], choice)
            return answer_record(self.service.answer(seen, turns, question, choice), seen)

        return self._with_clip([video], work)

    def explain_batch(
        self, videos: list[File], model: str = "embedded", ablate: list[str] | None = None
    ) -> list[dict[str, Any]]:
        """One row for each clip; for a clip that fails, the remark gives the reason."""
        choice = ModelChoice(model, tuple(ablate or ()))
        return self._with_clip(
            videos, lambda paths: [row for row, _ in explain_files(self.service, paths, choice)]
        )

    def find_intervals(self, video: File, model: str = "embedded") -> list[dict[str, Any]]:
        """The micro-expressions of a long video, then its macro-expressions, each explained."""

        def work(paths: list[Any]) -> list[dict[str, Any]]:
            parts = search_video(self.service, paths[0], ModelChoice(model))
            # All of them before the first row: parts of one macro-expression are joined at the end.
            found = [each for _, new in parts for each in new]
            # As on the page: first what the video was searched for.
            kinds: tuple[Kind, ...] = ("micro", "macro")
            return [found_row(each) for kind in kinds for each in of_kind(found, kind)]

        return self._with_clip([video], work)

    def compare_clips(self, first: File, second: File, model: str = "embedded") -> dict[str, Any]:
        """Two clips: their rows, and for each region motion (u right, v down) in pixels, and z."""
        return self._with_clip(
            [first, second],
            lambda paths: {
                name: _compared(self.service.explain(path, ModelChoice(model)))
                for name, path in zip(("first", "second"), paths, strict=True)
            },
        )


def _compared(seen: ClipResult) -> dict[str, Any]:
    table = seen.measurement.table_apex
    motion = {
        name: [round(float(value[i]), 4) for value in (table.u, table.v, table.z)]
        for i, name in enumerate(REGION_NAMES)
    }
    return {**row_of(seen.info.name, seen), "motion": motion}
