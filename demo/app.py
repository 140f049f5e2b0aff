"""The demo: upload a clip, see the explanation, ask about it. Runs on this machine alone."""

import argparse
import sys
import tempfile
from pathlib import Path

import gradio as gr

from deft_llm.cli import CHECKPOINT, summary
from deft_llm.clip import Explanation
from deft_llm.deft.explain import Explainer, observe
from deft_llm.errors import UserError
from deft_llm.motion.measure import Measurement
from deft_llm.viz.report import ClipInfo, write_report

HERE = Path(__file__).resolve().parent
NOTE = (
    "Micro-expressions are weak evidence: this page shows what moved and how sure that is, and a "
    "reading of it. Not for decisions about people. The video stays on this machine. The embedded "
    "model has seen rendered faces only."
)
Chat = list[dict[str, str]]


class Demo:
    """The page's functions over one loaded model."""

    def __init__(self, explainer: Explainer) -> None:
        self.explainer = explainer

    def explain(self, video: str | None) -> tuple[str, str, str, tuple[Measurement, str], Chat]:
        """A clip -> text, picture strip, report file, state of the conversation, empty chat."""
        if not video:
            raise gr.Error("choose a clip first: upload one, or take an example below")
        try:
            clip, measurement = observe(Path(video))
            explanation: Explanation = self.explainer.explain(measurement)
        except UserError as error:
            raise gr.Error(str(error)) from error
        folder = Path(tempfile.mkdtemp(prefix="deft-"))
        report = write_report(folder, measurement, explanation, clip_info=ClipInfo.of(clip))
        text = "\n".join(summary(clip, measurement, explanation))
        state = (measurement, explanation.status if not explanation.probabilities else "")
        return text, str(folder / "overlay.png"), str(report), state, []

    def ask(
        self, question: str, chat: Chat, state: tuple[Measurement, str] | None
    ) -> tuple[str, Chat]:
        """Answer one question about the explained clip; earlier turns are remembered."""
        if state is None:
            raise gr.Error("explain a clip first, then ask about it")
        if not question.strip():
            return "", chat
        measurement, nothing_seen = state
        said = [str(turn["content"]) for turn in chat]
        turns = list(zip(said[::2], said[1::2], strict=False))[-2:]
        answer = nothing_seen or self.explainer.chat(measurement, turns, question.strip())
        asked = {"role": "user", "content": question.strip()}
        return "", [*chat, asked, {"role": "assistant", "content": answer}]


def build(explainer: Explainer) -> gr.Blocks:
    """The page."""
    demo = Demo(explainer)
    prompts = explainer.processor.prompts
    examples = [[str(path)] for path in sorted((HERE / "clips").glob("*.mp4"))]
    with gr.Blocks(title="deft_llm", analytics_enabled=False) as page:
        gr.Markdown(f"# deft_llm\nWhat moved in a face, and what it may mean.\n\n*{NOTE}*")
        state = gr.State(None)
        with gr.Row():
            with gr.Column(scale=1):
                video = gr.Video(label="Clip with one face, from the front", sources=["upload"])
                start = gr.Button("Explain", variant="primary")
                gr.Examples(examples, [video], label="Examples (rendered faces)")
            with gr.Column(scale=2):
                text = gr.Textbox(label="Explanation", lines=14, buttons=["copy"])
                report = gr.File(label="Report (HTML, opens anywhere)")
        strip = gr.Image(label="Onset, apex, motion, regions that moved", type="filepath")
        chat = gr.Chatbot(label="Ask about the clip", height=320)
        question = gr.Textbox(label="Your question", placeholder=prompts["motion"], submit_btn=True)
        asks = [[prompts[name]] for name in ("motion", "aus", "why", "class")]
        gr.Examples(asks, [question], label="Questions")
        start.click(demo.explain, [video], [text, strip, report, state, chat], api_name="explain")
        question.submit(demo.ask, [question, chat, state], [question, chat], api_name="ask")
    return page


def main() -> int:
    """Load the model and serve the page on loopback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--port", type=int, default=7860)
    args = parser.parse_args()
    try:
        page = build(Explainer.load(args.checkpoint))
    except UserError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    page.queue().launch(
        server_name="127.0.0.1",
        server_port=args.port,
        share=False,
        max_file_size="200mb",
        allowed_paths=[str(HERE / "clips")],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
