"""What the demo's page does when it is used: values of its controls in, HTML out.

Mistakes of a visitor are ``UserError``; the front end shows them (``limits.public``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from deft_llm.clip import Interval
from deft_llm.errors import UserError
from deft_llm.service import views
from deft_llm.service.batch import COLUMNS, explain_files
from deft_llm.service.clip_service import ClipResult, ClipService, ModelChoice
from deft_llm.service.evidence import link_sentences
from deft_llm.service.limits import VIDEO_TYPES
from deft_llm.service.long_video import search_video
from deft_llm.service.sessions import Sessions
from deft_llm.viz import cards

File: TypeAlias = str | None
Files: TypeAlias = list[str] | None


class Page:
    """What the page's controls do, for visitors that go by a key (their session)."""

    def __init__(self, service: ClipService, sessions: Sessions) -> None:
        self.service, self.sessions = service, sessions

    def explain(self, key: str, video: File, model: str, ablate: list[str]) -> tuple[Any, ...]:
        """A clip -> everything that is shown of it; starts a new conversation."""
        path = self.sessions.upload(key, video)
        return self._show(key, self.service.explain(path, ModelChoice(model, tuple(ablate))))

    def measure_again(
        self, key: str, onset: int, apex: int, offset: int, model: str, ablate: list[str]
    ) -> tuple[Any, ...]:
        """The same clip with the frames that were chosen."""
        seen = self.sessions.clip(key)
        choice = ModelChoice(model, tuple(ablate))
        seen = self.service.explain_interval(seen, Interval(onset, apex, offset), choice)
        return self._show(key, seen)

    def _show(self, key: str, seen: ClipResult) -> tuple[Any, ...]:
        session, interval = self.sessions.get(key), seen.measurement.interval
        session.seen, session.turns, session.waiting = seen, [], []
        moments = (interval.onset, interval.apex, interval.offset)
        return (*views.clip_view(seen), *moments, cards.conversation([]), "", "")

    def report(self, key: str) -> str:
        """Links to the report of the clip in hand."""
        return views.report_links(self.sessions.clip(key))

    def take(self, key: str, question: str) -> tuple[str, str]:
        """Accept a question: an empty box, and the conversation with the question in it."""
        self.sessions.clip(key)
        session = self.sessions.get(key)
        session.waiting.append(self.service.question(question))
        return "", cards.conversation([*session.turns, *_open(session.waiting)])

    def answer(self, key: str, model: str, temperature: float, ablate: list[str]) -> Iterator[str]:
        """Answer the question that waits longest, word by word; earlier turns are remembered."""
        session = self.sessions.get(key)
        with session.answering:
            if not session.waiting:  # another clip was explained meanwhile
                return
            seen, turns = self.sessions.clip(key), session.turns
            turn = cards.ChatTurn(session.waiting.pop(0), ())
            earlier = [(t.question, t.text) for t in turns]
            try:
                choice = ModelChoice(model, tuple(ablate), temperature)
                for text in self.service.answer(seen, earlier, turn.question, choice):
                    turn = cards.ChatTurn(turn.question, link_sentences(text, seen))
                    unfinished = replace(turn, finished=False)
                    yield cards.conversation([*turns, unfinished, *_open(session.waiting)])
            except UserError:
                yield cards.conversation([*turns, *_open(session.waiting)])
                raise
            turns.append(turn)
            yield cards.conversation([*turns, *_open(session.waiting)])

    def magnify(self, key: str, factor: float) -> str:
        """The interval as filmed and with its motion magnified."""
        return views.magnified_view(self.sessions.clip(key), factor)

    def batch(
        self, key: str, files: Files, folder: Files, model: str
    ) -> Iterator[tuple[list[list[Any]], str]]:
        """Files -> a table that grows, then links to it as CSV and JSON."""
        videos = [f for f in folder or [] if Path(f).suffix.lower() in VIDEO_TYPES]
        named = [*(files or []), *videos]
        paths = [self.sessions.upload(key, file) for file in named]
        rows: list[dict[str, Any]] = []
        records: list[dict[str, Any]] = []
        table: list[list[Any]] = []
        for row, record in explain_files(self.service, paths, ModelChoice(model)):
            rows.append(row)
            records.append(record or row)
            table = [[line[name] for name in COLUMNS] for line in rows]
            yield table, cards.remark(f"{len(rows)} of {len(paths)}", is_result=True)
        yield table, views.table_links(rows, records)

    def search(self, key: str, video: File, model: str) -> Iterator[str]:
        """A long video -> its intervals, each explained where it was found."""
        path = self.sessions.upload(key, video)
        found: list[str] = []
        for done, new in search_video(self.service, path, ModelChoice(model)):
            found.append(views.intervals_view(new))
            yield "".join([*found, cards.remark(f"{100 * done:.0f} % looked at")])
        yield "".join(found) or cards.remark("Nothing moved above the noise.")

    def compare(self, key: str, first: File, second: File, model: str) -> str:
        """Two clips side by side."""
        paths = [self.sessions.upload(key, file) for file in (first, second)]
        return views.pair_view(*(self.service.explain(p, ModelChoice(model)) for p in paths))

    def leave(self, key: str) -> None:
        """The tab was closed."""
        self.sessions.forget(key)


def _open(questions: list[str]) -> list[cards.ChatTurn]:
    return [cards.ChatTurn(question, (), finished=False) for question in questions]
