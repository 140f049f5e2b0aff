"""Answers in the task's own words, and what is read out of anybody's words."""

from __future__ import annotations

import re

from deft_llm import facs
from deft_llm.answers import NOTHING, Facts
from deft_llm.evaluation.mevqa.questions import AU_NAMES, AU_NUMBERS, VqaQuestion

_NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)
_COUNT = re.compile(rf"\b(\d{{1,4}}|no|none|{'|'.join(_NUMBER_WORDS)})\b")
_SIZES = ("micro", "macro")


def answer(question: VqaQuestion, facts: Facts) -> str:
    """The answer to a question about one expression.

    Args:
        question: A question of one of the kinds of 2025.
        facts: Known or predicted facts about its clip.
    """
    aus = ", ".join(AU_NAMES[n] for n in _present(facts)) or NOTHING
    if question.kind == "coarse":
        return facts.coarse
    if question.kind == "fine":
        return facts.emotion or NOTHING
    if question.kind == "aus":
        return aus
    if question.kind == "au_yes_no":
        return "yes" if question.au in _present(facts) else "no"
    if question.kind == "side":
        codes = {code[0] for code in facts.aus if facs.au_number(code) == question.au}
        # The question leaves no third answer: both sides, or none on record, are answered "left".
        return "right" if codes == {"R"} else "left"
    # Singular and plural matter: BLEU and ROUGE compare the wording.
    verb, many = ("are", "s") if len(_present(facts)) > 1 else ("is", "")
    return (
        f"The action unit{many} present {verb}: {aus}. Therefore, the fine-grained expression "
        f"class is {facts.emotion or NOTHING}, and the coarse expression class is {facts.coarse}."
    )


def _present(facts: Facts) -> list[int]:
    return sorted({facs.au_number(code) for code in facts.aus})


def named_aus(text: str) -> tuple[int, ...]:
    """The action units that an answer names, by the task's names or as "AU12"."""
    lowered = text.lower()
    # Whole words only, so that a name is not found inside a longer word.
    found = {n for name, n in AU_NUMBERS.items() if re.search(rf"\b{re.escape(name)}\b", lowered)}
    found |= {int(n) for n in re.findall(r"\bau ?([0-9]{1,2})\b", lowered) if int(n) in AU_NAMES}
    return tuple(sorted(found))


def read_count(text: str) -> int | None:
    """The number an answer states, in figures or words; None if it states none or several."""
    found = set(_COUNT.findall(text.lower()))
    if len(found) != 1:
        return None
    word = found.pop()
    if word in ("no", "none"):
        return 0
    return int(word) if word.isdigit() else _NUMBER_WORDS.index(word)


def read_size(text: str) -> str | None:
    """The word of "micro" and "macro" that an answer names; None for both or neither."""
    named = [size for size in _SIZES if re.search(rf"\b{size}", text.lower())]
    return named[0] if len(named) == 1 else None
