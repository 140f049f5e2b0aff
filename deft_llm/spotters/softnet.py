"""SOFTNet and MEAN: shallow networks that judge every frame by the flow of a short window.

Liong et al., "Shallow optical flow three-stream CNN for macro- and micro-expression spotting from
long videos" (ICIP 2021, arXiv 2106.06489), and "Spot-then-recognize: a micro-expression analysis
network for seamless evaluation of long videos" (2023, arXiv 2209.06489). Baselines: each fold
trains one. Layers, losses, optimizers and epochs are those of the public code; its weights begin as
Keras's do, and so do these.

A window that meets an expression is labelled 1, any other 0, and the network gives that number;
averaged over the length of an expression, its peaks above a share of the way from the video's mean
to its maximum are found. MEAN learns to spot first; its streams are then frozen and a second branch
learns the emotion, which the windows before a peak vote on.

Ours: a window's score stands at its middle, where the public code has it at its beginning and finds
everything early; MEAN's emotions are learned from the windows that begin about the onset, as it is
asked later, where the public code learns them from the flow of onset to apex; at most ``MOST``
windows train a network, so that a large corpus fits in memory.

N windows, T frames; pictures are those of ``motion.flow_windows``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import set_seed
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from tqdm import tqdm

from deft_llm import facs
from deft_llm.clip import Expression
from deft_llm.data.long_videos import CodedVideo
from deft_llm.errors import UserError
from deft_llm.motion.flow_windows import CHANNELS, SIDE, Bytes, frames_apart, mirrored
from deft_llm.spotters.decoding import fixed
from deft_llm.spotters.hysteresis import expressions
from deft_llm.spotters.priors import half_length

Name = Literal["softnet", "mean"]
Pictures = Callable[[CodedVideo], Bytes]
"""The windows of a video, uint8 (T, 3, 42, 42)."""
Floats = NDArray[np.float32]

EMOTIONS = facs.SCHEMES["4"]
MOST = 50_000
EPOCHS, EMOTION_EPOCHS = 10, 100
_COPIES = 4  # of a window with an expression, for SOFTNet
_NEAR_ONSET = 2  # frames between an onset and a window that an emotion is learned from
_BATCH = 512  # windows that are judged at a time; changes memory only


class SoftNet(nn.Module):
    """Three streams of one convolution each, 3, 5 and 8 channels wide, then two full layers.

    314,817 parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 5, 8)
        self.streams = nn.ModuleList(nn.Conv2d(1, width, 5, padding=2) for width in widths)
        self.hidden = nn.Linear(sum(widths) * 7 * 7, 400)
        self.score = nn.Linear(400, 1)
        _as_keras(self)

    def forward(self, windows: Tensor) -> Tensor:
        """Score (N,) of windows (N, 3, 42, 42), 0 to 1 each."""
        streams = zip(self.streams, windows.split(1, 1), strict=True)
        joined = torch.cat([F.max_pool2d(conv(x).relu(), 3) for conv, x in streams], 1)
        hidden = self.hidden(F.max_pool2d(joined, 2).flatten(1)).relu()
        score: Tensor = self.score(hidden).squeeze(1)
        return score


class Mean(nn.Module):
    """Three streams with batch norm, and one more convolution for each task.

    3,593 parameters that spot, and 2,808 and 393 an emotion more that recognize.

    Args:
        emotions: Number of emotions.
    """

    def __init__(self, emotions: int = len(EMOTIONS)) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(1, width, 5, padding=2),
                nn.ReLU(),
                nn.BatchNorm2d(width, eps=1e-3, momentum=0.01),
                nn.MaxPool2d(3),
                nn.Dropout(0.3),
            )
            for width in (3, 3, 8)
        )
        self.spot, self.recognize = (self._branch(outputs) for outputs in (1, emotions))
        _as_keras(self)

    @staticmethod
    def _branch(outputs: int) -> nn.Sequential:
        layers = nn.Conv2d(14, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(8 * 7 * 7, outputs))

    def features(self, windows: Tensor) -> Tensor:
        """What both branches read (N, 14, 14, 14), of windows (N, 3, 42, 42), 0 to 1 each."""
        streams = zip(self.streams, windows.split(1, 1), strict=True)
        return torch.cat([stream(x) for stream, x in streams], 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Score (N,) of windows."""
        score: Tensor = self.spot(self.features(windows)).squeeze(1)
        return score

    def penalty(self) -> Tensor:
        """The decay of the convolutions that spot: .001 of the streams', .1 of the branch's."""
        return 0.001 * sum(map(_of_first, self.streams), torch.zeros(())) + _decay(self.spot)


@dataclass(frozen=True)
class WindowSpotter:
    """A trained network with all that it needs to search a video.

    Attributes:
        network: In evaluation mode.
        half: Half the length of a typical expression of its training subjects, frames.
    """

    network: SoftNet | Mean
    half: int

    @torch.no_grad()
    def find(self, video: CodedVideo, pictures: Bytes) -> tuple[Expression, ...]:
        """What shows in a video, in order of time; MEAN names emotions.

        Args:
            video: The video.
            pictures: Its windows.
        """
        apart = frames_apart(video.track.timestamps)
        score, votes = np.zeros(len(pictures)), np.zeros((len(pictures), len(EMOTIONS)))
        seen = np.flatnonzero(pictures.any((1, 2, 3)))
        for rows in (seen[start : start + _BATCH] for start in range(0, len(seen), _BATCH)):
            windows = _floats(pictures[rows])
            score[rows] = self.network(windows).numpy()
            if isinstance(self.network, Mean):
                logits = self.network.recognize(self.network.features(windows))
                votes[rows] = F.one_hot(logits.argmax(1), len(EMOTIONS)).numpy()
        # At the middle of its window, and nothing where no window has its middle.
        curve = np.zeros(len(score))
        curve[apart // 2 :] = score[: len(score) - apart // 2]
        found = expressions(curve, fixed(curve, self.half))
        return tuple(self._named(each, votes, apart // 2) for each in found)

    def _named(self, found: Expression, votes: NDArray[np.float64], shift: int) -> Expression:
        if isinstance(self.network, SoftNet):
            return found
        peak = max(found.interval.apex - shift, 0)
        told = votes[max(peak - self.half, 0) : peak + 1].sum(0)
        emotion = EMOTIONS[int(told.argmax())] if told.any() else None
        return Expression(found.interval, emotion, found.score)


def train_on_windows(
    name: Name, videos: Sequence[CodedVideo], pictures: Pictures, seed: int = 0
) -> WindowSpotter:
    """Train SOFTNet or MEAN.

    Args:
        name: Which.
        videos: Videos of the training subjects.
        pictures: Their windows.
        seed: Seed of initial weights, of the windows without an expression, and of their order.

    Raises:
        UserError: If no window shows an expression.
    """
    set_seed(seed)
    rng = np.random.default_rng([seed, 11])  # 11: a stream of its own
    taken = _chosen(name, videos, pictures, rng)
    if not any((labels > 0).any() for _, labels in taken):
        raise UserError(
            f"{name}: none of {len(videos)} training videos shows an expression and the face in "
            "it; give more videos"
        )
    windows = np.concatenate([chosen for chosen, _ in taken])
    labels = np.concatenate([labels for _, labels in taken])
    half = half_length(each for video in videos for each in video.coded)
    network = SoftNet() if name == "softnet" else Mean()
    if isinstance(network, SoftNet):
        windows, labels = _multiplied(windows, labels, rng)
        optimizer: torch.optim.Optimizer = torch.optim.SGD(network.parameters(), lr=5e-4)
        for x, y in _batches(windows, labels, 12, EPOCHS, rng, name):
            _step(optimizer, F.mse_loss(network(x), y))
    else:
        learned = [*network.streams.parameters(), *network.spot.parameters()]
        optimizer = torch.optim.Adam(learned, lr=5e-4, eps=1e-7)
        for x, y in _batches(windows, labels, 32, EPOCHS, rng, name):
            _step(optimizer, F.mse_loss(network(x), y) + network.penalty())
        _learn_emotions(network, videos, pictures, rng)
    return WindowSpotter(network.eval(), half)


def window_labels(video: CodedVideo) -> NDArray[np.float32]:
    """1 for each frame (T,) whose window meets an expression, else 0."""
    apart, labels = frames_apart(video.track.timestamps), np.zeros(len(video.track), np.float32)
    for each in video.coded:
        labels[max(each.interval.onset - apart + 1, 0) : each.interval.offset + 1] = 1.0
    return labels


def _chosen(
    name: Name, videos: Sequence[CodedVideo], pictures: Pictures, rng: np.random.Generator
) -> list[tuple[Bytes, Floats]]:
    """Windows and labels of each video: those with an expression, and some of the others."""
    labels = [window_labels(video) for video in videos]
    with_one, without = (int(sum((each == kind).sum() for each in labels)) for kind in (1, 0))
    # As published: half of the others, or five to one.
    wanted = min(without / 2 if name == "softnet" else 5 * with_one, without)
    copies = _COPIES if name == "softnet" else 1
    fit = min(1.0, MOST / max(copies * with_one + wanted, 1))
    shares = np.array([fit * wanted / max(without, 1), fit], np.float32)
    taken = []
    for video, own in zip(videos, labels, strict=True):
        given = pictures(video)
        known = given.any((1, 2, 3)) & (rng.random(len(own)) < shares[own.astype(int)])
        taken.append((given[known], own[known]))
    return taken


def _multiplied(windows: Bytes, labels: Floats, rng: np.random.Generator) -> tuple[Bytes, Floats]:
    """Windows with an expression flipped, blurred and with noise as well, as published."""
    shown = windows[labels == 1]
    # Seven pixels wide, which is 1.4 SD in OpenCV, and a variance of .01.
    blurred = gaussian_filter(shown, (0, 0, 1.4, 1.4))
    noise = np.float32(25.5) * rng.standard_normal(shown.shape, np.float32)
    noisy = np.clip(shown + noise, 0, 255).astype(np.uint8)
    more = np.concatenate([mirrored(shown), blurred, noisy])
    return np.concatenate([windows, more]), np.concatenate([labels, np.ones(len(more), np.float32)])


def _learn_emotions(
    network: Mean, videos: Sequence[CodedVideo], pictures: Pictures, rng: np.random.Generator
) -> None:
    """The second branch, on top of streams that stay as they are."""
    windows, labels = [np.zeros((0, len(CHANNELS), SIDE, SIDE), np.uint8)], []
    for video in videos:
        own = pictures(video)
        for each in video.coded:
            emotion = facs.to_scheme(each.emotion, "4")
            first = max(each.interval.onset - _NEAR_ONSET, 0)
            near = own[first : each.interval.onset + _NEAR_ONSET + 1]
            near = near[near.any((1, 2, 3))]
            if emotion is not None:
                windows.append(near)
                labels += [EMOTIONS.index(emotion)] * len(near)
    if not labels:
        return  # no emotion is coded: the branch stays as it began, and nobody can score it
    network.eval()  # frozen, batch norm too
    optimizer = torch.optim.Adam(network.recognize.parameters(), lr=5e-4, eps=1e-7)
    known = np.asarray(labels, np.float32)
    shown = np.concatenate(windows)
    for x, y in _batches(shown, known, 32, EMOTION_EPOCHS, rng, "mean, emotions"):
        with torch.no_grad():
            features = network.features(x)
        network.recognize.train()
        loss = F.cross_entropy(network.recognize(features), y.long())
        _step(optimizer, loss + _decay(network.recognize))


def _decay(branch: nn.Module) -> Tensor:
    return 0.1 * _of_first(branch)


def _of_first(layers: nn.Module) -> Tensor:
    """Sum of the squared weights of a block's convolution, its first layer."""
    convolution = next(layers.children())
    assert isinstance(convolution, nn.Conv2d)
    return convolution.weight.square().sum()


def _batches(
    windows: Bytes, labels: Floats, size: int, epochs: int, rng: np.random.Generator, name: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows and labels, all of them once an epoch, in another order each time."""
    for _ in tqdm(range(epochs), desc=name, unit="epoch", leave=False):
        order = rng.permutation(len(windows))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield _floats(windows[rows]), torch.from_numpy(labels[rows])


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _floats(windows: Bytes) -> Tensor:
    return torch.from_numpy(windows).float() / 255


def _as_keras(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
