"""The page's tab for faces in 3D and 4D."""

from __future__ import annotations

import gradio as gr

from deft_llm.scans.frame_files import SUFFIXES
from deft_llm.service.events import asked, waiting
from deft_llm.service.page import Page
from deft_llm.service.scan_page import ScanPage

_WORDS = (
    "A scan of one face (OBJ, PLY, STL, WRL, NPZ, BNT), or all frames of a sequence: its "
    "expression, seen from several sides."
)


def scan_tab(page: Page) -> None:
    """The tab."""
    tab = ScanPage(page)
    with gr.Tab("3D scan", id="scan"):
        gr.Markdown(_WORDS, elem_classes="quiet")
        files = gr.File(
            label="A scan, or the frames of a sequence",
            file_count="multiple",
            file_types=[suffix for suffix in SUFFIXES if suffix not in (".png", ".tif", ".tiff")],
            elem_id="scan-files",
        )
        words = gr.Textbox(
            label="Expressions of yours, one a line",
            placeholder="pouting: a pout",
            lines=3,
            max_length=2000,
            elem_id="scan-prompts",
        )
        run = gr.Button("Read the face", variant="primary", elem_id="read-scan")
        shown = gr.HTML(label="Reading")
        run.click(asked(tab.read), [files, words], [shown], **waiting("compute", 2, shown))
