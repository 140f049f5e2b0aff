"""Grammar for the structured answer: restricts decoding to tokens that keep it well-formed.

The answer is JSON as ``json.dumps`` writes it: class, emotion, AUs, evidence, rationale. Every
field but the rationale takes legal values only: an emotion of the class, every AU number and
every region at most once, directions that exist on the region's side. The automaton works on
bytes, so any tokenizer can be used. The allowed tokens of a state are computed on first use and
cached.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS, NOTHING, STRENGTHS, STRONGEST
from deft_llm.errors import UserError

RATIONALE_BYTES = 900  # from here on only the closing quote is allowed; rationales have 50 to 500
_STATES = 8192  # size of the caches; sets of used AUs and regions make the states many

# Bytes of the rationale: complete characters (UTF-8, RFC 3629) and escapes, then an incomplete one
# or the end of the answer. Invalid UTF-8 must be excluded, because decoders replace it together
# with neighbouring bytes, including the quotes of the JSON.
_CHARACTER = (
    rb"[\x20\x21\x23-\x5b\x5d-\x7f]",
    rb'\\["\\/bfnrt]',
    rb"\\u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]|[dD][0-7])[0-9a-fA-F]{2}",
    # Beyond U+FFFF as a pair of surrogates; one alone is no character and cannot be encoded.
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}",
    rb"[\xc2-\xdf][\x80-\xbf]",
    rb"\xe0[\xa0-\xbf][\x80-\xbf]",
    rb"\xed[\x80-\x9f][\x80-\xbf]",
    rb"[\xe1-\xec\xee\xef][\x80-\xbf]{2}",
    rb"\xf0[\x90-\xbf][\x80-\xbf]{2}",
    rb"\xf4[\x80-\x8f][\x80-\xbf]{2}",
    rb"[\xf1-\xf3][\x80-\xbf]{3}",
)
_UNFINISHED = (
    rb"\\(?:u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{0,2}|[dD](?:[0-9abAB][0-9a-fA-F]?)?)?)?",
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?",
    rb"[\xc2-\xf4]",
    rb"(?:\xe0[\xa0-\xbf]|\xed[\x80-\x9f]|[\xe1-\xec\xee\xef][\x80-\xbf])",
    rb"(?:\xf0[\x90-\xbf]|\xf4[\x80-\x8f]|[\xf1-\xf3][\x80-\xbf])[\x80-\xbf]?",
)
_TEXT = re.compile(
    b'(?:%b)*(?:(?P<part>%b)|(?P<quote>"(?P<end>})?))?'
    % (b"|".join(_CHARACTER), b"|".join(_UNFINISHED))
)


class AuLimits(NamedTuple):
    """Limits of the list of AUs.

    Attributes:
        allowed: The AU codes that may be named; None for all.
        due: AU numbers that must be named; each has an allowed code.
    """

    allowed: frozenset[str] | None = None
    due: frozenset[str] = frozenset()


_NO_AUS = AuLimits(frozenset())


class GrammarState(NamedTuple):
    """Stage of the answer.

    Attributes:
        name: "class", "emotion", "aus", "rows", "direction", "strength", "text", "close", "end".
        value: The class (at stage "class": the only one allowed, or empty for any), or the region
            whose direction comes next.
        used: AU numbers or regions written so far.
        first: Whether the list is still empty.
        aus: Limits of the list of AUs; none are allowed after it.
    """

    name: str
    value: str = ""
    used: frozenset[str] = frozenset()
    first: bool = False
    aus: AuLimits = _NO_AUS


class State(NamedTuple):
    """A stage, the bytes written of its next piece, and the bytes of the rationale so far."""

    stage: GrammarState
    written: bytes = b""
    length: int = 0


START, TEXT, END = (
    State(GrammarState("class", aus=AuLimits())),
    GrammarState("text"),
    GrammarState("end"),
)


def _emotions(label: str) -> tuple[str, ...]:
    """The emotions of a class, and the class itself for corpora without finer labels."""
    if label == NOTHING:
        return (NOTHING,)
    own = (e for e in facs.EMOTIONS if (facs.to_three(e) or "others") == label)
    return tuple(dict.fromkeys((*own, label)))


@lru_cache(maxsize=_STATES)
def options(stage: GrammarState) -> dict[bytes, GrammarState]:
    """The pieces allowed next, with the stage after each; none is a prefix of another."""
    return {text.encode(): after for text, after in _PIECES[stage.name](stage)}


_Options = Iterator[tuple[str, GrammarState]]


def _class(stage: GrammarState) -> _Options:
    for label in (stage.value,) if stage.value else COARSE_LABELS:
        after = GrammarState("emotion", label, aus=stage.aus)
        # Sentencepiece tokenizers may start an answer with a space.
        for blank in ("", " "):
            yield f'{blank}{{"class": "{label}", "emotion": "', after


def _emotion(stage: GrammarState) -> _Options:
    for emotion in _emotions(stage.value):
        yield f'{emotion}", "aus": [', GrammarState("aus", first=True, aus=stage.aus)


def _aus(stage: GrammarState) -> _Options:
    comma, allowed = _comma(stage), stage.aus.allowed
    # By number, not code: an AU may appear once, as bilateral, left or right.
    for number in (n for n in map(str, facs.ACTION_UNITS) if n not in stage.used):
        after = GrammarState("aus", used=stage.used | {number}, aus=stage.aus)
        for code in (f"{side}{number}" for side in ("", "L", "R")):
            if allowed is None or code in allowed:
                yield f'{comma}"{code}"', after
    if stage.aus.due <= stage.used:
        yield '], "evidence": [', GrammarState("rows", first=True)


def _rows(stage: GrammarState) -> _Options:
    for region in facs.REGIONS.keys() - stage.used:
        after = GrammarState("direction", region, stage.used | {region})
        yield f'{_comma(stage)}{{"region": "{region}", "direction": "', after
    yield '], "rationale": "', TEXT


def _direction(stage: GrammarState) -> _Options:
    for way in facs.directions(facs.REGIONS[stage.value].side):
        yield f'{way}", "strength": "', GrammarState("strength", used=stage.used)


def _strength(stage: GrammarState) -> _Options:
    for word in (*(word for _, word in STRENGTHS), STRONGEST):
        yield f'{word}"}}', GrammarState("rows", used=stage.used)


def _close(stage: GrammarState) -> _Options:
    yield "}", END


def _nothing(stage: GrammarState) -> _Options:
    """The rationale has no pieces (``advance`` reads it as text), nor has the end."""
    return iter(())


def _comma(stage: GrammarState) -> str:
    return "" if stage.first else ", "


_PIECES: dict[str, Callable[[GrammarState], _Options]] = {
    "class": _class,
    "emotion": _emotion,
    "aus": _aus,
    "rows": _rows,
    "direction": _direction,
    "strength": _strength,
    "text": _nothing,
    "close": _close,
    "end": _nothing,
}


def advance(state: State, data: bytes) -> State | None:
    """The state after some bytes; None if they are not allowed."""
    stage, written, length = state
    while data:
        if stage == TEXT:
            # written holds an incomplete character or escape that the new bytes have to complete.
            match = _TEXT.fullmatch(written + data)
            if match is None:
                return None
            if match["quote"]:
                return State(END if match["end"] else GrammarState("close"))
            return State(TEXT, match["part"] or b"", length + len(data))
        for text, after in options(stage).items():
            # A token can complete this piece and start the next one (loop on), or stop inside it.
            rest = text.removeprefix(written) if text.startswith(written) else b""
            if rest and data.startswith(rest):
                stage, written, data = after, b"", data[len(rest) :]
                break
            if rest.startswith(data):
                return State(stage, written + data)
        else:
            return None
    return State(stage, written, length)


def token_bytes(tokenizer: PreTrainedTokenizerBase) -> dict[int, bytes]:
    """The bytes of every ordinary token; special tokens are excluded."""
    # Byte-level BPE (GPT-2, Qwen, Llama 3) writes a space as U+0120; sentencepiece uses U+2581.
    byte_level = tokenizer.convert_tokens_to_string(["\u0120"]) == " "
    table = {char: byte for byte, char in _gpt2_characters().items()}
    special = set(tokenizer.all_special_ids)
    added = tokenizer.added_tokens_decoder
    found = {}
    for token, i in tokenizer.get_vocab().items():
        if i in special or (i in added and added[i].special):
            continue
        if i in added:
            # Added tokens are stored as plain text in both kinds of vocabulary.
            found[i] = token.encode()
        elif byte_level:
            found[i] = bytes(table[char] for char in token if char in table)
        elif byte := re.fullmatch(r"<0x([0-9A-F]{2})>", token):
            found[i] = bytes([int(byte[1], 16)])
        else:
            found[i] = token.replace("\u2581", " ").encode()
    return {i: data for i, data in found.items() if data}


def _gpt2_characters() -> dict[int, str]:
    """Byte -> the printable character that byte-level BPE uses for it (Radford et al., 2019)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + k) for k, b in enumerate(rest)}}


class StructuredAnswerGrammar:
    """The grammar over one tokenizer's vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end_ids: tuple[int, ...]) -> None:
        """Index the vocabulary.

        Args:
            tokenizer: Any tokenizer.
            end_ids: Tokens that may follow a complete answer.
        """
        self.bytes = token_bytes(tokenizer)
        self.end_ids = end_ids
        self.by_bytes: dict[bytes, list[int]] = {}
        for i, data in self.bytes.items():
            self.by_bytes.setdefault(data, []).append(i)
        # Sorted, so that all tokens with a common prefix are neighbours (bisect in _literal).
        self.sorted = sorted(self.by_bytes)
        self._allowed = lru_cache(maxsize=_STATES)(self._find)

    def allowed(self, state: State) -> Tensor:
        """Ids of the tokens allowed next.

        Raises:
            UserError: If the tokenizer has no token for what must come next.
        """
        # The exact length would give each rationale byte its own cache entry; only "too long"
        # matters. An incomplete character is finished first.
        over = state.length >= RATIONALE_BYTES and not state.written
        return self._allowed(state._replace(length=RATIONALE_BYTES if over else 0))

    def _find(self, state: State) -> Tensor:
        if state.stage == END:
            return torch.tensor(self.end_ids)
        fits: Iterator[bytes]
        # Here the length is either 0 or RATIONALE_BYTES, see ``allowed``.
        if state.stage == TEXT and not state.length:
            fits = (t for t in self.sorted if _TEXT.fullmatch(state.written + t))
        elif state.stage == TEXT:
            fits = (t for t in (b'"', b'"}') if t in self.by_bytes)
        else:
            fits = self._literal(state)
        ids = sorted({i for data in fits for i in self.by_bytes[data]})
        if not ids:
            missing = next(iter(options(state.stage)), b'"')[len(state.written) :]
            raise UserError(
                f"this tokenizer has no token for the start of {missing.decode()!r}, which a "
                "structured answer needs; expected one that can write every ASCII character"
            )
        return torch.tensor(ids)

    def _literal(self, state: State) -> Iterator[bytes]:
        """Tokens that are part of the next fixed piece, and those that reach beyond it."""
        for text in options(state.stage):
            if not text.startswith(state.written):
                continue
            rest = text[len(state.written) :]
            for end in range(1, len(rest) + 1):
                if rest[:end] in self.by_bytes:
                    yield rest[:end]
            for at in range(bisect_left(self.sorted, rest), len(self.sorted)):
                token = self.sorted[at]
                if not token.startswith(rest):
                    break
                if advance(state, token) is not None:
                    yield token


class StructuredAnswerLogits(LogitsProcessor):
    """Sets the scores of tokens that the grammar does not allow to minus infinity."""

    def __init__(
        self,
        grammar: StructuredAnswerGrammar,
        prompt_length: int,
        label: str = "",
        aus: Sequence[AuLimits] = (AuLimits(),),
    ) -> None:
        """Start at the beginning of the answer; an instance serves one ``generate`` call.

        Args:
            grammar: The grammar.
            prompt_length: Tokens before the answer.
            label: Class that the answer must name; empty for any.
            aus: Limits of the AUs that it names: of each row, or one for all rows.
        """
        self.grammar, self.prompt_length = grammar, prompt_length
        self.starts = [State(GrammarState("class", label, aus=limits)) for limits in aus]
        self.states: dict[tuple[int, tuple[int, ...]], State | None] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) of the next token after ``input_ids`` (B, L), masked."""
        masked = torch.full_like(scores, -torch.inf)
        for row, ids in enumerate(input_ids[:, self.prompt_length :].tolist()):
            # ``generate`` repeats each prompt in place if it draws several answers to it.
            start = row * len(self.starts) // len(input_ids)
            state = self._state(start, tuple(ids))
            if state is None:  # after the end token: padding of a finished row
                masked[row] = scores[row]
                continue
            allowed = self.grammar.allowed(state).to(scores.device)
            masked[row, allowed] = scores[row, allowed]
        return masked

    def past_aus(self, ids: Sequence[int]) -> bool:
        """Whether tokens of the first answer have completed its list of AUs."""
        state = self._state(0, tuple(ids))
        return state is None or state.stage.name not in {"class", "emotion", "aus"}

    def _state(self, start: int, ids: tuple[int, ...]) -> State | None:
        if not ids:
            return self.starts[start]
        # Keyed by the tokens so far, so each step advances one token and equal rows share their
        # states.
        key = (start, ids)
        if key not in self.states:
            # One step deep: answers grow by a token a time, so the shorter one is known.
            before = self._state(start, ids[:-1])
            data = self.grammar.bytes.get(ids[-1])
            self.states[key] = advance(before, data) if before and data else None
        return self.states[key]
