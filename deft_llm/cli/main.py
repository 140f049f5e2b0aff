"""The command line: ``deft-llm explain CLIP``, ``chat CLIP``, ``flow A B -o OUT.flo`` and others.

Exit status: 0 done, 2 a wrong input (one line on stderr), 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from deft_llm import facs
from deft_llm.answers import NOTHING, unit_name
from deft_llm.cli.corpora import app as corpora
from deft_llm.clip import Clip, Explanation
from deft_llm.errors import UserError
from deft_llm.motion.measure import Measurement
from deft_llm.resources import checkpoint

app = typer.Typer(
    add_completion=True, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)
simulate = typer.Typer(no_args_is_help=True, help="Write simulated data.")
app.add_typer(simulate, name="simulate")
app.add_typer(corpora, name="corpora")
CHECKPOINT = checkpoint()
UNSUPPORTED = "[not borne out by the motion]"
_COLUMN = 10


@app.callback()
def _root() -> None:
    """Micro-expressions in a face video, explained by measured motion."""


@app.command()
def explain(
    clip: Annotated[Path, typer.Argument(help="a video file, or a folder of frames")],
    out: Annotated[Path, typer.Option(help="folder for the report's own folder")] = Path("out"),
    checkpoint: Annotated[Path, typer.Option(help="model folder")] = CHECKPOINT,
    ask: Annotated[
        list[str] | None, typer.Option(help="a question about the clip; again for the next one")
    ] = None,
) -> None:
    """Name the emotion and the action units of a clip, and write a report of the evidence."""
    from transformers.utils import logging as transformers_logging

    from deft_llm.deft.inference.explainer import Explainer, observe
    from deft_llm.viz.report import ClipInfo, write_report

    transformers_logging.disable_progress_bar()
    video, measurement = observe(clip)
    explainer = Explainer.load(checkpoint)
    explanation = explainer.explain(measurement)
    info = ClipInfo.of(video)
    folder = out / _folder_name(info.name)
    try:
        report = write_report(folder, measurement, explanation, clip_info=info)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot write the report ({error.strerror}); give another folder with --out"
        ) from error
    for line in summary(video, measurement, explanation):
        print(line)
    print(f"{'report':<{_COLUMN}}{report}")
    turns: list[tuple[str, str]] = []
    for question in ask or ():
        print(f"\n> {question}")
        answer = _say(explainer.stream(measurement, turns, question), measurement)
        turns.append((question, answer))


@app.command()
def chat(
    clip: Annotated[Path, typer.Argument(help="a video file, or a folder of frames")],
    checkpoint: Annotated[Path, typer.Option(help="model folder")] = CHECKPOINT,
    temperature: Annotated[
        float, typer.Option(help="0: always the likeliest words; 0.7: livelier")
    ] = 0.0,
) -> None:
    """Ask about a clip, question by question; Ctrl-D, or Ctrl-C, or an empty line ends it."""
    from transformers.utils import logging as transformers_logging

    from deft_llm.deft.inference.explainer import Explainer, observe

    transformers_logging.disable_progress_bar()
    video, measurement = observe(clip)
    explainer = Explainer.load(checkpoint)
    for label, line in (("clip", _clip_line(video)), ("face", _face_line(measurement))):
        print(f"{label:<{_COLUMN}}{line}")
    turns: list[tuple[str, str]] = []
    try:
        while question := input("\n> ").strip():
            said = explainer.stream(measurement, turns, question, temperature)
            turns.append((question, _say(said, measurement)))
    except (EOFError, KeyboardInterrupt):
        print()


def _say(answers: Iterator[str], measurement: Measurement) -> str:
    """Print a growing answer; each sentence is held against the motion before it is shown."""
    from deft_llm.deft.inference.claims import check_sentences

    answer, shown = "", 0
    for text, whole in chain(((text, False) for text in answers), [("", True)]):
        answer = text or answer
        sentences = check_sentences(answer, measurement.table_apex)
        for sentence in sentences if whole else sentences[:-1]:  # the last one still grows
            if sentence.end > shown:
                mark = f" {UNSUPPORTED}" if sentence.verdict == "unsupported" else ""
                print(answer[shown : sentence.end] + mark, end="", flush=True)
                shown = sentence.end
    print(answer[shown:])
    return answer


@simulate.command("flow")
def simulate_flow(
    out: Annotated[Path, typer.Argument(help="folder of the dataset, new or to be gone on with")],
    train: Annotated[int, typer.Option(help="pairs in the training split")] = 1000,
    val: Annotated[int, typer.Option(help="pairs in the validation split")] = 100,
    test: Annotated[int, typer.Option(help="pairs in the test split")] = 100,
    per_subject: Annotated[int, typer.Option(help="pairs of one face")] = 10,
    head: Annotated[str, typer.Option(help="head model: own or ict")] = "own",
    head_path: Annotated[Path | None, typer.Option(help="its file or folder (ict)")] = None,
    size: Annotated[int, typer.Option(help="side of the frames, pixels")] = 256,
    seed: Annotated[int, typer.Option(help="same seed, same bytes")] = 0,
    workers: Annotated[int, typer.Option(help="processes; 0 takes all cores")] = 0,
) -> None:
    """Render pairs of faces with exact flow, masks and depth, in SRFlow's layout."""
    from deft_llm.config import validate
    from deft_llm.simulator.flow.dataset import FlowSettings, write_dataset

    counts = {"train": train, "val": val, "test": test, "per_subject": per_subject}
    values = {**counts, "head": head, "size": size, "seed": seed}
    settings = validate(FlowSettings, values, "simulate flow")
    manifest = write_dataset(out, settings, workers or os.cpu_count() or 1, head_path)
    print(f"{'manifest':<{_COLUMN}}{manifest}")


@app.command()
def flow(
    a: Annotated[Path, typer.Argument(help="the first image")],
    b: Annotated[Path, typer.Argument(help="the second image, of the same size")],
    out: Annotated[Path, typer.Option("-o", "--out", help=".flo, .pfm or KITTI .png to write")],
    method: Annotated[
        str | None, typer.Option(help="lk (the default), dis, tvl1, farneback or srflow")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="folder of a trained network; the method is srflow then")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="px of full colour; default: the largest motion")
    ] = None,
) -> None:
    """Estimate the motion from one image to another; write it, and a colour picture beside it."""
    from deft_llm.media.draw import middlebury_colours
    from deft_llm.media.frames import read_image
    from deft_llm.motion.flow import flow_estimator
    from deft_llm.motion.flow_files import check_writable, write_flow, write_whole
    from deft_llm.viz.overlay import encode_png

    check_writable(out)
    if weights is None:
        estimator = flow_estimator(method or "lk")
    else:
        estimator = flow_estimator(method or "srflow", folder=weights)
    motion = estimator(read_image(a), read_image(b))
    picture = out.with_name(f"{out.stem}.colour.png")
    write_flow(out, motion)
    write_whole(picture, encode_png(middlebury_colours(motion, scale)))
    length = np.hypot(*motion)
    print(f"{'motion':<{_COLUMN}}mean {length.mean():.3f} px · largest {length.max():.3f} px")
    print(f"{'flow':<{_COLUMN}}{out}")
    print(f"{'picture':<{_COLUMN}}{picture}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="folder of a finished run of train.py, task deft")],
    out: Annotated[Path, typer.Option("-o", "--out", help="new folder")],
    merge: Annotated[bool, typer.Option("--merge", help="put adapters into the weights")] = False,
    figures: Annotated[
        Path | None, typer.Option(help="what eval/run.py --json wrote, for the model card")
    ] = None,
) -> None:
    """Write a trained model for others: weights, processor and model card."""
    from deft_llm.deft.tuning.export import export as write

    print(f"{'model':<{_COLUMN}}{write(run, out, merge, figures)}")


def _folder_name(name: str) -> str:
    """The clip's name without its ending, safe as one folder's name."""
    return Path(name).stem.strip(". ") or "clip"


def summary(video: Clip, measurement: Measurement, explanation: Explanation) -> Iterator[str]:
    """The lines that the terminal shows, labels in a column."""
    yield from _block("clip", [_clip_line(video)])
    yield from _block("face", [_face_line(measurement)])
    if measurement.found:
        yield from _block("interval", [_interval_line(measurement)])
    yield from _block("emotion", [_emotion_line(explanation)])
    if explanation.aus:
        named = [f"{unit_name(code)} {p:.2f}" for code, p in explanation.aus.items()]
        yield from _block("AUs", [" · ".join(named)])
    yield from _block("evidence", _evidence_lines(explanation))
    if explanation.rationale:
        yield from _block("why", [explanation.rationale])
    if explanation.unsupported:
        claims = [f"the {region} {direction}" for region, direction in explanation.unsupported]
        yield from _block("unproven", ["not borne out by the motion: " + "; ".join(claims)])
    if explanation.unseen_aus:
        names = ", ".join(map(unit_name, explanation.unseen_aus))
        yield from _block("unproven", [f"no motion speaks for {names}"])
    if explanation.contradicting:
        names = ", ".join(explanation.contradicting)
        yield from _block("unproven", [f"not the class that was found: {names}"])
    if explanation.status != "ok":
        yield from _block("note", [explanation.status])


def _block(label: str, lines: list[str]) -> Iterator[str]:
    for i, line in enumerate(lines):
        yield f"{label if i == 0 else '':<{_COLUMN}}{line}"


def _clip_line(video: Clip) -> str:
    name = video.source.name if video.source is not None else video.name
    return f"{name} · {len(video)} frames at {video.fps:.0f} fps · {video.duration:.2f} s"


def _face_line(measurement: Measurement) -> str:
    present = int(measurement.aligned.present.sum())
    total = len(measurement.aligned)
    unsure = measurement.aligned.placement_uncertainty
    return (
        f"{present}/{total} frames · head moved {measurement.head_motion:.1f} px, removed · "
        f"landmarks within about {unsure:.1f} px"
    )


def _interval_line(measurement: Measurement) -> str:
    times = measurement.aligned.timestamps - measurement.aligned.timestamps[0]
    interval = measurement.interval
    moments = [("onset", interval.onset), ("apex", interval.apex), ("offset", interval.offset)]
    return " · ".join(f"{name} {times[i]:.3f} s ({i})" for name, i in moments)


def _emotion_line(explanation: Explanation) -> str:
    if not explanation.probabilities:
        return f"none named: {explanation.status}"
    ranked = sorted(explanation.probabilities.items(), key=lambda item: -item[1])
    shown = [f"{name} {p:.2f}" for name, p in ranked if p >= 0.005]
    lead = "" if explanation.emotion else f"{NOTHING} named · "
    return lead + " · ".join(shown)


def _evidence_lines(explanation: Explanation) -> list[str]:
    width = max(map(len, facs.REGIONS))
    lines = []
    for row in explanation.evidence:
        units = " ".join(f"AU{code}" for code in row.aus) or "no AU explains it"
        lines.append(
            f"{row.region:<{width}}  {row.direction:<16}  {row.magnitude:5.2f} px   "
            f"z {row.z:5.1f}   {units}"
        )
    return lines or ["no region moved above its noise floor"]
