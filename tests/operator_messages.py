"""Every message that the node and its operator's commands have for a person, read out of the sources.

A message is known by its fixed words: what varies is ``…``.  Collected are the texts of faults that are raised, of log
lines with the weight of a warning or more, of what speaks against jobs, and of the warnings of ``edgeagent status``.
What has no words of its own, because it passes on another's, is left out; so are messages that the operating system or
a library has written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src" / "edgeagent"
#: Commands of the submitter and of the network's owner, who are not the operator.
_OTHERS = ("demo.py", "files.py", "gateway", "job.py", "place.py", "simulate.py", "submitter.py")
#: For programmers, or turned into a fault of another kind by who catches it.
_INTERNAL = {"ValueError", "TypeError", "RuntimeError", "KeyError", "AssertionError", "NotImplementedError"}
#: Faults whose names do not end in ``Error``.
_FAULTS = {"LinkLost", "OutputRefused", "BadParameter"}
#: Modules that decide: each text of more than a word in them is for a person.
_DECIDING = (
    "node/clockcheck.py",
    "node/gpus.py",
    "node/options/resolve.py",
    "node/pauses.py",
    "node/room.py",
    "node/slots.py",
    "node/status.py",
    "node/willingness.py",
)
#: Shorter than this, a text has no words of its own.
_LEAST = 8


def messages() -> dict[str, str]:
    """Return each message and where it stands."""
    return {
        text: place
        for text, place in _found()
        if sum(char.isalpha() for char in text) >= _LEAST and text == text.strip()
    }


def _found() -> Iterator[tuple[str, str]]:
    modules = [*(SOURCES / "node").rglob("*.py"), *(SOURCES / "cli").glob("*.py"), SOURCES / "rest.py"]
    for path in sorted(modules):
        if path.parent.name == "cli" and path.name.startswith(_OTHERS):
            continue
        name = path.relative_to(SOURCES).as_posix()
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args:
                for text in _said(node):
                    yield text, f"{name}:{node.lineno}"
        if name in _DECIDING:
            yield from ((text, name) for text in _all(tree) if " " in text)


def _said(call: ast.Call) -> Iterator[str]:
    name = _name(call.func)
    if name in _FAULTS or (name.endswith("Error") and name not in _INTERNAL):
        yield from _texts(call.args[-1] if name == "LinkLost" else call.args[0])
    elif isinstance(call.func, ast.Attribute) and name in ("warning", "error") and _name(call.func.value) == "log":
        yield from _texts(call.args[0])


def _all(node: ast.AST) -> Iterator[str]:
    """Yield every text below ``node`` but the docstrings, each as long as it is."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        text = _text(child) if isinstance(child, ast.expr) else None
        if text is None:
            yield from _all(child)
        else:
            yield text


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _texts(node: ast.expr) -> Iterator[str]:
    """Yield the text, or each of the two where a condition decides."""
    if isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif (text := _text(node)) is not None:
        yield text


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left) or "…") + (_text(node.right) or "…")
    return None
