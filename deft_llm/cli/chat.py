"""``deft-llm chat``: ask questions about a clip, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deft_llm.cli.clips import one_clip
from deft_llm.cli.console import Checkpoint, ClipPath, show
from deft_llm.cli.light_start import load_explainer, use_one_thread
from deft_llm.cli.reading import USUAL, Reading, reads_videos
from deft_llm.errors import UserError
from deft_llm.resources import EMBEDDED

if TYPE_CHECKING:
    from deft_llm.motion.measure import Measurement

UNSUPPORTED = "[not borne out by the motion]"


@reads_videos
def chat(
    clip: ClipPath,
    checkpoint: Checkpoint = Path(EMBEDDED),
    temperature: Annotated[
        float, typer.Option(help="0: always the likeliest words; 0.7: livelier")
    ] = 0.0,
    reading: Reading = USUAL,
) -> None:
    """Ask about a clip, question by question.

    Ctrl-D, Ctrl-C or an empty line ends it.
    """
    from deft_llm.cli.summary import clip_line, face_line
    from deft_llm.data.measuring import measure_video

    path = one_clip(clip)
    options = reading.of(path)
    if line := clip_line(path, options):
        show("clip", line)
    use_one_thread()
    _, measurement = measure_video(path, options)
    show("face", face_line(measurement))
    explainer = load_explainer(checkpoint)
    turns: list[tuple[str, str]] = []
    try:
        while question := input("\n> ").strip():
            try:
                answer = explainer.answer(measurement, turns, question, temperature)
                turns.append((question, say(answer, measurement)))
            except UserError as error:  # the next question may be shorter
                print(error)
    except (EOFError, KeyboardInterrupt):
        print()


def say(answers: Iterator[str], measurement: Measurement) -> str:
    """Print a growing answer; each sentence is checked against the motion before it is shown.

    Args:
        answers: The answer so far, each time it grows.
        measurement: The measured motion.

    Returns:
        The complete answer, without the marks.
    """
    from deft_llm.deft.inference.claims import check_sentences

    answer, shown = "", 0
    # The extra item at the end prints the last sentence, once it is known to be complete.
    for text, whole in chain(((text, False) for text in answers), [("", True)]):
        answer = text or answer
        sentences = check_sentences(answer, measurement.table_apex)
        for sentence in sentences if whole else sentences[:-1]:  # the last may still grow
            if sentence.end > shown:
                mark = f" {UNSUPPORTED}" if sentence.verdict == "unsupported" else ""
                print(answer[shown : sentence.end] + mark, end="", flush=True)
                shown = sentence.end
    print(answer[shown:])
    return answer
