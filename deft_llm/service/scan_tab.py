"""The page's tab for faces in 3D and 4D."""

from __future__ import annotations

import gradio as gr

from deft_llm import resources
from deft_llm.scans.frame_files import SUFFIXES
from deft_llm.service.events import in_stages, waiting
from deft_llm.service.page import Page
from deft_llm.service.scan_page import ScanPage
from deft_llm.service.tabs import examples, stage_line

_WORDS = (
    "A scan of one face (OBJ, PLY, STL, WRL, NPZ, BNT), or all frames of a sequence: its "
    "expression, seen from several sides."
)


def scan_tab(page: Page) -> None:
    """The tab."""
    tab = ScanPage(page)
    with gr.Tab("3D scan", id="scan"):
        gr.Markdown(_WORDS, elem_classes="quiet")
        with gr.Row():
            with gr.Column(min_width=300):
                files = gr.File(
                    label="A scan, or the frames of a sequence",
                    file_count="multiple",
                    # Depth maps need a pitch or a focal length, which the page does not ask for.
                    file_types=[s for s in SUFFIXES if s not in (".png", ".tif", ".tiff")],
                    height=180,  # of a hundred frames, the list scrolls
                    elem_id="scan-files",
                )
            with gr.Column(min_width=300):
                words = gr.Textbox(
                    label="Expressions of yours, one a line",
                    placeholder="pouting: a pout",
                    info="named by text alone, beside the six basic ones; may stay empty",
                    lines=4,
                    max_length=2000,
                    elem_id="scan-prompts",
                )
        run = gr.Button("Read the face", variant="primary", elem_id="read-scan")
        stage = stage_line()
        scans = sorted((resources.clips() / "scans").glob("*.npz"))
        names = [scan.stem.replace("_4d", ", over time") for scan in scans]
        examples([[[str(scan)]] for scan in scans], [files], "Examples (rendered faces)", names)
        shown = gr.HTML(label="Reading")
        there = waiting("compute", 2, stage)
        run.click(in_stages(tab.read, 1), [files, words], [shown, stage], **there)
