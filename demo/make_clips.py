"""Render the demo's example clips and scans: python demo/make_clips.py.

Their faces are in no training set.
"""

from pathlib import Path

import numpy as np

from deft_llm.media.video import write_video
from deft_llm.simulator.own_head.head import OwnHead
from deft_llm.simulator.scans import Scanner, Sitter
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.simulator.scene.clips import draw_spec, render_clip
from deft_llm.simulator.scene.distractors import Distractor
from deft_llm.simulator.scene.performance import Blink, Curve

CLIPS = {
    "01_surprise": (101, "surprise", ("1", "2", "5")),
    "02_happiness": (102, "happiness", ("6", "12")),
    "03_disgust": (103, "disgust", ("4", "7")),
    "04_nothing": (104, None, ()),
    "05_sadness": (105, "sadness", ("1", "15")),
    "06_anger": (106, "anger", ("4", "5", "23")),
    "07_fear": (107, "fear", ("1", "2", "4", "20")),
    "08_contempt": (108, "contempt", ("L12", "L14")),
}
SMILE, SURPRISE = {"6": 0.9, "12": 1.0, "25": 0.6}, {"1": 1.0, "2": 1.0, "5": 0.9, "26": 0.9}
FIRST_IDENTITY = 950_000  # apart from the training and the benchmark faces


def long_spec() -> ClipSpec:
    """Seven seconds at 50 frames per second: raised brows, a blink, a smile, lowered brows."""
    fps = 50.0
    curve = Curve(frames=350, onset=50, apex=58, offset=69, onset_skew=1.0, offset_skew=1.0)
    smile = Distractor("macro", ("6", "12"), (0.16, 0.16), start=2.0, duration=0.4)
    frown = Distractor("macro", ("4",), (0.3,), start=4.7, duration=0.4)
    return draw_spec(
        109,
        FIRST_IDENTITY + len(CLIPS),
        emotion="surprise",
        aus=("1", "2", "5"),
        peak_px=2.0,
        fps=fps,
        curve=curve,
        blink=Blink(start=1.45, duration=0.2, depth=(0.95, 0.95)),
        movements=(smile, frown),
    )


def write_scans(folder: Path) -> None:
    """A smile in 3D, and a surprise that comes and goes as a 4D sequence of depth maps.

    Args:
        folder: Exists already.
    """
    sitter, fine, coarse = Sitter.of(OwnHead(), FIRST_IDENTITY + 11), Scanner(1.8), Scanner(2.4)
    smile = sitter.scan(SMILE, fine)
    points = smile.vertices.round(2)
    np.savez_compressed(folder / "smile.npz", points=points, triangles=smile.triangles)
    depth = []
    for share in np.sin(np.linspace(0, np.pi, 9)):
        activations = {au: float(share) * level for au, level in SURPRISE.items()}
        z = sitter.range_image(activations, coarse)[0][..., 2]
        # Distance from a camera half a metre away; 0 is nothing.
        depth.append(np.nan_to_num(500 - z, nan=0.0).round(2))
    frames = np.stack(depth).astype(np.float32)
    np.savez_compressed(folder / "surprise_4d.npz", depth=frames, pitch=coarse.pitch)


def main() -> None:
    """Write the clips beside this file; those that are there already stay as they are."""
    folder = Path(__file__).resolve().parent / "clips"
    (folder / "long").mkdir(parents=True, exist_ok=True)
    specs = {folder / "long" / "surprise_blink_smile_frown.mp4": long_spec()}
    for i, (name, (seed, emotion, aus)) in enumerate(CLIPS.items()):
        specs[folder / f"{name}.mp4"] = draw_spec(
            seed, FIRST_IDENTITY + i, emotion=emotion, aus=aus, peak_px=2.0, fps=90.0, blink=None
        )
    for path, spec in specs.items():
        if path.exists():
            continue
        write_video(path, render_clip(spec).clip.frames, spec.fps)
        print(path)
    if not (folder / "scans").exists():
        (folder / "scans").mkdir()
        write_scans(folder / "scans")
        print(folder / "scans")


if __name__ == "__main__":
    main()
