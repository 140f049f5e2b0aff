"""``deft-llm chat``: ask questions about a clip, one after the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deft_llm.cli.clips import one_clip
from deft_llm.cli.console import Checkpoint, ClipPath, refuse_input, show
from deft_llm.cli.light_start import check_model, load_explainer, use_one_thread
from deft_llm.cli.lines import counted
from deft_llm.cli.reading import USUAL, Reading, reads_videos
from deft_llm.errors import UserError
from deft_llm.resources import EMBEDDED

if TYPE_CHECKING:
    from deft_llm.deft.inference.answer import Answer
    from deft_llm.motion.measure import Measurement

_HELP = (
    "/query shows or hides what is executed for each question. /save FILE writes the chat with its "
    "evidence as Markdown, to a new file or to one that this chat wrote. An empty line ends the "
    'chat. "What can I ask?" tells what can be asked.'
)
UNSUPPORTED = "[not borne out by the motion]"


@reads_videos
def chat(
    clip: ClipPath,
    checkpoint: Checkpoint = Path(EMBEDDED),
    temperature: Annotated[
        float, typer.Option(help="for models that call tools: 0 takes the likeliest query")
    ] = 0.0,
    reading: Reading = USUAL,
) -> None:
    """Ask about a clip, question by question.

    Ctrl-D, Ctrl-C or an empty line ends it. /query shows what is executed for each question,
    /save FILE writes the chat with its evidence as Markdown.
    """
    check_model(checkpoint)
    path = one_clip(clip)
    # Told before the model is loaded, which takes longer than to read this.
    measurement = _measured(path, reading)
    explainer = load_explainer(checkpoint)
    from deft_llm.deft.inference.suggestions import suggestions

    print("You can ask:", " ".join(suggestions(explainer.explain(measurement))))
    talk: list[tuple[str, Answer]] = []
    shown = False
    saved: set[Path] = set()
    try:
        # An empty line ends it, since a question has at least a letter.
        while question := input("\n> ").strip():
            try:
                if question.startswith("/"):
                    shown = _command(question, talk, shown, path, saved)
                    continue
                turns = [(asked, answer.text) for asked, answer in talk]
                answer = explainer.answer(measurement, turns, question, temperature)
                # Only what was answered is context of the next question.
                talk.append((question, answer))
                say(answer, measurement)
                if shown:
                    print(f"[{answer.query}]")
            except UserError as error:  # the next question may be shorter
                # To stdout, as a turn of the conversation.
                print(error)
    except (EOFError, KeyboardInterrupt):
        print()


def _measured(path: Path, reading: Reading) -> Measurement:
    """Measure the clip, and tell of it."""
    from deft_llm.cli.summary import clip_line, face_line, part_line, to_read
    from deft_llm.data.measuring import measure_video
    from deft_llm.motion.eyes import with_eyes

    options = reading.of(path)
    read = to_read(path, options)
    if line := clip_line(path, read):
        show("clip", line)
    use_one_thread()
    part, measured = measure_video(path, options)
    if line := part_line(read, part):
        show("part", line)
    measurement = with_eyes(measured)
    show("face", face_line(measurement))
    return measurement


def _command(
    line: str, talk: list[tuple[str, Answer]], shown: bool, clip: Path, saved: set[Path]
) -> bool:
    """Carry out /query, /save FILE or /help.

    Args:
        line: As typed.
        talk: The questions so far, with their answers.
        shown: Whether queries are shown.
        clip: What is talked about.
        saved: Files that this chat was saved to; grows.

    Returns:
        Whether queries are shown from now on.

    Raises:
        UserError: If it is no command, or the file cannot be written or is not of this chat.
    """
    from deft_llm.deft.inference.answer import markdown
    from deft_llm.files import text_of, write_text

    name, _, target = line.partition(" ")
    if name == "/query":
        return not shown
    if name == "/help":
        print(_HELP)
        return shown
    if name != "/save" or not target.strip():
        raise UserError(f"{line!r}: expected /query, /save FILE or /help")
    # No shell has put the user's folder in the place of "~".
    file = Path(os.path.expanduser(target.strip()))
    refuse_input("/save", file, [clip])
    if file.is_file() and file.resolve() not in saved:
        raise UserError(
            f"{file} is there already, and not from this chat; expected a new file: give another "
            "name, or delete it first"
        )
    try:
        write_text(file, text_of(markdown(talk)))
    except OSError as error:
        raise UserError(f"{file}: cannot write it ({error.strerror or error})") from error
    saved.add(file.resolve())
    print(f"{counted(len(talk), 'answer')} written to {file}")
    return shown


def say(answer: Answer, measurement: Measurement) -> None:
    """Print an answer; a sentence that the motion does not bear out is marked."""
    from deft_llm.deft.inference.claims import check_sentences

    shown = 0
    # Marked in the line itself: a note at the end would be read too late.
    for sentence in check_sentences(answer.text, measurement.table_apex):
        mark = f" {UNSUPPORTED}" if sentence.verdict == "unsupported" else ""
        print(answer.text[shown : sentence.end] + mark, end="", flush=True)
        # What stands between two sentences is printed with the second.
        shown = sentence.end
    print(answer.text[shown:])
