"""The page's tabs: controls and their events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from deft_llm import resources
from deft_llm.config import read_yaml
from deft_llm.media.suffixes import CLIP_SUFFIXES
from deft_llm.service.events import asked, in_stages, waiting
from deft_llm.service.page import Page
from deft_llm.viz import cards
from deft_llm.viz.magnify import FACTORS

ASSETS = Path(__file__).resolve().parent / "assets"
"""Style sheet, script and texts of the page."""


def one_clip(page: Page, settings: list[Any]) -> None:
    """The tab for one clip. Elements of class "later" appear with the first result."""
    model, _, ablate = settings
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            video, start, stage = _clip_to_explain(page)
            reading = gr.HTML(label="Reading")
            links = gr.HTML(label="Downloads", elem_classes="later")
            with gr.Row(elem_classes="later paper"):
                draw = gr.Button("Figure for a paper", size="sm", elem_id="figure")
                figure = gr.HTML(label="Figure", min_height=32)
            with gr.Column(elem_classes="later"):
                chat, question = ask_panel(page)
        with gr.Column(scale=6, min_width=320):
            welcome = (ASSETS / "start.html").read_text(encoding="utf-8")
            face = gr.HTML(welcome, label="Face", elem_id="face")
            regions = gr.HTML(label="Regions", elem_classes="later")
    with gr.Column(elem_classes="later"):
        line = gr.HTML(label="Timeline")
        moments, again, again_stage = _moments()
        factor, enlarge, film = _magnifier()
    everything = [reading, face, regions, line, *moments, chat, film, links, figure]
    on = waiting("compute", 2)
    for button, work, given, place in (
        (start, page.explain, [video], stage),
        (again, page.measure_again, moments, again_stage),
    ):
        given, into = [*given, model, ablate], [*everything, place]
        # One place for the stage, the place in the queue and the error.
        there = waiting("compute", 2, place) | {"show_progress": "minimal"}
        done = button.click(in_stages(work, len(everything)), given, into, **there)
        # In a second step, so that the result is shown before the report has been built.
        done.success(asked(page.report), None, [links], **on, show_progress="hidden")
    _answer_questions(page, settings, question, chat)
    enlarge.click(asked(page.magnify), [factor], [film], **on)
    draw.click(asked(page.figure), None, [figure], **on)


def _clip_to_explain(page: Page) -> tuple[gr.Video, gr.Button, gr.HTML]:
    """The clip, with examples; the button that explains it, and its stage."""
    video = clip_input("Clip of one face", page.service.limits.clip_seconds)
    start = gr.Button("Explain", variant="primary", elem_id="explain")
    stage = stage_line()
    clips = sorted(resources.clips().glob("*.mp4"))
    labels = read_yaml(resources.clips() / "labels.yaml") if clips else {}
    # File names start with a number that orders them, such as "01_".
    names = [labels.get(c.stem, c.stem[3:]) for c in clips]
    examples([[str(c)] for c in clips], [video], "Examples (rendered faces)", names)
    return video, start, stage


def _moments() -> tuple[list[gr.Number], gr.Button, gr.HTML]:
    """Onset, apex and offset; the button that measures them again, and its stage."""
    with gr.Row(elem_classes="moments"):
        moments = [
            gr.Number(0, label=f"{name} (frame)", precision=0, minimum=0, elem_id=name.lower())
            for name in ("Onset", "Apex", "Offset")
        ]
        again = gr.Button("Measure these frames", elem_id="again")
    return moments, again, stage_line()


def _magnifier() -> tuple[gr.Slider, gr.Button, gr.HTML]:
    """How many times the motion is magnified, the button for it, and the film."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            words = "Motion magnified: how many times"
            factor = gr.Slider(*FACTORS, 8, step=1, label=words, elem_id="factor")
            enlarge = gr.Button("Magnify", elem_id="magnify")
        # A column, whose least width holds while there is no film in it.
        with gr.Column(scale=3, min_width=300):
            film = gr.HTML(label="Magnified motion", min_height=64, elem_id="film")
    return factor, enlarge, film


def _answer_questions(page: Page, settings: list[Any], question: gr.Textbox, chat: gr.HTML) -> None:
    """Take each question at once, and answer it in turn."""
    # Taking a question costs nothing, so it does not wait in the queue of the models. "multiple":
    # by default Gradio drops an event while another one is running.
    told = waiting("asked", 8, chat)
    taken = question.submit(asked(page.take), [question], [question, chat], **told)
    on = waiting("compute", 2)
    taken.success(asked(page.answer), settings, [chat], **on, trigger_mode="multiple")


def stage_line() -> gr.HTML:
    """Where a button's work says what it is doing."""
    return gr.HTML(label="Stage", elem_classes="stage-line", min_height=34)


def ask_panel(page: Page) -> tuple[gr.HTML, gr.Textbox]:
    """The conversation and the input box for the next question."""
    gr.Markdown("### Ask about the clip")
    chat = gr.HTML(cards.conversation([]), label="Conversation", elem_id="conversation")
    most = page.service.limits.question
    question = gr.Textbox(
        label="Your question", max_length=most, submit_btn=True, elem_id="question"
    )
    return chat, question


def examples(
    rows: list[list[Any]], into: list[Any], label: str, names: list[str] | None = None
) -> None:
    """Example buttons that fill in controls, if there are any rows; not part of the API."""
    if rows:
        gr.Examples(rows, into, label=label, example_labels=names, api_visibility="private")


def clip_input(label: str, seconds: float) -> gr.Video:
    """A video input, by upload or webcam; its label states the limit in seconds."""
    camera = gr.WebcamOptions(mirror=False)  # mirroring would swap the subject's left and right
    length = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return gr.Video(
        label=f"{label} (up to {length})",
        sources=["upload", "webcam"],
        webcam_options=camera,
        elem_classes="clip",
    )


def many_clips(page: Page, model: gr.Dropdown) -> None:
    """The tabs for batches, long videos and comparisons."""
    # They wait in "long", a queue of its own: one long job at a time, and single clips do not wait
    # behind it.
    with gr.Tab("Batch", id="batch"):
        _batch(page, model)
    with gr.Tab("Long video", id="long"):
        _long_video(page, model)
    with gr.Tab("Compare", id="compare"):
        _comparison(page, model)


def _batch(page: Page, model: gr.Dropdown) -> None:
    most = page.service.limits.files
    words = f"Many clips at once, up to {most}: one row each, to be saved as a table."
    gr.Markdown(words, elem_classes="quiet")
    with gr.Row():
        kinds = list(CLIP_SUFFIXES)
        files = gr.File(
            label="Clips", file_count="multiple", file_types=kinds, elem_id="batch-files"
        )
        folder = gr.File(label="Or a folder of clips", file_count="directory")
    run = gr.Button("Explain all", variant="primary", elem_id="explain-all")
    saved = gr.HTML(label="Downloads")
    with gr.Column(elem_classes="later"):
        table = gr.HTML(label="Clips")
    chosen = [files, folder, model]
    run.click(asked(page.batch), chosen, [table, saved], **waiting("long", 1, saved))


def _long_video(page: Page, model: gr.Dropdown) -> None:
    gr.Markdown((ASSETS / "long.md").read_text(encoding="utf-8"), elem_classes="quiet")
    video = clip_input("Video", page.service.limits.video_seconds)
    find = gr.Button("Find and explain", variant="primary", elem_id="find")
    stage = stage_line()
    clips = sorted((resources.clips() / "long").glob("*.mp4"))
    names = [clip.stem.replace("_", ", ") for clip in clips]
    examples([[str(clip)] for clip in clips], [video], "Example", names)
    found = gr.HTML(label="Intervals")
    find.click(asked(page.search), [video, model], [found], **waiting("long", 1, stage))


def _comparison(page: Page, model: gr.Dropdown) -> None:
    gr.Markdown("Two clips side by side: what moved in either.", elem_classes="quiet")
    seconds = page.service.limits.clip_seconds
    with gr.Row():
        pair = [clip_input(f"{name} clip", seconds) for name in ("First", "Second")]
    both = gr.Button("Compare", variant="primary", elem_id="compare-both")
    stage = stage_line()
    clips = [resources.clips() / name for name in ("01_surprise.mp4", "02_happiness.mp4")]
    there = all(clip.is_file() for clip in clips)
    rows = [[str(clip) for clip in clips]] if there else []
    examples(rows, pair, "Example", ["surprise, happiness"])
    compared = gr.HTML(label="Comparison")
    on = waiting("long", 1, stage) | {"show_progress": "minimal"}
    both.click(in_stages(page.compare, 1), [*pair, model], [compared, stage], **on)
