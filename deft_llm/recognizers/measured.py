"""The answer of a trained network about one measured clip, as a user brings it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.data.features import Features, FeatureSizes, pack
from deft_llm.data.inputs import INPUTS, source_of
from deft_llm.data.raw_frames import RAW_SIDE, key_frames, landmarks, sub_clips
from deft_llm.data.sources import FRAMES_SIDE
from deft_llm.motion.measure import Measurement
from deft_llm.recognizers.base import Inputs, Recognizer


def raw_key_frames(measurement: Measurement) -> NDArray[np.float16]:
    """The key frames of a measured clip, (3, 3, S, S); see ``data/raw_frames.py``.

    Raises:
        UserError: If the apex is not after the onset.
    """
    aligned = measurement.evened or measurement.aligned
    return key_frames(aligned, measurement.interval, RAW_SIDE)


def features_for(measurement: Measurement, inputs: tuple[str, ...]) -> Features:
    """The features that these inputs are made from, and no others that a clip may be too short for.

    Raises:
        UserError: If the clip has too few frames, or no apex after its onset, and they need it.
    """
    wanted = {feature for name in inputs for feature in INPUTS[name].sources}
    # 0 omits the frames, which take more space than all else.
    made = pack(measurement, FeatureSizes(frames=FRAMES_SIDE if "frames" in wanted else 0))
    aligned = measurement.evened or measurement.aligned
    if "sub_clips" in wanted:
        made["sub_clips"] = sub_clips(aligned, measurement.interval.onset, RAW_SIDE)
    if "key_frames" in wanted:
        made["key_frames"] = raw_key_frames(measurement)
    if "landmarks" in wanted:
        made["landmarks"] = landmarks(aligned)
    return made


def inputs_for(network: Recognizer, measurement: Measurement) -> Inputs:
    """A network's inputs of one clip, (1, ...) each.

    Raises:
        UserError: As :func:`features_for`, or if onset and apex are the same picture.
    """
    features = features_for(measurement, network.inputs)
    made = {}
    for name in network.inputs:
        feature, make = source_of(name, features, measurement.aligned.name)
        made[name] = torch.from_numpy(np.array(make(features[feature][None], network.side)))
    return made


def answer(network: Recognizer, inputs: Inputs) -> NDArray[np.float64]:
    """Probabilities (C,) of the classes that the network was trained on, of :func:`inputs_for`."""
    with torch.no_grad():
        return np.asarray(network(inputs)[0].double().softmax(0).numpy(), np.float64)
