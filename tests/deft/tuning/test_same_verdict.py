"""Validation and training read a data folder alike: what one passes the other can use."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deft_llm.answers import PIECES
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.conversations import CONVERSATIONS, read_conversations
from deft_llm.data.feature_files import save_features
from deft_llm.data.features import Features
from deft_llm.data.records import ClipRecord
from deft_llm.deft.configuration_deft import IGNORE_INDEX, DeftConfig
from deft_llm.deft.processing_deft import (
    CHAT_TOKENS,
    SPECIAL_TOKENS,
    DeftFeatureExtractor,
    DeftProcessor,
    add_expert_tokens,
    clip_span,
)
from deft_llm.deft.tokenizer import train_sentencepiece, wrap
from deft_llm.deft.tuning.datasets import InstructionDataset, require_sizes
from deft_llm.errors import UserError
from deft_llm.unimer.validate import require_valid, validate_folder

EXAMPLES = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
EVIDENCE = {
    **{"region": "left inner brow", "direction": "up", "magnitude": 1.2, "z": 9.0, "aus": ["1"]},
    **{"phase": "onset to apex", "source": "own"},
}
ROW: dict[str, Any] = {
    **{"id": "a-0", "clip": "clip-0", "subject": "subject-0", "mirrored": False},
    "conversations": [
        {"from": "human", "value": "<clip>Which action units?"},
        {"from": "gpt", "value": "AU1"},
    ],
    **{"evidence": [EVIDENCE], "stated": [[0]], "clips": ["clip-0"]},
}


@pytest.fixture(scope="module")
def config() -> DeftConfig:
    return DeftConfig(expert_dim=8)


@pytest.fixture(scope="module")
def processor(config: DeftConfig) -> DeftProcessor:
    tokenizer = wrap(train_sentencepiece(["Which action units? AU1 is active."], 400), PIECES)
    add_expert_tokens(tokenizer, config)
    return DeftProcessor(DeftFeatureExtractor(), tokenizer, span=clip_span(config))


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_record: Callable[[int], ClipRecord],
    make_features: Callable[[int], Features],
) -> Path:
    """A sound folder with one clip."""
    folder = tmp_path_factory.mktemp("folder")
    save_features(folder / "features-0.safetensors", [make_features(0)])
    write(folder, "clips.jsonl", make_record(0).to_json())
    write(folder, CONVERSATIONS, json.dumps(ROW))
    return folder


def write(folder: Path, name: str, text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    (folder / name).write_bytes(data)


def trains(folder: Path, processor: DeftProcessor, config: DeftConfig) -> bool:
    """Whether every sample of the folder can be drawn, without validating it first."""
    try:
        clips = ClipDataset.open(folder)
        require_sizes(clips, config)
        data = InstructionDataset([folder], clips, processor, config)
    except UserError as error:
        assert str(error).encode() and "\n" not in str(error)
        return False
    for i in range(len(data)):
        row = data[i]
        span = processor.tokenizer(processor.span, add_special_tokens=False)["input_ids"]
        assert sum(row["input_ids"].count(token) for token in set(span)) == len(span)
        assert any(label != IGNORE_INDEX for label in row["labels"])
    return True


def valid(folder: Path) -> bool:
    try:
        problems = list(validate_folder(folder))
    except UserError as error:
        assert str(error).encode() and "\n" not in str(error)
        problems = [error]  # type: ignore[list-item]
    for problem in problems:
        assert str(problem).encode()  # can be printed
    if not problems:
        require_valid(folder)
        return True
    with pytest.raises(UserError):
        require_valid(folder)
    return False


leaves = (
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=6)
    | st.sampled_from(
        ["<clip>", "<image>Why?", "gpt", "Human", "system", "clip-0", "12", "L12", "up", "\ud800",
         "<|end|>", "<motion_token>", "surprise", "negative", "<clip><clip>", " ", "AU1"]
    )
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["from", "value", "role", "content", "type", "text", "clip", "aus", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


def paths(node: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a row stands."""
    inside: Any = node.items() if isinstance(node, dict) else enumerate(node)
    found = []
    for key, child in inside:
        found.append((*above, key))
        if isinstance(child, dict | list):
            found += paths(child, (*above, key))
    return found


OTHER_FIELDS = st.sampled_from(["role", "content", "messages", "note", "clip_"])


@st.composite
def nearly(draw: st.DrawFn, sound: dict[str, Any]) -> str:
    """A sound row with some of its values replaced, removed or moved to another field."""
    row = copy.deepcopy(sound)
    for _ in range(draw(st.integers(0, 3))):
        *above, last = draw(st.sampled_from(paths(row) or [("id",)]))
        node: Any = row
        for key in above:
            node = node[key]
        action = draw(st.sampled_from(["replace", "remove", "rename"]))
        if action == "replace" or isinstance(node, list):
            node[last] = draw(values)
        elif last in node:
            value = node.pop(last)
            if action == "rename":
                node[draw(st.sampled_from(["role", "content", "messages", "note", "clip_"]))] = (
                    value
                )
    return json.dumps(row)


lines = nearly(ROW) | values.map(json.dumps)


@EXAMPLES
@given(st.lists(lines, min_size=1, max_size=2), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_conversation_is_passed_by_both_or_by_none(
    folder: Path,
    processor: DeftProcessor,
    config: DeftConfig,
    drawn: list[str],
    end: str,
    mark: bool,
) -> None:
    write(folder, CONVERSATIONS, "\ufeff" * mark + end.join([json.dumps(ROW), *drawn]) + end)
    assert trains(folder, processor, config) is valid(folder)
    write(folder, CONVERSATIONS, json.dumps(ROW))


@EXAMPLES
@given(st.data())
def test_any_clip_is_passed_by_both_or_by_none(
    folder: Path, processor: DeftProcessor, config: DeftConfig, data: st.DataObject
) -> None:
    sound = (folder / "clips.jsonl").read_text()
    write(folder, "clips.jsonl", data.draw(nearly(json.loads(sound)) | values.map(json.dumps)))
    try:
        assert trains(folder, processor, config) is valid(folder)
    finally:
        write(folder, "clips.jsonl", sound)


@EXAMPLES
@given(st.binary(max_size=40) | st.text('{}[]",: \n\r\ufeffé', max_size=40).map(str.encode))
def test_any_bytes_are_passed_by_both_or_by_none(
    folder: Path, processor: DeftProcessor, config: DeftConfig, data: bytes
) -> None:
    write(folder, CONVERSATIONS, json.dumps(ROW).encode() + b"\n" + data)
    assert trains(folder, processor, config) is valid(folder)
    write(folder, CONVERSATIONS, json.dumps(ROW))


QUESTION, ANSWER = "Which action units?", "AU1"


def turns(form: str, speaker: str, content: str, roles: tuple[str, str], first: Any) -> Any:
    said = zip(roles, (first, ANSWER), strict=True)
    return {form: [{speaker: role, content: text} for role, text in said]}


PARTS = [{"type": "video", "video": "a.mp4"}, {"type": "text", "text": QUESTION}]


@pytest.mark.parametrize(
    "form",
    [
        turns("conversations", "from", "value", ("human", "gpt"), f"<clip>{QUESTION}"),
        turns("conversations", "from", "value", ("user", "assistant"), f"<clip>{QUESTION}"),
        turns("conversations", "from", "value", ("Human", "GPT"), f"<image>\n{QUESTION}"),
        turns("conversations", "role", "content", ("user", "assistant"), f"<video>\n{QUESTION}"),
        turns("messages", "role", "content", ("user", "assistant"), f"<clip>{QUESTION}"),
        turns("messages", "role", "content", ("user", "model"), PARTS),
        turns("messages", "from", "value", ("human", "gpt"), [PARTS[0], {"text": QUESTION}]),
    ],
)
def test_every_form_says_the_same(folder: Path, form: dict[str, Any]) -> None:
    """Without any of the fields that other data sets do not have."""
    system = copy.deepcopy(form)
    (name,) = form
    speaker, content = form[name][0]
    system[name].insert(0, {speaker: "system", content: "You code faces."})
    rows = [{"clip": "clip-0", **form}, {"clip": "clip-0", "image": "a.jpg", **system}]
    for text in ("\n".join(map(json.dumps, rows)) + "\n\n", json.dumps(rows, indent=1)):
        write(folder, CONVERSATIONS, text)
        assert not list(validate_folder(folder))
        one, two = read_conversations(folder / CONVERSATIONS, {"clip-0"})
        assert one.messages == [
            {"role": "user", "content": f"<clip>{QUESTION}"},
            {"role": "assistant", "content": ANSWER},
        ]
        assert two.messages == [{"role": "system", "content": "You code faces."}, *one.messages]
        assert (one.clip, one.mirrored) == ("clip-0", False)
    write(folder, CONVERSATIONS, json.dumps(ROW))


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"mirrored": None}, "mirrored", "got null, expected true or false"),
        ({"clip": "clip-9"}, "clip", '"clip-9" is not in clips.jsonl'),
        ({"clips": ["clip-0", "clip-1"]}, "clips", "expected one"),
        ({"messages": []}, "conversations", "got conversations and messages, expected one of"),
        ({"mirored": True, "mirrored": ...}, "mirored", "did you mean 'mirrored'?"),
        ({"conversations": [{"from": "gpt", "value": "Hi"}]}, "conversations[0].from", '"gpt"'),
        (
            {"evidence": [{**EVIDENCE, "aus": ["AU1"]}]},
            "evidence[0].aus[0]",
            'such as "12" or "L12"',
        ),
        ({"evidence": [{**EVIDENCE, "z": float("nan")}]}, "evidence[0].z", "a number >= 0"),
        ({"stated": [[1]]}, "stated[0]", "a place in evidence (1)"),
    ],
)
def test_a_problem_is_told_by_line_and_field(
    folder: Path, change: dict[str, Any], field: str, words: str
) -> None:
    row = {name: value for name, value in {**ROW, **change}.items() if value is not ...}
    write(folder, CONVERSATIONS, json.dumps(ROW) + "\n" + json.dumps(row))
    problem = next(validate_folder(folder))
    assert (problem.file, problem.line, problem.field) == (CONVERSATIONS, 2, field)
    assert words in problem.what
    with pytest.raises(UserError, match=r"train\.jsonl, line 2, "):
        list(read_conversations(folder / CONVERSATIONS, {"clip-0"}))
    write(folder, CONVERSATIONS, json.dumps(ROW))


@pytest.mark.parametrize("token", [*SPECIAL_TOKENS, *CHAT_TOKENS])
def test_no_text_holds_a_token_of_the_model(folder: Path, token: str) -> None:
    row = copy.deepcopy(ROW)
    row["conversations"][1]["value"] += f" {token}"
    write(folder, CONVERSATIONS, json.dumps(row))
    (problem,) = validate_folder(folder)
    assert problem.field == "conversations[1].value" and token in problem.what
    write(folder, CONVERSATIONS, json.dumps(ROW))


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"emotion": "tense"}, "emotion", '"tense", expected one of anger'),
        ({"aus": ["LR12"]}, "aus[0]", '"LR12"'),
        ({"row": 99}, "row", "holds 1 clips"),
        ({"shard": "none.safetensors"}, "shard", "missing"),
        ({"interval": {"onset": 1, "apex": 2}}, "interval", "whole numbers"),
        ({"fps": 0}, "fps", "frames per second"),
        ({"subject": ""}, "subject", "expected text"),
    ],
)
def test_a_problem_of_a_clip_is_told_by_both(
    folder: Path, change: dict[str, Any], field: str, words: str
) -> None:
    sound = (folder / "clips.jsonl").read_text()
    write(folder, "clips.jsonl", json.dumps({**json.loads(sound), **change}))
    problem = next(validate_folder(folder))
    assert (problem.line, problem.field) == (1, field) and words in problem.what
    with pytest.raises(UserError, match=rf"clips\.jsonl, line 1, {field.split('[')[0]}"):
        ClipDataset.open(folder)
    write(folder, "clips.jsonl", sound)


def test_a_former_name_of_a_field_is_not_read(folder: Path) -> None:
    sound = (folder / "clips.jsonl").read_text()
    row = json.loads(sound)
    write(folder, "clips.jsonl", json.dumps({"packets": row.pop("shard"), **row}))
    problem = next(validate_folder(folder))
    assert problem.field == "shard"
    write(folder, "clips.jsonl", sound)


def test_notes_of_ones_own_do_no_harm(
    folder: Path, make_record: Callable[[int], ClipRecord]
) -> None:
    sound = (folder / "clips.jsonl").read_text()
    row = json.loads(sound)
    row |= {"age": 31, "evidence": [{**evidence, "note": "x"} for evidence in row["evidence"]]}
    write(folder, "clips.jsonl", json.dumps(row))
    assert not list(validate_folder(folder))
    assert ClipDataset.open(folder).records == (make_record(0),)
    write(folder, "clips.jsonl", sound)


def test_an_empty_file_and_a_foreign_encoding_are_refused(folder: Path) -> None:
    for text, words in (
        (b"", "no conversations"),
        (b"\n\n", "no conversations"),
        (json.dumps({**ROW, "note": "é"}, ensure_ascii=False).encode("latin-1"), "not UTF-8"),
        (json.dumps(ROW).encode("utf-16"), "not UTF-8"),
        (b"\n\n".join([json.dumps(ROW).encode()] * 2), "line 2: empty"),
    ):
        write(folder, CONVERSATIONS, text)
        with pytest.raises(UserError, match=words):
            require_valid(folder)
    write(folder, CONVERSATIONS, json.dumps(ROW))
