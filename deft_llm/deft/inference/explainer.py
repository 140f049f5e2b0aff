"""Explain a measured clip and answer questions about it.

Label likelihoods, weighed with published codings of the AUs (``codings.py``), give the class. The
emotion and the AUs come from a structured answer that is generated with that class fixed and that
may name only AUs which the measured motion speaks for; the words are then written from the evidence
(``wording.py``). If nothing moved, or the motion is larger than any the model has learned from, no
emotion is named and the language model does not run.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS
from deft_llm.clip import Explanation, status_line
from deft_llm.data.features import Features, FeatureSizes, pack
from deft_llm.deft.inference import tools, wording
from deft_llm.deft.inference.adapted import model_path, reader_path
from deft_llm.deft.inference.answer import Answer
from deft_llm.deft.inference.calibration import LABEL_SETS, Calibration
from deft_llm.deft.inference.codings import Codings
from deft_llm.deft.inference.conversation import (
    HALF_A_LETTER,
    check_request,
    draw_tokens,
    fitting_prompt,
)
from deft_llm.deft.inference.engine import execute
from deft_llm.deft.inference.grammar import (
    AuLimits,
    StructuredAnswerGrammar,
    StructuredAnswerLogits,
)
from deft_llm.deft.inference.judging import macro_expression, not_judged, nothing_seen
from deft_llm.deft.inference.loading import end_ids, load_model
from deft_llm.deft.inference.replies import reply
from deft_llm.deft.inference.said import Seen
from deft_llm.deft.inference.scoring import Answers, label_log_likelihoods
from deft_llm.deft.inference.sight import Weighed
from deft_llm.deft.inference.verdicts import au_limits
from deft_llm.deft.inference.verifier import SAMPLED, best_of
from deft_llm.deft.modeling_deft import CLIP_INPUTS, DeftForConditionalGeneration
from deft_llm.deft.processing_deft import CLIP_TOKEN, DeftProcessor
from deft_llm.motion.evidence import measured_evidence, moved_aus
from deft_llm.motion.measure import Measurement
from deft_llm.queries.findings import Findings
from deft_llm.queries.frame_scores import FrameScores
from deft_llm.queries.query import Query
from deft_llm.queries.understand import understand_turns
from deft_llm.resources import EMBEDDED

MAX_NEW_TOKENS = 480
# A language model trained on the instruction data alone has a vocabulary of some thousand pieces,
# and knows no question but theirs; a pretrained one has learned to talk.
_TALKS = 20_000
_REMEMBERED = 20  # earlier questions that a short one may refer to


# Enough for every AU that can be named, even if each byte is a token.
_MOST_CHOICES = 480
# The start of a structured answer: its emotion and its list of AUs.
_CHOICES = re.compile(r'\s*\{"class": "[^"]*", "emotion": "([^"]*)", "aus": (\[[^\]]*\])')


class Explainer:
    """A trained DEFT-LLM with its processor."""

    def __init__(
        self,
        model: DeftForConditionalGeneration,
        processor: DeftProcessor,
        calibration: Calibration | None = None,
        reader: FrameScores | None = None,
    ) -> None:
        """Put a model to use.

        Args:
            model: The model.
            processor: Its processor.
            calibration: Temperatures of the probabilities, and the weight of codings.
            reader: What reads the questions; None for the package's small network.
        """
        self.model, self.processor, self.reader = model.eval(), processor, reader
        self.calibration = calibration or Calibration()
        self._in_hand: tuple[Measurement, tuple[str, ...], dict[str, Tensor]] | None = None
        self._heard: tuple[Measurement, tuple[str, ...], Answers] | None = None
        self._explained: tuple[Measurement, tuple[str, ...], int, Explanation] | None = None
        config = model.config
        self.codings = Codings(config.aus)
        self.sizes = FeatureSizes(
            config.structure_size, config.texture_size, config.texture_frames, config.map_size
        )

    @classmethod
    def load(cls, folder: str | Path = EMBEDDED) -> Explainer:
        """Read a checkpoint folder.

        Args:
            folder: The folder; "embedded" is the checkpoint that ships with the package, "smollm2"
                a larger language model (``adapted.model_path``).

        Raises:
            UserError: If the folder or one of its files is missing or damaged.
        """
        name, folder = folder, model_path(folder)
        reads = reader_path(name)
        reader = None
        if reads is not None:
            # Imported late: it loads peft, which no other model needs.
            from deft_llm.queries.language_model import load_reader

            reader = load_reader(reads)
        return cls(*load_model(folder), Calibration.load(folder), reader)

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

    def _answered(self, measurement: Measurement, ablate: tuple[str, ...]) -> Answers:
        """Likelihoods and head outputs of a clip; the last clip's are kept."""
        kept = self._heard
        if kept is None or kept[0] is not measurement or kept[1] != ablate:
            kept = (measurement, ablate, self.answers(self._tokens(measurement, ablate), False))
            self._heard = kept
        return kept[2]

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        return end_ids(self.model, self.processor)

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
        aus: Sequence[AuLimits] = (AuLimits(),),
        **options: Any,
    ) -> list[str]:
        """Answers to the same conversation about each clip, greedy unless the options say else.

        Args:
            tokens: From ``encode``, B clips.
            messages: Chat so far, with ``<clip>`` in the first user turn.
            grammar: Allow only a well-formed structured answer.
            label: Class that the answer must name, if ``grammar`` is on; empty for any.
            aus: Limits of the AUs that the answers name, if ``grammar`` is on.
            **options: For ``generate``.

        Returns:
            B answers.
        """
        clips = len(next(iter(tokens.values())))
        prompt = self.processor.chat(messages).replace(CLIP_TOKEN, self.processor.span)
        inputs = self.processor([prompt] * clips).to(self.model.device)
        length = inputs["input_ids"].shape[1]
        bound = [StructuredAnswerLogits(self.grammar, length, label, aus)] if grammar else []
        written = self.model.generate(
            **inputs,
            expert_tokens=tokens,
            logits_processor=LogitsProcessorList(bound),
            **{"do_sample": False, "max_new_tokens": MAX_NEW_TOKENS, **options},
        )
        new = written[:, length:]
        return self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)

    def likelihoods(self, tokens: dict[str, Tensor], label_set: str) -> Tensor:
        """Scores (B, L) of a set in ``calibration.LABEL_SETS`` for B encoded clips."""
        return self.label_scores(tokens, *LABEL_SETS[label_set], label_set)

    @torch.inference_mode()
    def label_scores(
        self, tokens: dict[str, Tensor], kind: str, labels: Sequence[str], label_set: str
    ) -> Tensor:
        """Scores (B, L) of labels: log-likelihoods, and what codings say of the clips' AUs.

        Args:
            tokens: From ``encode``, B clips.
            kind: The question that they answer.
            labels: The labels.
            label_set: The set in ``calibration.LABEL_SETS`` whose weight of codings counts.
        """
        question = self.processor.prompts[kind]
        found = label_log_likelihoods(self.model, self.processor, tokens, question, labels)
        weight = self.calibration.codings.get(label_set, 0.0)
        if not weight or not self.codings.know(labels):
            return found
        aus = self.model.heads(tokens)[1].sigmoid()
        return found + weight * self.codings.log_shares(labels, aus).to(found)

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
            grammar: Write it as ``explain`` does: well-formed, and within what the AU head is sure
                of (``verdicts.py``).
        """
        likelihoods = self.likelihoods(tokens, "coarse")
        emotion, aus = self.model.heads(tokens)
        probabilities = aus.sigmoid()
        texts = [""] * len(likelihoods)
        if write:
            limits = [au_limits(row, self.model.config.aus) for row in probabilities]
            texts = self.structured_answers(tokens, grammar, aus=limits)
        return Answers(likelihoods, texts, probabilities, emotion.softmax(-1))

    def structured_answers(
        self,
        tokens: dict[str, Tensor],
        grammar: bool = False,
        label: str = "",
        aus: Sequence[AuLimits] = (AuLimits(),),
        **options: Any,
    ) -> list[str]:
        """Structured answers about B encoded clips; arguments as in ``generate``."""
        asked = [
            {"role": "user", "content": CLIP_TOKEN + self.processor.prompts["structured_answer"]}
        ]
        return self.generate(tokens, asked, grammar, label, aus, **options)

    def explain(
        self, measurement: Measurement, ablate: tuple[str, ...] = (), samples: int = 0
    ) -> Explanation:
        """Explain one measured clip.

        Args:
            measurement: The clip.
            ablate: Experts to ablate.
            samples: Answers to sample beside the likeliest one, to take the one that the
                measurement bears out best; 0 takes the likeliest.
        """
        kept = self._explained
        if kept is None or kept[0] is not measurement or kept[1:3] != (ablate, samples):
            kept = (measurement, ablate, samples, self._explain(measurement, ablate, samples))
            self._explained = kept
        return kept[3]

    def _explain(
        self, measurement: Measurement, ablate: tuple[str, ...], samples: int
    ) -> Explanation:
        if silence := nothing_seen(measurement):
            return Explanation(None, {}, {}, (), remarks=silence)
        table, remarks = measurement.table_apex, measurement.remarks
        evidence = tuple(sorted(measured_evidence(table), key=lambda row: -row.magnitude))
        if reason := not_judged(measurement):
            words, remarks = wording.description(evidence), (reason, *remarks)
            return Explanation(None, {}, {}, evidence, rationale=words, remarks=remarks)
        remarks = (*macro_expression(measurement), *remarks)
        started = time.perf_counter()
        tokens = self._tokens(measurement, ablate)
        answered = self._answered(measurement, ablate)
        probabilities = self.calibration.probabilities("coarse", answered.log_likelihoods[0])
        by_class = dict(zip(COARSE_LABELS, probabilities.tolist(), strict=True))
        best = max(by_class, key=by_class.__getitem__)
        # Fix the class first: generated freely, the answer could argue for another class.
        limits = au_limits(answered.au_probabilities[0], self.model.config.aus, moved_aus(table))
        told = None
        if samples:  # whole answers: their reasons are judged as well
            told, raw = self._best(tokens, best, limits, Seen(table), samples)
        else:
            raw = self._choices(tokens, best, limits)
        emotion, named = _chosen(raw)
        aus = {code: self._au_probability(answered, code) for code in named}
        found = wording.explained(evidence, by_class, emotion, aus, remarks)
        seconds = {"answer": time.perf_counter() - started}
        return replace(found, raw=raw, sampled=told, seconds=seconds)

    def _best(
        self, tokens: dict[str, Tensor], label: str, aus: AuLimits, seen: Seen, samples: int
    ) -> tuple[dict[str, Any], str]:
        """What to tell of the samples, and the best of them and the likeliest answer."""
        likeliest = self.structured_answers(tokens, True, label, [aus])
        # The same clip gets the same answer.
        with torch.random.fork_rng():
            torch.manual_seed(0)
            options = {"num_return_sequences": samples, **SAMPLED}
            drawn = self.structured_answers(tokens, True, label, [aus], **options)
        best, rewards = best_of([*likeliest, *drawn], seen)
        told = {
            "samples": samples,
            "reward": rewards[best],
            "reward_of_likeliest": rewards[0],
            "taken": "the likeliest answer" if best == 0 else "a sample",
        }
        return told, [*likeliest, *drawn][best]

    @torch.inference_mode()
    def _choices(self, tokens: dict[str, Tensor], label: str, aus: AuLimits) -> str:
        """The structured answer of a class as far as its emotion and its AUs."""
        asked = CLIP_TOKEN + self.processor.prompts["structured_answer"]
        prompt = self.processor.chat([{"role": "user", "content": asked}])
        inputs = self.processor([prompt.replace(CLIP_TOKEN, self.processor.span)])
        inputs = inputs.to(self.model.device)
        length = inputs["input_ids"].shape[1]
        bound = StructuredAnswerLogits(self.grammar, length, label, [aus])

        class PastAus(StoppingCriteria):
            def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
                done = [bound.past_aus(row) for row in input_ids[:, length:].tolist()]
                return torch.tensor(done, device=input_ids.device)

        written = self.model.generate(
            **inputs,
            expert_tokens=tokens,
            do_sample=False,
            logits_processor=LogitsProcessorList([bound]),
            stopping_criteria=StoppingCriteriaList([PastAus()]),
            max_new_tokens=_MOST_CHOICES,
        )
        return self.processor.tokenizer.decode(written[0, length:], skip_special_tokens=True)

    def weigh(self, measurement: Measurement, ablate: tuple[str, ...] = ()) -> Weighed | None:
        """What the heads make of a clip, whether or not it moved; None if it is not judged."""
        if not_judged(measurement):
            return None
        answered = self._answered(measurement, ablate)
        classes = self.calibration.probabilities("coarse", answered.log_likelihoods[0])
        config = self.model.config
        rows = answered.au_probabilities[0].tolist()
        return Weighed(
            dict(zip(COARSE_LABELS, classes.tolist(), strict=True)),
            dict(zip(config.emotions, answered.emotion_probabilities[0].tolist(), strict=True)),
            {au: (left, right) for au, (left, right) in zip(config.aus, rows, strict=True)},
        )

    def look(
        self,
        query: Query,
        measurement: Measurement,
        ablate: tuple[str, ...] = (),
        samples: int = 0,
    ) -> Findings:
        """Execute a query on a clip; arguments as in ``answer``."""
        return execute(
            query,
            measurement,
            lambda: self.explain(measurement, ablate, samples),
            lambda: self.weigh(measurement, ablate),
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

    def answer(
        self,
        measurement: Measurement,
        turns: Sequence[tuple[str, str]],
        question: str,
        temperature: float = 0.0,
        ablate: tuple[str, ...] = (),
        samples: int = 0,
    ) -> Answer:
        """Answer a question about a clip from its measurement and its explanation.

        The question becomes a query (``queries``), which the engine executes; no number and no yes
        or no is the language model's. A language model that has learned to call tools is asked for
        the query of a question that is not understood otherwise.

        Args:
            measurement: The measured clip.
            turns: Earlier (question, answer) pairs, to which a short question refers.
            question: The question.
            temperature: For the language model.
            ablate: Experts to ablate.
            samples: As in ``explain``.

        Raises:
            UserError: If the question is empty or too long, the temperature is negative, or an
                expert's name is unknown.
        """
        check_request(question, temperature, ablate)
        asked = [asked for asked, _ in turns[-_REMEMBERED:]]
        query = understand_turns([*asked, question], self.reader)
        if query == Query("unknown") and self.model.config.text_config.vocab_size >= _TALKS:
            query = self._called(measurement, turns, question, temperature, ablate) or query
        found = self.look(query, measurement, ablate, samples)
        return Answer(reply(found, question), found)

    def _called(
        self,
        measurement: Measurement,
        turns: Sequence[tuple[str, str]],
        question: str,
        temperature: float,
        ablate: tuple[str, ...],
    ) -> Query | None:
        """The query that the language model makes of a question by a tool call, if it does."""
        written = self.stream(measurement, turns, question, temperature, ablate, (tools.tool(),))
        return tools.called(max(written, key=len, default=""))

    @torch.inference_mode()
    def stream(
        self,
        measurement: Measurement,
        turns: Sequence[tuple[str, str]],
        question: str,
        temperature: float = 0.0,
        ablate: tuple[str, ...] = (),
        offered: Sequence[dict[str, Any]] = (),
    ) -> Iterator[str]:
        """Stream what the language model itself writes about a clip, unchecked.

        If nothing moved in the clip, the answer states that. If the conversation exceeds the
        language model's context, the oldest turns are dropped.

        Args:
            measurement: The measured clip; consecutive questions reuse its expert tokens.
            turns: Earlier (question, answer) pairs.
            question: The new question.
            temperature: 0 takes the likeliest token; above 0, tokens are sampled (torch's
                generator).
            ablate: Experts to ablate.
            offered: Schemas of tools that it may call.

        Yields:
            The answer so far, longer each time.

        Raises:
            UserError: If the question is empty or too long, the temperature is negative, or an
                expert's name is unknown.
        """
        check_request(question, temperature, ablate)
        if silence := nothing_seen(measurement):
            yield status_line(silence)
            return
        limit = self.model.config.text_config.max_position_embeddings
        prompt = fitting_prompt(self.processor, turns, question, limit, MAX_NEW_TOKENS, offered)
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


def _chosen(text: str) -> tuple[str, tuple[str, ...]]:
    """Emotion and AUs of a structured answer that was written under the grammar."""
    found = _CHOICES.match(text)
    assert found, f"the grammar allowed {text!r}"
    return found[1], facs.sort_aus(json.loads(found[2]))
