"""The demo: a clip, what moved in it, what that may mean, and questions about it.

Runs on this machine alone: python demo/app.py [--models FOLDER] [--port N]
"""

import argparse
import html
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from deft_llm.cli import CHECKPOINT
from deft_llm.clip import Interval
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.errors import UserError
from deft_llm.service import views
from deft_llm.service.api import Api
from deft_llm.service.batch import COLUMNS, explain_files
from deft_llm.service.evidence import link_sentences
from deft_llm.service.limits import VIDEO_TYPES, Limits, public
from deft_llm.service.long_video import search_video
from deft_llm.service.models import EMBEDDED, Models
from deft_llm.service.sessions import Sessions
from deft_llm.service.workbench import Choice, Seen, Workbench
from deft_llm.viz import cards
from deft_llm.viz.magnify import FACTORS

HERE = Path(__file__).resolve().parent
NOTE = (
    "Micro-expressions are weak evidence; nothing here is a ground for decisions about people. "
    "The video stays on this machine and is deleted when you leave."
)
PROGRESS = gr.Progress()  # gradio puts the caller's own in its place, as it does for the asker
Asker = gr.Request
File, Files = str | None, list[str] | None


@contextmanager
def shown() -> Iterator[None]:
    """A mistake of the user becomes a message on the page: one line, no paths, no HTML."""
    try:
        yield
    except UserError as error:
        raise gr.Error(html.escape(public(error), quote=False), duration=20) from None


class Page:
    """What the page's controls do."""

    def __init__(self, bench: Workbench, sessions: Sessions) -> None:
        self.bench, self.sessions = bench, sessions

    def explain(
        self, asker: Asker, video: File, model: str, leave_out: list[str], progress: Any = PROGRESS
    ) -> tuple[Any, ...]:
        """A clip -> everything that is shown of it; starts a new conversation."""
        with shown():
            path = self.sessions.upload(asker.session_hash, video)
            progress(0.1, desc="measuring the clip, then asking the model")
            return self._show(asker, self.bench.explain(path, Choice(model, tuple(leave_out))))

    def measure_again(
        self, asker: Asker, onset: int, apex: int, offset: int, model: str, leave_out: list[str]
    ) -> tuple[Any, ...]:
        """The same clip with the frames that were chosen."""
        with shown():
            seen = self.sessions.clip(asker.session_hash)
            choice = Choice(model, tuple(leave_out))
            seen = self.bench.explain_interval(seen, Interval(onset, apex, offset), choice)
            return self._show(asker, seen)

    def _show(self, asker: Asker, seen: Seen) -> tuple[Any, ...]:
        session, interval = self.sessions.get(asker.session_hash), seen.measurement.interval
        session.seen, session.turns = seen, []
        moments = (interval.onset, interval.apex, interval.offset)
        return (*views.clip_view(seen), *moments, cards.conversation([]), "", "")

    def report(self, asker: Asker) -> str:
        """Links to the report of the clip in hand."""
        with shown():
            return views.report_links(self.sessions.clip(asker.session_hash))

    def ask(
        self, asker: Asker, question: str, model: str, temperature: float, leave_out: list[str]
    ) -> Iterator[tuple[str, str]]:
        """Answer a question, word by word; earlier turns are remembered."""
        with shown():
            seen = self.sessions.clip(asker.session_hash)
            turns = self.sessions.get(asker.session_hash).turns
            choice = Choice(model, tuple(leave_out), temperature)
            earlier = [(turn.question, turn.text) for turn in turns]
            turn = cards.Turn(question.strip(), ())
            for text in self.bench.answer(seen, earlier, question, choice):
                turn = cards.Turn(turn.question, link_sentences(text, seen))
                yield "", cards.conversation([*turns, turn])
            turns.append(turn)

    def magnify(self, asker: Asker, factor: float) -> str:
        """The interval as filmed and with its motion magnified."""
        with shown():
            return views.magnified_view(self.sessions.clip(asker.session_hash), factor)

    def batch(
        self, asker: Asker, files: Files, folder: Files, model: str
    ) -> Iterator[tuple[list[list[Any]], str]]:
        """Files -> a table that grows, then links to it as CSV and JSON."""
        with shown():
            videos = [f for f in folder or [] if Path(f).suffix.lower() in VIDEO_TYPES]
            named = [*(files or []), *videos]
            paths = [self.sessions.upload(asker.session_hash, file) for file in named]
            rows, records = [], []
            for row, record in explain_files(self.bench, paths, Choice(model)):
                rows.append(row)
                records.append(record or row)
                table = [[line[name] for name in COLUMNS] for line in rows]
                yield table, f'<p class="quiet">{len(rows)} of {len(paths)}</p>'
            yield table, views.table_links(rows, records)

    def search(
        self, asker: Asker, video: File, model: str, progress: Any = PROGRESS
    ) -> Iterator[str]:
        """A long video -> its intervals, each explained where it was found."""
        with shown():
            path = self.sessions.upload(asker.session_hash, video)
            page = ""
            for done, found in search_video(self.bench, path, Choice(model)):
                progress(done, desc="looking for intervals")
                page += views.intervals_view([found] if found else [])
                yield page
            yield page or '<p class="quiet">Nothing moved above the noise.</p>'

    def compare(self, asker: Asker, first: File, second: File, model: str) -> str:
        """Two clips side by side."""
        with shown():
            paths = [self.sessions.upload(asker.session_hash, file) for file in (first, second)]
            return views.pair_view(*(self.bench.explain(p, Choice(model)) for p in paths))

    def leave(self, asker: Asker) -> None:
        """The tab was closed."""
        self.sessions.forget(asker.session_hash)


def one_clip(page: Page, settings: list[Any]) -> None:
    """The tab for one clip: look, adjust, ask."""
    model, temperature, leave_out = settings
    clips = sorted((HERE / "clips").glob("*.mp4"))
    examples, names = [[str(clip)] for clip in clips], [clip.stem[3:] for clip in clips]
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            video = clip_input("Clip: one face, from the front")
            start = gr.Button("Explain", variant="primary", elem_id="explain")
            gr.Examples(examples, [video], label="Examples (rendered faces)", example_labels=names)
        with gr.Column(scale=3, min_width=320):
            reading = gr.HTML('<p class="quiet">Choose a clip, then Explain.</p>', label="Reading")
            links = gr.HTML(label="Downloads")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            face = gr.HTML(label="Face")
        with gr.Column(scale=3, min_width=320):
            regions = gr.HTML(label="Regions")
    line = gr.HTML(label="Timeline")
    with gr.Row(elem_classes="moments"):
        moments = [
            gr.Number(0, label=f"{name} (frame)", precision=0, minimum=0, elem_id=name.lower())
            for name in ("Onset", "Apex", "Offset")
        ]
        again = gr.Button("Measure these frames", elem_id="again")
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("### Ask about the clip")
            chat = gr.HTML(cards.conversation([]), label="Conversation", elem_id="conversation")
            most = page.bench.limits.question
            question = gr.Textbox(
                label="Your question", max_length=most, submit_btn=True, elem_id="question"
            )
            gr.Examples([[q] for q in page.bench.questions()], [question], label="Questions")
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("### Motion magnified")
            low, high = FACTORS
            factor = gr.Slider(low, high, 8, step=1, label="How many times", elem_id="factor")
            enlarge = gr.Button("Magnify", elem_id="magnify")
            film = gr.HTML(label="Magnified motion")
    everything = [reading, face, regions, line, *moments, chat, film, links]
    on, using = waiting("compute", 2), [model, leave_out]
    first = start.click(page.explain, [video, *using], everything, **on)
    other = again.click(page.measure_again, [*moments, *using], everything, **on)
    for event in (first, other):
        event.success(page.report, None, [links], **on, show_progress="hidden")
    asked = [question, model, temperature, leave_out]
    question.submit(page.ask, asked, [question, chat], **on, show_progress_on=[chat])
    enlarge.click(page.magnify, [factor], [film], **on)


def waiting(queue: str, at_once: int) -> dict[str, Any]:
    """Options of an event that waits its turn in a queue, and is no part of the API."""
    return {"concurrency_id": queue, "concurrency_limit": at_once, "api_visibility": "private"}


def clip_input(label: str) -> gr.Video:
    """A place for a video: dropped, chosen, or recorded."""
    camera = gr.WebcamOptions(mirror=False)  # the subject's left must stay the subject's left
    return gr.Video(label=label, sources=["upload", "webcam"], webcam_options=camera)


def many_clips(page: Page, model: gr.Dropdown) -> None:
    """The tabs for batches, long videos and comparisons."""
    on = waiting("long", 1)
    with gr.Tab("Batch", id="batch"):
        with gr.Row():
            kinds = list(VIDEO_TYPES)
            files = gr.File(label="Clips", file_count="multiple", file_types=kinds, height=160)
            folder = gr.File(label="Or a folder of clips", file_count="directory", height=160)
        run = gr.Button("Explain all", variant="primary", elem_id="explain-all")
        saved = gr.HTML(label="Downloads")
        table = gr.Dataframe(headers=list(COLUMNS), label="Clips", interactive=False, wrap=True)
        run.click(page.batch, [files, folder, model], [table, saved], **on)
    with gr.Tab("Long video", id="long"):
        video = clip_input("Video: intervals are looked for in it")
        find = gr.Button("Find and explain intervals", variant="primary", elem_id="find")
        found = gr.HTML(label="Intervals")
        find.click(page.search, [video, model], [found], **on)
    with gr.Tab("Compare", id="compare"):
        with gr.Row():
            pair = [clip_input("First clip"), clip_input("Second clip")]
        both = gr.Button("Compare", variant="primary", elem_id="compare-both")
        compared = gr.HTML(label="Comparison")
        both.click(page.compare, [*pair, model], [compared], **on)


def build(bench: Workbench, sessions: Sessions) -> gr.Blocks:
    """The page and the API."""
    page, api = Page(bench, sessions), Api(bench, sessions)
    with gr.Blocks(title="deft_llm", analytics_enabled=False) as blocks:
        gr.Markdown(f"# deft_llm\nWhat moved in a face, and what it may mean.\n\n{NOTE}")
        with gr.Accordion("Model and settings", open=False), gr.Row():
            hint = "the embedded one, a folder that was allowed at the start, or a hub name"
            model = gr.Dropdown(
                bench.models.names(),
                value=EMBEDDED,
                allow_custom_value=True,
                label="Model",
                info=hint,
            )
            temperature = gr.Slider(0, 1.5, 0, step=0.1, label="Temperature of answers")
            leave_out = gr.CheckboxGroup(list(EXPERTS), label="Experts to leave out")
        with gr.Tabs():
            with gr.Tab("One clip", id="one"):
                one_clip(page, [model, temperature, leave_out])
            many_clips(page, model)
            with gr.Tab("What the numbers mean", id="meaning"):
                gr.Markdown((HERE / "meaning.md").read_text(encoding="utf-8"))
        for name in (n for n in vars(Api) if not n.startswith("_")):
            gr.api(told(getattr(api, name)), api_name=name, concurrency_id="compute")
        blocks.unload(page.leave)
    sessions.spare_present()
    return blocks


def told(function: Any) -> Any:
    """A function of the API whose user errors reach the caller."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with shown():
            return function(*args, **kwargs)

    return call


def serve(blocks: gr.Blocks, limits: Limits, port: int | None, wait: bool = True) -> str:
    """Open the page on loopback, for this machine only.

    Returns:
        Its address (at once if ``wait`` is False).
    """
    here = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["monospace"]}  # none is fetched
    _, address, _ = blocks.queue(max_size=24).launch(
        server_name="127.0.0.1",
        server_port=port,
        share=False,
        prevent_thread_lock=not wait,
        max_file_size=limits.file_bytes,
        footer_links=["api", "settings"],
        run_history=False,
        enable_monitoring=False,
        app_kwargs={"middleware": [here]},
        theme=gr.themes.Default(primary_hue="blue", **fonts),
        css_paths=HERE / "page.css",
        js=(HERE / "page.js").read_text(encoding="utf-8"),
        quiet=not wait,
    )
    return str(address)


def main() -> int:
    """Load the model and serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="the embedded model")
    parser.add_argument("--models", type=Path, help="folder of models that may be chosen as well")
    parser.add_argument("--port", type=int, default=7860)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deft-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads and examples; gone when the page ends
        limits, models = Limits(), Models(args.checkpoint, args.models)
        try:
            models.get(EMBEDDED)
        except UserError as error:
            print(f"demo: {error}", file=sys.stderr)
            return 2
        serve(build(Workbench(models, limits), Sessions(Path(folder))), limits, args.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
