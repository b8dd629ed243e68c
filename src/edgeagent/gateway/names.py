"""What strangers call their nodes, made fit for a page that others trust.  Pure.

A name is shown as text of bounded width and height: what cannot be seen, or turns the direction of what follows, is
left out, marks are not piled up, and a long name is cut.  Names that only look alike are told apart by what stands
beside them: the beginning of the node's id, and a word where one name mixes alphabets, as look-alikes often do (Unicode
Technical Standard 39).
"""

from __future__ import annotations

import re
import unicodedata

#: Longest name that registration allows, and longest one in a table, in characters.
MAX_NAME, MAX_SHOWN = 100, 40
#: Marks on one letter: what Vietnamese and vocalised Hebrew need.
_MAX_MARKS = 2
#: What shows nothing although its category says otherwise: fillers, the empty Braille cell, selectors of variants.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
#: Alphabets with letters that look like another's, by the first word of a letter's Unicode name.
_ALPHABETS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET"})
#: For a name of which nothing is left.
NAMELESS = "(no name)"


def shown(name: str, most: int = MAX_SHOWN) -> str:
    """Return a name as it may stand on a page, at most so many characters long."""
    if name.isascii() and name.isprintable():
        clean = name
    else:
        visible = _INVISIBLE.sub("", unicodedata.normalize("NFC", name))
        clean = _few_marks("".join(_spoken(one) for one in visible))
    clean = " ".join(clean.split())
    if len(clean) > most:
        clean = clean[: most - 1].rstrip() + "…"
    return clean or NAMELESS


def mixes_alphabets(name: str) -> bool:
    """Return whether letters of several alphabets that look alike stand in one name."""
    if name.isascii():
        return False
    letters = (one for one in unicodedata.normalize("NFKC", name) if one.isalpha())
    return len(_ALPHABETS & {unicodedata.name(one, "").partition(" ")[0] for one in letters}) > 1


def key(name: str) -> str:
    """Return what makes two names the same to a person who reads them quickly, or searches for one."""
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFKC", name)).casefold().split())


def _spoken(character: str) -> str:
    """Nothing for what only steers the text around it, a space for other things that cannot be seen."""
    if character.isprintable():
        return character
    return "" if unicodedata.category(character) == "Cf" else " "


def _few_marks(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        if marks <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)
