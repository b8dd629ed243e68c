"""Texts that come from strangers, made fit to store and to show."""

from __future__ import annotations

#: Longest text of a person's or a job's that is kept, in characters.
MAX_LINE = 1000


def one_line(text: str, most: int = MAX_LINE) -> str:
    """Return ``text`` as one line of at most ``most`` characters, with nothing in it that a terminal would obey."""
    clean = "".join(character if character.isprintable() else " " for character in text[: 2 * most])
    line = " ".join(clean.split())
    return line if len(line) <= most else line[: most - 1] + "…"
