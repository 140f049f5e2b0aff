"""Render the demo's example clips: python demo/make_clips.py (faces that no training set holds)."""

from pathlib import Path

from deft_llm.media.video import write_video
from deft_llm.simulator.clips import draw_spec, render

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
FIRST_IDENTITY = 950_000  # apart from the training and the benchmark faces


def main() -> None:
    """Write the clips beside this file; those that are there already stay as they are."""
    folder = Path(__file__).resolve().parent / "clips"
    folder.mkdir(exist_ok=True)
    for i, (name, (seed, emotion, aus)) in enumerate(CLIPS.items()):
        path = folder / f"{name}.mp4"
        if path.exists():
            continue
        spec = draw_spec(
            seed, FIRST_IDENTITY + i, emotion=emotion, aus=aus, peak_px=2.0, fps=90.0, blink=None
        )
        write_video(path, render(spec).clip.frames, spec.fps)
        print(path)


if __name__ == "__main__":
    main()
