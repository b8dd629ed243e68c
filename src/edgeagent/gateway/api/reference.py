"""The API's reference for people: its OpenAPI document as one page, rendered here, with no script and no stranger's
assets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

from edgeagent.gateway.api.pages import templates

Json = dict[str, Any]


@attrs.frozen
class Field:
    """A parameter, or a field of a body."""

    name: str
    kind: str
    needed: bool
    text: str


@attrs.frozen
class Call:
    """One operation as the page shows it."""

    method: str
    path: str
    text: str
    tokens: list[str]
    parameters: list[Field]
    body: str
    answers: list[tuple[str, str, str]]  # status, what it means, what its body is


class ReferencePage(OpenAPIRenderPlugin):
    """Shows the document at ``/schema``."""

    def __init__(self) -> None:
        super().__init__(path="/")
        self._page: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: Json) -> bytes:
        """Return the page; the document does not change while the gateway runs."""
        if self._page is None:
            page = templates.get_template("reference.html").render(
                title=openapi_schema["info"]["title"],
                version=openapi_schema["info"]["version"],
                summary=openapi_schema["info"]["summary"],
                tags=[
                    (tag["name"], tag["description"], list(calls(openapi_schema, tag["name"])))
                    for tag in _tags(openapi_schema)
                ],
                shapes=list(shapes(openapi_schema)),
            )
            self._page = page.encode()
        return self._page


def calls(document: Json, tag: str) -> Iterator[Call]:
    """Yield the operations that carry this tag."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if tag in operation.get("tags", ()):
                yield _call(document, method.upper(), path, operation)


def shapes(document: Json) -> Iterator[tuple[str, str, list[Field]]]:
    """Yield each named shape: its name, its description and its fields."""
    for name, schema in sorted(document["components"]["schemas"].items()):
        needed = set(schema.get("required", ()))
        fields = [
            Field(field, kind(one), field in needed, one.get("description", ""))
            for field, one in schema.get("properties", {}).items()
        ]
        yield name, schema.get("description", ""), fields


def kind(schema: Json) -> str:
    """Return in a few words what a value of this schema is."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if several := schema.get("oneOf") or schema.get("anyOf"):
        return " or ".join(dict.fromkeys(kind(one) for one in several))
    if given := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return " or ".join("null" if one is None else str(one) for one in given)
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if isinstance(schema.get("type"), list):
        return " or ".join(schema["type"])
    words = [schema.get("format") or schema.get("type") or "anything", *_bounds(schema)]
    return ", ".join(words)


def _bounds(schema: Json) -> Iterator[str]:
    names = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
        "minLength": "characters at least",
        "maxLength": "characters at most",
    }
    for key, words in names.items():
        if key in schema:
            yield f"{words} {schema[key]:,}".removesuffix(".0")


def _call(document: Json, method: str, path: str, operation: Json) -> Call:
    return Call(
        method=method,
        path=path,
        text=operation.get("description", ""),
        tokens=[name for one in operation.get("security", ()) for name in one],
        parameters=[
            Field(
                f"{one['name']} ({one['in']})",
                kind(one.get("schema", {})),
                one.get("required", False),
                one.get("description", ""),
            )
            for one in operation.get("parameters", ())
        ],
        body=_content(operation.get("requestBody", {})),
        answers=[(status, *_answer(document, one)) for status, one in operation["responses"].items()],
    )


def _answer(document: Json, response: Json) -> tuple[str, str]:
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return response["description"], _content(response)


def _content(holder: Json) -> str:
    return ", ".join(
        kind(one["schema"]) if media.endswith("json") else media for media, one in holder.get("content", {}).items()
    )


def _tags(document: Json) -> list[Json]:
    tags: list[Json] = document["tags"]
    return tags
