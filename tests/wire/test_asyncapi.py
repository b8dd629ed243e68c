"""The description of the link in ``docs/asyncapi.yaml`` says what the code's message classes say."""

from __future__ import annotations

import enum
import types
import typing
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
import pytest
import yaml

from edgeagent.wire import dialect
from edgeagent.wire.codec import MAX_BATCH, MAX_FRAME_BYTES, type_name
from edgeagent.wire.link import SUBPROTOCOL, TRANSITIONS, CloseCode, Role
from edgeagent.wire.messages import Message

Json = dict[str, Any]
DOCUMENT: Json = yaml.safe_load((Path(__file__).parents[2] / "docs" / "asyncapi.yaml").read_text())
SCHEMAS: Json = DOCUMENT["components"]["schemas"]
MESSAGES: tuple[type, ...] = get_args(Message)
#: Scalars, and what JSON Schema calls them.
KINDS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema_of(cls: type, **tag: Json) -> Json:
    """Return the JSON Schema of a class: its keys, their types, and which must be there."""
    hints = typing.get_type_hints(cls)
    fields = attrs.fields(cls)
    required = [*tag, *(field.name for field in fields if field.default is attrs.NOTHING)]
    properties = tag | {field.name: kind_of(hints[field.name]) for field in fields}
    return {"type": "object", "required": required, "properties": properties}


def kind_of(hint: Any) -> Json:
    """Return the JSON Schema of a field's type."""
    if hint is Any:
        return {}
    if hint in KINDS:
        return {"type": KINDS[hint]}
    if isinstance(hint, types.UnionType):
        (kind,) = [one for one in get_args(hint) if one is not types.NoneType]
        if kind in KINDS:
            return {"type": [KINDS[kind], "null"]}
        return {"anyOf": [kind_of(kind), {"type": "null"}]}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": kind_of(get_args(hint)[0])}
    if get_origin(hint) is dict:
        value = get_args(hint)[1]
        return {"type": "object"} if value is Any else {"type": "object", "additionalProperties": kind_of(value)}
    return {"$ref": f"#/components/schemas/{hint.__name__}"}


def bare(document: Any) -> Any:
    """Return a document without the words for people."""
    if isinstance(document, dict):
        return {key: bare(value) for key, value in document.items() if key not in {"description", "example"}}
    return [bare(one) for one in document] if isinstance(document, list) else document


def values() -> dict[str, type]:
    """Return the classes and word lists that messages hold, by name."""
    found: dict[str, type] = {}
    left = [hint for cls in MESSAGES for hint in typing.get_type_hints(cls).values()]
    while left:
        hint = left.pop()
        left += get_args(hint)
        if isinstance(hint, type) and (attrs.has(hint) or issubclass(hint, enum.Enum)):
            found[hint.__name__] = hint
            left += typing.get_type_hints(hint).values() if attrs.has(hint) else []
    return found


@pytest.mark.parametrize("cls", MESSAGES)
def test_each_message_is_described(cls: type) -> None:
    """With its keys, their types, and which must be there."""
    assert bare(SCHEMAS[cls.__name__]) == schema_of(cls, type={"const": type_name(cls)})
    assert SCHEMAS[cls.__name__]["description"]


@pytest.mark.parametrize(("name", "kind"), values().items())
def test_each_value_in_a_message_is_described(name: str, kind: type) -> None:
    """Classes as objects, word lists as words."""
    expected = schema_of(kind) if attrs.has(kind) else {"type": "string", "enum": [one.value for one in kind]}
    assert bare(SCHEMAS[name]) == expected


@pytest.mark.parametrize("cls", dialect.NAMES)
def test_each_message_of_the_other_dialect_is_described(cls: type[dialect.Said]) -> None:
    """By its name and keys; a payload's keys stand beside those of job_assign."""
    said = SCHEMAS[f"Foreign{cls.__name__}"]
    keys = {field.name for field in attrs.fields(cls)} if cls is not dialect.JobAssign else set(dialect.RESERVED)
    assert said["properties"]["type"] == {"const": dialect.NAMES[cls]}
    assert {"payload"} | set(said["properties"]) == {"type", "payload"} | keys
    assert said.get("additionalProperties", False) is (cls is dialect.JobAssign)


def sent(role: Role) -> set[str]:
    """Return what this end may say in some state."""
    return {kind.__name__ for (_, sender, kind) in TRANSITIONS if sender is role}


@pytest.mark.parametrize(("operation", "role"), [("gatewayReceives", Role.NODE), ("gatewaySends", Role.GATEWAY)])
def test_who_says_what_is_as_the_link_has_it(operation: str, role: Role) -> None:
    """The description is of the gateway."""
    described = DOCUMENT["operations"][operation]
    assert described["action"] == ("receive" if role is Role.NODE else "send")
    assert {one["$ref"].rpartition("/")[2] for one in described["messages"]} == sent(role)


def test_every_reference_leads_somewhere() -> None:
    """And every schema of the document is one that the code has."""

    def follow(document: Any) -> None:
        for value in document.values() if isinstance(document, dict) else document:
            if isinstance(value, dict | list):
                follow(value)
        if isinstance(document, dict) and "$ref" in document:
            found: Any = DOCUMENT
            for step in document["$ref"].removeprefix("#/").split("/"):
                found = found[step]

    follow(DOCUMENT)
    ours = {cls.__name__ for cls in MESSAGES} | set(values()) | {f"Foreign{cls.__name__}" for cls in dialect.NAMES}
    assert set(SCHEMAS) == ours


def test_the_limits_and_close_codes_are_named() -> None:
    """In the words that the code has for them."""
    text = DOCUMENT["channels"]["link"]["description"]
    assert DOCUMENT["asyncapi"] == "3.0.0"
    codes = [str(code.value) for code in CloseCode]
    for word in (SUBPROTOCOL, f"{MAX_BATCH:,}", f"{MAX_FRAME_BYTES >> 20} MiB", *codes):
        assert word in text
    assert f"{dialect.PING_S:g} s" in DOCUMENT["channels"]["foreignLink"]["description"]
