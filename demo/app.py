"""The demo: a clip, what moved in it, what that may mean, and questions about it.

Runs on this machine alone: python demo/app.py [--models FOLDER] [--port N]
"""

import argparse
import html
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from deft_llm.cli.main import CHECKPOINT
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.errors import UserError
from deft_llm.service.api import Api
from deft_llm.service.batch import COLUMNS
from deft_llm.service.clip_service import Workbench
from deft_llm.service.limits import VIDEO_TYPES, Limits, public
from deft_llm.service.models import EMBEDDED, Models
from deft_llm.service.page import Page
from deft_llm.service.sessions import Sessions
from deft_llm.viz import cards
from deft_llm.viz.magnify import FACTORS

# Of the batch table's columns, px.
WIDTHS: list[str | int] = [150, 105, 115, 115, 205, 85, 80, 90, 95, 180]
HERE = Path(__file__).resolve().parent
NOTE = (
    "Micro-expressions are weak evidence; nothing here is a ground for decisions about people. "
    "The video stays on this machine and is deleted when you leave."
)


@contextmanager
def shown() -> Iterator[None]:
    """A mistake of the user becomes a message on the page: one line, no paths, no HTML."""
    try:
        yield
    except UserError as error:
        raise gr.Error(html.escape(public(error), quote=False), duration=20) from None


def asked(work: Callable[..., Any]) -> Callable[..., Any]:
    """A control's function for one that takes the visitor's key first; streams stay streams."""

    def call(visitor: gr.Request, *values: Any) -> Any:
        with shown():
            return work(visitor.session_hash, *values)

    def stream(visitor: gr.Request, *values: Any) -> Iterator[Any]:
        with shown():
            yield from work(visitor.session_hash, *values)

    return stream if isgeneratorfunction(work) else call


def one_clip(page: Page, settings: list[Any]) -> None:
    """The tab for one clip: look, adjust, ask. What is "later" appears with the first result."""
    model, _, leave_out = settings
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            video = clip_input("Clip: one face, from the front", page.bench.limits.clip_seconds)
            start = gr.Button("Explain", variant="primary", elem_id="explain")
            clips = sorted((HERE / "clips").glob("*.mp4"))
            names = [c.stem[3:] for c in clips]
            examples([[str(c)] for c in clips], [video], "Examples (rendered faces)", names)
            reading = gr.HTML(label="Reading")
            links = gr.HTML(label="Downloads", elem_classes="later")
            with gr.Column(elem_classes="later"):
                chat, question = ask_panel(page)
        with gr.Column(scale=6, min_width=320):
            welcome = (HERE / "start.html").read_text(encoding="utf-8")
            face = gr.HTML(welcome, label="Face", elem_id="face")
            regions = gr.HTML(label="Regions", elem_classes="later")
    with gr.Column(elem_classes="later"):
        line = gr.HTML(label="Timeline")
        with gr.Row(elem_classes="moments"):
            moments = [
                gr.Number(0, label=f"{name} (frame)", precision=0, minimum=0, elem_id=name.lower())
                for name in ("Onset", "Apex", "Offset")
            ]
            again = gr.Button("Measure these frames", elem_id="again")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                words = "Motion magnified: how many times"
                factor = gr.Slider(*FACTORS, 8, step=1, label=words, elem_id="factor")
                enlarge = gr.Button("Magnify", elem_id="magnify")
            film = gr.HTML(label="Magnified motion", scale=3)
    everything = [reading, face, regions, line, *moments, chat, film, links]
    on = waiting("compute", 2)
    for button, work, given, place in (
        (start, page.explain, [video], [reading, face]),
        (again, page.measure_again, moments, [line, reading, face]),
    ):
        given = [*given, model, leave_out]
        done = button.click(asked(work), given, everything, **on, show_progress_on=place)
        done.success(asked(page.report), None, [links], **on, show_progress="hidden")
    taken = question.submit(asked(page.take), [question], [question, chat], **waiting("asked", 8))
    taken.success(asked(page.answer), settings, [chat], **on, trigger_mode="multiple")
    enlarge.click(asked(page.magnify), [factor], [film], **on)


def ask_panel(page: Page) -> tuple[gr.HTML, gr.Textbox]:
    """The conversation, and the box for the next question."""
    gr.Markdown("### Ask about the clip")
    chat = gr.HTML(cards.conversation([]), label="Conversation", elem_id="conversation")
    most = page.bench.limits.question
    question = gr.Textbox(
        label="Your question", max_length=most, submit_btn=True, elem_id="question"
    )
    examples([[q] for q in page.bench.questions()], [question], "Questions to start with")
    return chat, question


def examples(
    rows: list[list[str]], into: list[Any], label: str, names: list[str] | None = None
) -> None:
    """Buttons that fill controls in; none of them is part of the API."""
    gr.Examples(rows, into, label=label, example_labels=names, api_visibility="private")


def waiting(queue: str, at_once: int) -> dict[str, Any]:
    """Options of an event that waits its turn in a queue, and is no part of the API."""
    return {"concurrency_id": queue, "concurrency_limit": at_once, "api_visibility": "private"}


def clip_input(label: str, seconds: float) -> gr.Video:
    """A place for a video of at most so many seconds: dropped, chosen, or recorded."""
    camera = gr.WebcamOptions(mirror=False)  # the subject's left must stay the subject's left
    length = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return gr.Video(
        label=f"{label} (up to {length})",
        sources=["upload", "webcam"],
        webcam_options=camera,
        elem_classes="clip",
    )


def many_clips(page: Page, model: gr.Dropdown) -> None:
    """The tabs for batches, long videos and comparisons."""
    on, limits = waiting("long", 1), page.bench.limits
    with gr.Tab("Batch", id="batch"):
        words = f"Many clips at once, up to {limits.files}: one row each, to be saved as a table."
        gr.Markdown(words, elem_classes="quiet")
        with gr.Row():
            kinds = list(VIDEO_TYPES)
            files = gr.File(
                label="Clips", file_count="multiple", file_types=kinds, elem_id="batch-files"
            )
            folder = gr.File(label="Or a folder of clips", file_count="directory")
        run = gr.Button("Explain all", variant="primary", elem_id="explain-all")
        saved = gr.HTML(label="Downloads")
        with gr.Column(elem_classes="later"):
            table = gr.Dataframe(
                headers=list(COLUMNS),
                label="Clips",
                interactive=False,
                wrap=True,
                column_widths=WIDTHS,
            )
        chosen = [files, folder, model]
        run.click(asked(page.batch), chosen, [table, saved], **on, show_progress_on=[saved])
    with gr.Tab("Long video", id="long"):
        gr.Markdown((HERE / "long.md").read_text(encoding="utf-8"), elem_classes="quiet")
        video = clip_input("Video", limits.video_seconds)
        find = gr.Button("Find and explain", variant="primary", elem_id="find")
        long = sorted((HERE / "clips" / "long").glob("*.mp4"))
        examples(
            [[str(clip)] for clip in long],
            [video],
            "Example",
            [c.stem.replace("_", ", ") for c in long],
        )
        found = gr.HTML(label="Intervals")
        find.click(asked(page.search), [video, model], [found], **on)
    with gr.Tab("Compare", id="compare"):
        gr.Markdown("Two clips side by side: what moved in either.", elem_classes="quiet")
        with gr.Row():
            pair = [clip_input(f"{name} clip", limits.clip_seconds) for name in ("First", "Second")]
        both = gr.Button("Compare", variant="primary", elem_id="compare-both")
        clips = [str(HERE / "clips" / name) for name in ("01_surprise.mp4", "02_happiness.mp4")]
        examples([clips], pair, "Example", ["surprise, happiness"])
        compared = gr.HTML(label="Comparison")
        both.click(asked(page.compare), [*pair, model], [compared], **on)


def build(bench: Workbench, sessions: Sessions) -> gr.Blocks:
    """The page and the API."""
    page, api = Page(bench, sessions), Api(bench, sessions)
    with gr.Blocks(title="deft_llm", analytics_enabled=False) as blocks:
        gr.Markdown(f"# deft_llm\nWhat moved in a face, and what it may mean.\n\n{NOTE}")
        with gr.Accordion("Model and settings", open=False), gr.Row():
            hint = "the embedded one, a folder that was allowed at the start, or a hub name"
            calm = "0: the likeliest words each time; higher: livelier, less reliable"
            blind = "what the model is not shown: the resting face, its changing look, its motion"
            model = gr.Dropdown(
                bench.models.names(),
                value=EMBEDDED,
                allow_custom_value=True,
                label="Model",
                info=hint,
            )
            temperature = gr.Slider(0, 1.5, 0, step=0.1, label="Temperature of answers", info=calm)
            experts = list(EXPERTS)
            leave_out = gr.CheckboxGroup(experts, label="Experts to leave out", info=blind)
        with gr.Tabs():
            with gr.Tab("One clip", id="one"):
                one_clip(page, [model, temperature, leave_out])
            many_clips(page, model)
            with gr.Tab("What the numbers mean", id="meaning"):
                gr.Markdown((HERE / "meaning.md").read_text(encoding="utf-8"))
        for name in (n for n in vars(Api) if not n.startswith("_")):
            gr.api(
                told(getattr(api, name)),
                api_name=name,
                concurrency_id="compute",
                concurrency_limit=2,
            )
        blocks.unload(asked(page.leave))
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
    fonts = ["system-ui", "sans-serif"]  # of the visitor's machine: none is fetched
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
        theme=gr.themes.Default(primary_hue="blue", font=fonts, font_mono=["monospace"]),
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: tidily
    try:
        with tempfile.TemporaryDirectory(prefix="deft-demo-") as folder:
            os.environ["GRADIO_TEMP_DIR"] = folder  # uploads and examples; gone at the end
            limits, models = Limits(), Models(args.checkpoint, args.models)
            models.get(EMBEDDED)
            blocks = build(Workbench(models, limits), Sessions(Path(folder)))
            serve(blocks, limits, args.port)
    except UserError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"demo: port {args.port}: {error}; say another with --port", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
