"""From a video to an explanation, and answers to questions about it.

The class comes from label likelihoods, AUs, evidence and rationale from generated text; every
claim in the text is then held against the measured motion. A clip in which nothing moved above
the noise floor gets no emotion: the language model is not even asked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from deft_llm import facs
from deft_llm.clip import Clip, Explanation
from deft_llm.deft.modeling_deft import CLIP_INPUTS, DeftForConditionalGeneration
from deft_llm.deft.processing_deft import CLIP_TOKEN, DeftProcessor
from deft_llm.deft.scoring import label_log_likelihoods
from deft_llm.errors import UserError
from deft_llm.media.face import align, track_faces
from deft_llm.media.video import read_clip
from deft_llm.motion.measure import NO_MOTION, Measurement, measure
from deft_llm.motion.packet import Packet, PacketSizes, pack
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.unimer.constraints import AGREED_Z, measured_evidence
from deft_llm.unimer.dialogue import COARSE_LABELS, NOTHING, parse_triple, stated_claims

MAX_NEW_TOKENS = 480
MACRO_PX = 6.0  # canonical px, twice the largest motion of the simulated micro-expressions
CLAIM_ANGLE = 45.0  # degrees between a claim and the measured motion


def supported(table: RegionTable, region: str, direction: str) -> bool:
    """Whether the measured motion of a region bears a claim out.

    The region must have moved (z >= ``AGREED_Z``), within ``CLAIM_ANGLE`` of the direction.
    """
    if region not in REGION_NAMES:
        return False
    i = REGION_NAMES.index(region)
    try:
        du, dv = facs.direction_vector(direction, facs.REGIONS[region].side)
    except UserError:
        return False
    along = float(table.u[i]) * du + float(table.v[i]) * dv
    enough = along >= math.cos(math.radians(CLAIM_ANGLE)) * float(table.magnitude[i])
    return bool(table.z[i] >= AGREED_Z and enough)


@dataclass
class Answers:
    """What the model says of a batch of clips, before any check.

    Attributes:
        labels: The pinned answers that were compared.
        log_likelihoods: (B, L) of ``labels``.
        texts: Structured answers as generated.
        au_probabilities: (B, K, 2) of the AU head, left and right.
        emotion_probabilities: (B, E) of the emotion head.
    """

    labels: tuple[str, ...]
    log_likelihoods: Tensor
    texts: list[str]
    au_probabilities: Tensor
    emotion_probabilities: Tensor


class Explainer:
    """A trained DEFT-LLM with its processor."""

    def __init__(self, model: DeftForConditionalGeneration, processor: DeftProcessor) -> None:
        self.model, self.processor = model.eval(), processor
        config = model.config
        self.sizes = PacketSizes(
            config.structure_size, config.texture_size, config.texture_frames, config.map_size
        )

    @classmethod
    def load(cls, folder: Path) -> Explainer:
        """Read a checkpoint folder.

        Raises:
            UserError: If the folder or a part of it is missing or damaged.
        """
        for name in ("config.json", "model.safetensors", "processor_config.json", "tokenizer.json"):
            if not (folder / name).is_file():
                raise UserError(
                    f"checkpoint {folder}: no {name}; expected the folder that train.py writes "
                    "as final/, or demo/checkpoint"
                )
        try:
            model = DeftForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
            return cls(model, DeftProcessor.from_pretrained(folder))
        except (OSError, ValueError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"checkpoint {folder}: damaged ({reason[:160]}); copy or train it again"
            ) from error

    @torch.inference_mode()
    def encode(self, packets: Sequence[Packet], blank: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """Expert tokens of some clips; ``blank`` names experts to leave out."""
        inputs = self.processor.feature_extractor(list(packets))
        return self.model.encode_clips(blank, **{name: inputs[name] for name in CLIP_INPUTS})

    @torch.inference_mode()
    def generate(
        self, tokens: dict[str, Tensor], messages: list[dict[str, str]], **options: Any
    ) -> list[str]:
        """Greedy answers to the same conversation about each clip.

        Args:
            tokens: From ``encode``, B clips.
            messages: Chat so far, ``<clip>`` in the first user turn.
            **options: For ``generate``.

        Returns:
            B answers.
        """
        clips = len(next(iter(tokens.values())))
        prompt = self.processor.chat(messages).replace(CLIP_TOKEN, self.processor.span)
        inputs = self.processor([prompt] * clips)
        written = self.model.generate(
            **inputs,
            expert_tokens=tokens,
            do_sample=False,
            **{"max_new_tokens": MAX_NEW_TOKENS, **options},
        )
        new = written[:, inputs["input_ids"].shape[1] :]
        return self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)

    @torch.inference_mode()
    def answers(
        self,
        packets: Sequence[Packet],
        blank: tuple[str, ...] = (),
        labels: tuple[str, ...] = COARSE_LABELS,
        write: bool = True,
    ) -> Answers:
        """Class likelihoods, structured answers and head outputs of a batch of clips."""
        tokens = self.encode(packets, blank)
        prompts = self.processor.prompts
        likelihoods = label_log_likelihoods(
            self.model, self.processor, tokens, prompts["class"], labels
        )
        emotion, aus = self.model.heads(tokens)
        asked = [{"role": "user", "content": CLIP_TOKEN + prompts["triple"]}]
        texts = self.generate(tokens, asked) if write else [""] * len(packets)
        return Answers(labels, likelihoods, texts, aus.sigmoid(), emotion.softmax(-1))

    def explain(self, measurement: Measurement) -> Explanation:
        """Explain one measured clip."""
        table = measurement.table_apex
        if not measurement.found or not table.active.any():
            seen = NO_MOTION in measurement.status
            status = measurement.status if seen else f"{NO_MOTION} from onset to apex"
            return Explanation(None, {}, {}, (), status=status)
        started = time.perf_counter()
        said = self.answers([pack(measurement, self.sizes)])
        probabilities = said.log_likelihoods[0].softmax(0).tolist()
        by_class = dict(zip(said.labels, probabilities, strict=True))
        text = said.texts[0]
        record = parse_triple(text)
        named = tuple(record["aus"]) if record else ()
        claims = stated_claims(text)
        best = max(by_class, key=by_class.__getitem__)
        evidence = measured_evidence(table, named)
        return Explanation(
            emotion=None if best == NOTHING else best,
            probabilities=by_class,
            aus={code: self._au_probability(said, code) for code in named},
            evidence=tuple(sorted(evidence, key=lambda row: -row.magnitude)),
            claims=claims,
            unsupported=tuple(claim for claim in claims if not supported(table, *claim)),
            rationale=record["rationale"] if record else text,
            raw=text,
            status=_remarks(measurement),
            parsed=record is not None,
            seconds={"answer": time.perf_counter() - started},
        )

    def _au_probability(self, said: Answers, code: str) -> float:
        number = facs.au_number(code)
        if number not in self.model.config.aus:
            return 0.0
        row = said.au_probabilities[0, self.model.config.aus.index(number)]
        sides = facs.au_sides(code)
        return float(max(row[0 if side == "left" else 1] for side in sides))

    def chat(
        self, measurement: Measurement, turns: Sequence[tuple[str, str]], question: str
    ) -> str:
        """Answer a question about a clip.

        Args:
            measurement: The clip.
            turns: Earlier (question, answer) pairs.
            question: The new question.
        """
        messages: list[dict[str, str]] = []
        for asked, answered in turns:
            messages += [{"role": "user", "content": asked}]
            messages += [{"role": "assistant", "content": answered}]
        messages.append({"role": "user", "content": question})
        messages[0] = {"role": "user", "content": CLIP_TOKEN + messages[0]["content"]}
        tokens = self.encode([pack(measurement, self.sizes)])
        return self.generate(tokens, messages)[0]


def _remarks(measurement: Measurement) -> str:
    """The measurement's status, and whether the motion is far from what training showed."""
    largest = float(measurement.table_apex.magnitude.max())
    if largest <= MACRO_PX:
        return measurement.status
    remark = (
        f"regions moved up to {largest:.1f} px, a macro-expression: the model learned from "
        "micro-expressions of 0.3 to 3 px, so do not rely on its reading"
    )
    return remark if measurement.status == "ok" else f"{measurement.status}; {remark}"


def observe(source: Path | str | Clip) -> tuple[Clip, Measurement]:
    """Read a video, find and align its face, measure its motion.

    Args:
        source: A video file, a folder of frames, or a clip.

    Returns:
        The clip and what was measured on it.

    Raises:
        UserError: If it is no video, shows no face, or is too short to show motion.
    """
    clip = source if isinstance(source, Clip) else read_clip(source)
    if len(clip) < 2:
        raise UserError(
            f"clip {clip.name}: {len(clip)} frame; expected at least 2 to see motion; "
            "give the video, or the folder of all its frames"
        )
    return clip, measure(align(clip, track_faces(clip)))
