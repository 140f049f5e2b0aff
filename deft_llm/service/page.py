"""Event handlers of the demo's page: values of its controls in, HTML out.

User mistakes raise ``UserError``; the front end shows them (``limits.public``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from deft_llm.clip import Interval
from deft_llm.deft.inference.answer import markdown
from deft_llm.errors import UserError
from deft_llm.media.suffixes import VIDEO_SUFFIXES
from deft_llm.service import views
from deft_llm.service.batch import COLUMNS, explain_files
from deft_llm.service.clip_service import ClipResult, ClipService, ModelChoice
from deft_llm.service.evidence import link_sentences
from deft_llm.service.long_video import Found, search_video
from deft_llm.service.sessions import Sessions
from deft_llm.spotters.finder import Moments
from deft_llm.viz import cards

File: TypeAlias = str | None
Files: TypeAlias = list[str] | None


class Page:
    """Handlers of the page's controls; a visitor is identified by a session key."""

    def __init__(self, service: ClipService, sessions: Sessions) -> None:
        self.service, self.sessions = service, sessions

    def explain(self, key: str, video: File, model: str, ablate: list[str]) -> tuple[Any, ...]:
        """Explain a clip and return everything the page shows of it; starts a new conversation."""
        path = self.sessions.upload(key, video)
        return self._show(key, self.service.explain(path, ModelChoice(model, tuple(ablate))))

    def measure_again(
        self,
        key: str,
        onset: int | None,
        apex: int | None,
        offset: int | None,
        model: str,
        ablate: list[str],
    ) -> tuple[Any, ...]:
        """The same clip with the chosen frames as onset, apex and offset; an empty box is None."""
        seen = self.sessions.clip(key)
        choice = ModelChoice(model, tuple(ablate))
        if onset is None or apex is None or offset is None:
            raise UserError("a frame is missing; give onset, apex and offset")
        seen = self.service.explain_interval(seen, Interval(onset, apex, offset), choice)
        return self._show(key, seen)

    def _show(self, key: str, seen: ClipResult) -> tuple[Any, ...]:
        session, interval = self.sessions.get(key), seen.measurement.interval
        # New lists, not emptied ones: an answer that is still written keeps the old ones.
        session.seen, session.turns, session.waiting = seen, [], []
        moments = (interval.onset, interval.apex, interval.offset)
        # Conversation, film, report and figure belong to the clip before.
        return (*views.clip_view(seen), *moments, self._talk(seen, []), "", "", "")

    def _talk(self, seen: ClipResult, turns: list[cards.ChatTurn]) -> str:
        return cards.conversation(turns, self.service.suggestions(seen))

    def report(self, key: str) -> str:
        """Links to the report of the current clip."""
        return views.report_links(self.sessions.clip(key))

    def figure(self, key: str) -> str:
        """Links to the figure of the current clip for a paper."""
        return views.figure_links(self.sessions.clip(key))

    def take(self, key: str, question: str) -> tuple[str, str]:
        """Accept a question: returns an empty box, and the conversation including the question."""
        seen = self.sessions.clip(key)
        session = self.sessions.get(key)
        session.waiting.append(self.service.question(question))
        return "", self._talk(seen, [*session.turns, *_open(session.waiting)])

    def answer(self, key: str, model: str, temperature: float, ablate: list[str]) -> Iterator[str]:
        """Stream the answer to the oldest waiting question, with the earlier turns as context."""
        session = self.sessions.get(key)
        with session.answering:
            if not session.waiting:  # another clip was explained meanwhile
                return
            # This list object: explaining another clip gives the session a new list. An answer that
            # is still running belongs to the old conversation, which the page shows no more.
            seen, turns = self.sessions.clip(key), session.turns
            turn = cards.ChatTurn(session.waiting.pop(0), ())
            earlier = [(t.question, t.text) for t in turns]
            try:
                choice = ModelChoice(model, tuple(ablate), temperature)
                answer = self.service.answer(seen, earlier, turn.question, choice)
                written = markdown([(turn.question, answer)])
                for text in answer.growing():
                    if session.turns is not turns:
                        return
                    said = link_sentences(text, seen)
                    turn = cards.ChatTurn(turn.question, said, True, answer.query, written)
                    unfinished = replace(turn, finished=False)
                    yield self._talk(seen, [*turns, unfinished, *_open(session.waiting)])
            # The question has left the queue: show the conversation without it, then the error.
            except UserError:
                if session.turns is turns:
                    yield self._talk(seen, [*turns, *_open(session.waiting)])
                raise
            turns.append(turn)
            if session.turns is turns:
                yield self._talk(seen, [*turns, *_open(session.waiting)])

    def magnify(self, key: str, factor: float) -> str:
        """The interval as filmed and magnified."""
        return views.magnified_view(self.sessions.clip(key), factor)

    def batch(self, key: str, files: Files, folder: Files, model: str) -> Iterator[tuple[str, str]]:
        """Explain files one by one: yields the growing table, then links to it as CSV and JSON."""
        # A folder may hold other files; those chosen one by one are checked, and refused by name.
        videos = [f for f in folder or [] if Path(f).suffix.lower() in VIDEO_SUFFIXES]
        named = [*(files or []), *videos]
        paths = [self.sessions.upload(key, file) for file in named]
        rows: list[dict[str, Any]] = []
        records: list[dict[str, Any]] = []
        table = ""
        for row, record in explain_files(self.service, paths, ModelChoice(model)):
            rows.append(row)
            # A clip that failed has no record; its row says why.
            records.append(record or row)
            table = cards.clip_table(COLUMNS, rows)
            yield table, cards.remark(f"{len(rows)} of {len(paths)}", is_result=True)
        yield table, views.table_links(rows, records)

    def search(self, key: str, video: File, model: str) -> Iterator[str]:
        """Find and explain the intervals of a long video, as they are found."""
        path = self.sessions.upload(key, video)
        found: list[Found] = []
        # Pictures of what was found before: drawn once, shown again with every part.
        drawn: dict[Moments, str] = {}
        for done, new in search_video(self.service, path, ModelChoice(model)):
            found += new
            text = views.intervals_view(found, drawn)
            yield text + cards.remark(f"{100 * done:.0f} % looked at")
        # Without the line on progress.
        shown = views.intervals_view(found, drawn)
        yield shown or cards.remark("Nothing moved above the noise.")

    def compare(self, key: str, first: File, second: File, model: str) -> tuple[str]:
        """Two clips side by side."""
        paths = [self.sessions.upload(key, file) for file in (first, second)]
        return (views.pair_view(*(self.service.explain(p, ModelChoice(model)) for p in paths)),)

    def leave(self, key: str) -> None:
        """The tab was closed."""
        self.sessions.forget(key)


def _open(questions: list[str]) -> list[cards.ChatTurn]:
    return [cards.ChatTurn(question, (), finished=False) for question in questions]
