"""``deft-llm flow`` and ``flow-score``: motion between two images, and its error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deft_llm.cli.console import JsonFile, check_output, log_progress, refuse_input, show
from deft_llm.errors import UserError

if TYPE_CHECKING:
    from deft_llm.motion.flow import FlowEstimator

Method = Annotated[
    str | None, typer.Option(help="lk (the default), dis, tvl1, farneback or srflow")
]
Weights = Annotated[
    Path | None, typer.Option(help="folder of a trained network; the method is srflow then")
]


def flow(
    a: Annotated[Path, typer.Argument(help="the first image")],
    b: Annotated[Path, typer.Argument(help="the second image, of the same size")],
    out: Annotated[Path, typer.Option("-o", "--out", help=".flo, .pfm or KITTI .png to write")],
    method: Method = None,
    weights: Weights = None,
    scale: Annotated[
        float | None, typer.Option(help="px of full colour; default: the largest motion")
    ] = None,
) -> None:
    """Estimate the motion from one image to another; write it, and a colour picture beside it."""
    import numpy as np

    from deft_llm.files import write_bytes
    from deft_llm.media.draw import middlebury_colours
    from deft_llm.media.pictures import read_images
    from deft_llm.motion.flow_files import check_writable, write_flow
    from deft_llm.viz.overlay import encode_png

    # Before the estimation, which can take long with a network.
    check_writable(out)
    picture = out.with_name(f"{out.stem}.colour.png")
    for file in (out, picture):
        check_output(file)
        refuse_input("-o", file, (a, b))
    if scale is not None and not scale > 0:
        raise UserError(f"--scale {scale:g}: expected px above 0")
    motion = _estimator(method, weights)(*read_images(a, b))
    write_flow(out, motion)
    write_bytes(picture, encode_png(middlebury_colours(motion, scale)))
    # px of the images as they are; nothing was scaled.
    length = np.hypot(*motion)
    show("motion", f"mean {length.mean():.3f} px · largest {length.max():.3f} px")
    show("flow", out)
    show("picture", picture)


def flow_score(
    folder: Annotated[Path, typer.Argument(help="dataset in SRFlow's layout")],
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    method: Method = None,
    weights: Weights = None,
    json_file: JsonFile = None,
) -> None:
    """Score an estimator on pairs with exact flow: endpoint error (EPE) by place and motion."""
    from deft_llm.evaluation.flow.folder import score_folder
    from deft_llm.metrics.figures import report

    log_progress()
    report(score_folder(folder, split, _estimator(method, weights)), json_file)


def _estimator(method: str | None, weights: Path | None) -> FlowEstimator:
    from deft_llm.motion.flow import flow_estimator

    if weights is None:
        # A classical method, so that nothing has to be trained or downloaded first.
        return flow_estimator(method or "lk")
    if method not in (None, "srflow"):
        raise UserError(f"--weights: of srflow, a trained network; {method!r} has none")
    return flow_estimator("srflow", folder=weights)
