"""The demo: explain a clip, show what moved in it, and answer questions about it.

Reachable from this machine only. Needs the extra ``demo`` (gradio).
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from transformers.utils import logging

from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.errors import UserError
from deft_llm.service.api import Api
from deft_llm.service.clip_service import ClipService
from deft_llm.service.events import asked, reported
from deft_llm.service.limits import LIMITS, Limits
from deft_llm.service.models import EMBEDDED, Models
from deft_llm.service.page import Page
from deft_llm.service.scan_tab import scan_tab
from deft_llm.service.sessions import Sessions
from deft_llm.service.tabs import ASSETS, many_clips, one_clip

NOTE = (
    "Micro-expressions are weak evidence; nothing here is a ground for decisions about people. "
    "The video stays on this machine and is deleted when you leave."
)


def build(service: ClipService, sessions: Sessions) -> gr.Blocks:
    """Build the page and the API."""
    page, api = Page(service, sessions), Api(service, sessions)
    # Analytics would be sent at the start.
    with gr.Blocks(title="deft_llm", analytics_enabled=False) as blocks:
        gr.Markdown(f"# deft_llm\nWhat moved in a face, and what it may mean.\n\n{NOTE}")
        with gr.Accordion("Model and settings", open=False), gr.Row():
            model, temperature, ablate = _settings(service)
        with gr.Tabs():
            with gr.Tab("One clip", id="one"):
                one_clip(page, [model, temperature, ablate])
            many_clips(page, model)
            scan_tab(page)
            with gr.Tab("What the numbers mean", id="meaning"):
                gr.Markdown((ASSETS / "meaning.md").read_text(encoding="utf-8"))
        for name in (n for n in vars(Api) if not n.startswith("_")):
            # One queue with the buttons for single clips: two jobs at once, whoever asks.
            gr.api(
                reported(getattr(api, name)),
                api_name=name,
                concurrency_id="compute",
                concurrency_limit=2,
            )
        blocks.unload(asked(page.leave))
    # After the blocks are built: by now Gradio has copied the examples into the upload folder.
    sessions.spare_present()
    return blocks


def _settings(service: ClipService) -> tuple[gr.Dropdown, gr.Slider, gr.CheckboxGroup]:
    """The controls for the model, the temperature of answers, and the experts to leave out."""
    model = gr.Dropdown(
        service.models.names(),
        value=EMBEDDED,
        allow_custom_value=True,
        label="Model",
        info="the embedded one, a folder that was allowed at the start, or a hub name",
    )
    calm = "for language models that call tools: 0 takes the likeliest query each time"
    temperature = gr.Slider(0, 1.5, 0, step=0.1, label="Temperature of answers", info=calm)
    blind = "what the model is not shown: the resting face, its changing look, its motion"
    ablate = gr.CheckboxGroup(list(EXPERTS), label="Experts to leave out", info=blind)
    return model, temperature, ablate


def serve(blocks: gr.Blocks, limits: Limits, port: int | None, wait: bool = True) -> str:
    """Serve the page on loopback, for this machine only.

    Returns:
        The page's address; without ``wait`` immediately, otherwise after the server has stopped.

    Raises:
        OSError: If the port is taken.
    """
    # Refuse requests for a foreign host name that points to loopback (DNS rebinding).
    here = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    fonts = ["system-ui", "sans-serif"]  # the visitor's own; no font is fetched
    # No tunnel, no telemetry: the video must not leave this machine.
    _, address, _ = blocks.queue(max_size=limits.waiting).launch(
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
        css_paths=ASSETS / "page.css",
        js=(ASSETS / "page.js").read_text(encoding="utf-8"),
        quiet=not wait,
    )
    return str(address)


def run(checkpoint: Path, models: Path | None, port: int) -> None:
    """Load the model and serve the page until Ctrl-C; all uploads are deleted at the end.

    Args:
        checkpoint: The model named "embedded" on the page; see ``Explainer.load``.
        models: Folder of further models to choose from.
        port: Port on loopback.

    Raises:
        UserError: If the checkpoint cannot be read, or the port is taken.
    """
    # Raises KeyboardInterrupt, as Ctrl-C does; by default SIGTERM would leave the uploads on disk.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="deft-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads and examples; set before blocks are built
        # Of the library that loads models: without a terminal it fills the log.
        logging.disable_progress_bar()
        allowed = Models(checkpoint, models)
        # A bad checkpoint fails now, not at the first visitor's clip.
        allowed.get(EMBEDDED)
        blocks = build(ClipService(allowed), Sessions(Path(folder)))
        try:
            serve(blocks, LIMITS, port)
        except OSError as error:
            raise UserError(f"port {port}: {error}; give another with --port") from error
