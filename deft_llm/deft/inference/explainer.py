"""Explain a measured clip and answer questions about it.

Label likelihoods give the class. AUs, evidence and rationale come from a structured answer that
is generated with that class fixed, so that the rationale supports the predicted class. Every claim
in the text is then checked against the measured motion, and every label that it names against the
class (``claims.py``). If nothing in the clip moved above the noise floor, no emotion is reported
and the language model does not run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import LogitsProcessorList

from deft_llm import facs, resources
from deft_llm.answers import COARSE_LABELS, NOTHING, parse_structured_answer, stated_claims
from deft_llm.clip import Explanation
from deft_llm.data.features import Features, FeatureSizes, pack
from deft_llm.deft.inference.calibration import LABEL_SETS, Calibration
from deft_llm.deft.inference.claims import contradicting, supported, unseen_aus
from deft_llm.deft.inference.conversation import (
    HALF_A_LETTER,
    check_request,
    draw_tokens,
    fitting_prompt,
)
from deft_llm.deft.inference.grammar import StructuredAnswerGrammar, StructuredAnswerLogits
from deft_llm.deft.inference.scoring import label_log_likelihoods
from deft_llm.deft.modeling_deft import CLIP_INPUTS, DeftForConditionalGeneration
from deft_llm.deft.processing_deft import CLIP_TOKEN, DeftProcessor
from deft_llm.errors import UserError
from deft_llm.motion.evidence import measured_evidence
from deft_llm.motion.measure import NO_MOTION, Measurement
from deft_llm.resources import EMBEDDED

MAX_NEW_TOKENS = 480
MACRO_PX = 6.0  # canonical px, twice the largest motion of the simulated micro-expressions


def require_whole(folder: Path) -> None:
    """Check that a checkpoint folder is complete.

    Raises:
        UserError: If a file is missing; names it.
    """
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"checkpoint {folder}: holds adapters alone; put them into their language model "
            "first: deft-llm export RUN -o DIR --merge"
        )
    index = "model.safetensors.index.json"  # of weights in several files
    weights = index if (folder / index).is_file() else "model.safetensors"
    for name in ("config.json", weights, "processor_config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise UserError(
                f"checkpoint {folder}: no {name}; expected the folder that train.py writes "
                "as final/"
            )


@dataclass
class Answers:
    """The model's outputs for a batch of clips, unchecked.

    Attributes:
        log_likelihoods: (B, L) over the label set "coarse".
        texts: Structured answers as generated.
        au_probabilities: (B, K, 2) from the AU head, left and right.
        emotion_probabilities: (B, E) from the emotion head.
    """

    log_likelihoods: Tensor
    texts: list[str]
    au_probabilities: Tensor
    emotion_probabilities: Tensor


class Explainer:
    """A trained DEFT-LLM with its processor."""

    def __init__(
        self,
        model: DeftForConditionalGeneration,
        processor: DeftProcessor,
        calibration: Calibration | None = None,
    ) -> None:
        self.model, self.processor = model.eval(), processor
        self.calibration = calibration or Calibration()
        self._in_hand: tuple[Measurement, tuple[str, ...], dict[str, Tensor]] | None = None
        config = model.config
        self.sizes = FeatureSizes(
            config.structure_size, config.texture_size, config.texture_frames, config.map_size
        )

    @classmethod
    def load(cls, folder: str | Path = EMBEDDED) -> Explainer:
        """Read a checkpoint folder.

        Args:
            folder: The folder; "embedded" is the checkpoint that ships with the package.

        Raises:
            UserError: If the folder or one of its files is missing or damaged.
        """
        folder = resources.checkpoint(folder)
        require_whole(folder)
        try:
            # float32 whatever the saved dtype, because the feature extractor gives float32 inputs.
            model = DeftForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
            processor = DeftProcessor.from_pretrained(folder)
        except (OSError, ValueError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"checkpoint {folder}: damaged ({reason[:160]}); copy or train it again"
            ) from error
        return cls(model, processor, Calibration.load(folder))

    @torch.inference_mode()
    def encode(self, clips: Sequence[Features], ablate: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """Expert tokens of some clips; ``ablate`` names the experts to ablate."""
        inputs = self.processor.feature_extractor(list(clips))
        clip = {name: inputs[name].to(self.model.device) for name in CLIP_INPUTS}
        return self.model.get_clip_features(ablate, **clip)

    def _tokens(self, measurement: Measurement, ablate: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """Expert tokens of a clip; the last clip's are kept."""
        kept = self._in_hand
        # Identity, not equality: comparing the arrays of two measurements would be slow.
        if kept is None or kept[0] is not measurement or kept[1] != ablate:
            kept = (measurement, ablate, self.encode([pack(measurement, self.sizes)], ablate))
            self._in_hand = kept
        return kept[2]

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        ids = self.model.generation_config.eos_token_id
        ids = self.processor.tokenizer.eos_token_id if ids is None else ids
        # A published model can have several: its own, and the one that its chat template writes.
        return tuple(ids) if isinstance(ids, list) else (ids,)

    @cached_property
    def grammar(self) -> StructuredAnswerGrammar:
        """Grammar of the structured answer; built on first use, as it indexes the vocabulary."""
        return StructuredAnswerGrammar(self.processor.tokenizer, self.end_ids)

    @torch.inference_mode()
    def generate(
        self,
        tokens: dict[str, Tensor],
        messages: list[dict[str, str]],
        grammar: bool = False,
        label: str = "",
        **options: Any,
    ) -> list[str]:
        """Greedy answers to the same conversation about each clip.

        Args:
            tokens: From ``encode``, B clips.
            messages: Chat so far, with ``<clip>`` in the first user turn.
            grammar: Allow only a well-formed structured answer.
            label: Class that the answer must name, if ``grammar`` is on; empty for any.
            **options: For ``generate``.

        Returns:
            B answers.
        """
        clips = len(next(iter(tokens.values())))
        prompt = self.processor.chat(messages).replace(CLIP_TOKEN, self.processor.span)
        inputs = self.processor([prompt] * clips).to(self.model.device)
        length = inputs["input_ids"].shape[1]
        bound = [StructuredAnswerLogits(self.grammar, length, label)] if grammar else []
        written = self.model.generate(
            **inputs,
            expert_tokens=tokens,
            do_sample=False,
            logits_processor=LogitsProcessorList(bound),
            **{"max_new_tokens": MAX_NEW_TOKENS, **options},
        )
        new = written[:, length:]
        return self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)

    def likelihoods(self, tokens: dict[str, Tensor], label_set: str) -> Tensor:
        """Log-likelihoods (B, L) of a set in ``calibration.LABEL_SETS`` for B encoded clips."""
        kind, labels = LABEL_SETS[label_set]
        question = self.processor.prompts[kind]
        return label_log_likelihoods(self.model, self.processor, tokens, question, labels)

    @torch.inference_mode()
    def answers(
        self,
        tokens: dict[str, Tensor],
        write: bool = True,
        grammar: bool = False,
    ) -> Answers:
        """Class likelihoods, structured answers and head outputs of a batch of clips.

        Args:
            tokens: From ``encode``, B clips.
            write: Also generate the structured answer. Its class is not fixed to the likeliest
                one, because a score of the generated text must measure the model's own choice.
            grammar: See ``generate``.
        """
        likelihoods = self.likelihoods(tokens, "coarse")
        emotion, aus = self.model.heads(tokens)
        texts = self.structured_answers(tokens, grammar) if write else [""] * len(likelihoods)
        return Answers(likelihoods, texts, aus.sigmoid(), emotion.softmax(-1))

    def structured_answers(
        self, tokens: dict[str, Tensor], grammar: bool = False, label: str = ""
    ) -> list[str]:
        """Structured answers about B encoded clips; arguments as in ``generate``."""
        asked = [
            {"role": "user", "content": CLIP_TOKEN + self.processor.prompts["structured_answer"]}
        ]
        return self.generate(tokens, asked, grammar, label)

    def explain(self, measurement: Measurement, ablate: tuple[str, ...] = ()) -> Explanation:
        """Explain one measured clip; ``ablate`` names the experts to ablate."""
        table, status = measurement.table_apex, nothing_seen(measurement)
        if status:
            return Explanation(None, {}, {}, (), status=status)
        started = time.perf_counter()
        tokens = self._tokens(measurement, ablate)
        answered = self.answers(tokens, write=False)
        probabilities = self.calibration.probabilities("coarse", answered.log_likelihoods[0])
        by_class = dict(zip(COARSE_LABELS, probabilities.tolist(), strict=True))
        best = max(by_class, key=by_class.__getitem__)
        # Fix the class first: generated freely, the answer could argue for another class.
        (text,) = self.structured_answers(tokens, grammar=True, label=best)
        record = parse_structured_answer(text)
        named = tuple(record["aus"]) if record else ()
        rationale = record["rationale"] if record else text
        claims = stated_claims(text)
        # Evidence is measured, not taken from the answer's rows; those become claims and are
        # checked.
        evidence = measured_evidence(table, named)
        return Explanation(
            emotion=None if best == NOTHING else best,
            probabilities=by_class,
            aus={code: self._au_probability(answered, code) for code in named},
            evidence=tuple(sorted(evidence, key=lambda row: -row.magnitude)),
            claims=claims,
            unsupported=tuple(claim for claim in claims if not supported(table, *claim)),
            contradicting=contradicting(rationale, best),
            unseen_aus=unseen_aus(named, rationale, table),
            rationale=rationale,
            raw=text,
            status=_remarks(measurement),
            parsed=record is not None,
            seconds={"answer": time.perf_counter() - started},
        )

    def _au_probability(self, answered: Answers, code: str) -> float:
        number = facs.au_number(code)
        # The grammar allows every AU of FACS, the head has an output for the configured ones only.
        if number not in self.model.config.aus:
            return 0.0
        row = answered.au_probabilities[0, self.model.config.aus.index(number)]
        sides = facs.au_sides(code)
        # The head scores both sides; a code without a side gets the likelier one's probability.
        return float(max(row[0 if side == "left" else 1] for side in sides))

    def chat(
        self, measurement: Measurement, turns: Sequence[tuple[str, str]], question: str
    ) -> str:
        """The complete greedy answer from ``stream``."""
        # Each yielded text extends the one before it, so the longest is the complete answer.
        return max(self.stream(measurement, turns, question), key=len, default="")

    @torch.inference_mode()
    def stream(
        self,
        measurement: Measurement,
        turns: Sequence[tuple[str, str]],
        question: str,
        temperature: float = 0.0,
        ablate: tuple[str, ...] = (),
    ) -> Iterator[str]:
        """Stream the answer to a question about a clip.

        If nothing moved in the clip, the answer states that. If the conversation exceeds the
        language model's context, the oldest turns are dropped.

        Args:
            measurement: The measured clip; consecutive questions reuse its expert tokens.
            turns: Earlier (question, answer) pairs.
            question: The new question.
            temperature: 0 takes the likeliest token; above 0, tokens are sampled (torch's
                generator).
            ablate: Experts to ablate.

        Yields:
            The answer so far, longer each time.

        Raises:
            UserError: If the question is empty or too long, the temperature is negative, or an
                expert's name is unknown.
        """
        check_request(question, temperature, ablate)
        if silence := nothing_seen(measurement):
            yield silence
            return
        limit = self.model.config.text_config.max_position_embeddings
        prompt = fitting_prompt(self.processor, turns, question, limit, MAX_NEW_TOKENS)
        tokens = self._tokens(measurement, ablate)
        written: list[int] = []
        for token in draw_tokens(self.model, prompt, tokens, temperature):
            if token in self.end_ids:
                return
            written.append(token)
            # Decode from the start each time: single tokens lose their spaces and can split a
            # character.
            text = self.processor.tokenizer.decode(written, skip_special_tokens=True)
            if not text.endswith(HALF_A_LETTER):
                yield text
            if len(written) == min(MAX_NEW_TOKENS, limit - prompt.shape[1]):
                return


def nothing_seen(measurement: Measurement) -> str:
    """Reason to give no reading of a clip; empty if something moved."""
    if measurement.found and measurement.table_apex.active.any():
        return ""
    seen = NO_MOTION in measurement.status
    return measurement.status if seen else f"{NO_MOTION} from onset to apex"


def _remarks(measurement: Measurement) -> str:
    """The measurement's status, plus a remark if the motion is far outside the training range."""
    largest = float(measurement.table_apex.magnitude.max())
    if largest <= MACRO_PX:
        return measurement.status
    remark = (
        f"regions moved up to {largest:.1f} px, a macro-expression: the model learned from "
        "micro-expressions of 0.3 to 3 px, so do not rely on its reading"
    )
    return remark if measurement.status == "ok" else f"{measurement.status}; {remark}"
