"""HTML from values: what is no ``Markup`` cannot get into a page as anything but text.  Pure."""

from __future__ import annotations

import html

#: Elements without an end tag.
_VOID = frozenset({"br", "circle", "link", "meta"})


class Markup(str):
    """A text that is HTML already; made by ``tag`` and ``text`` alone."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return the value's text as HTML that shows just that."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element.

    Args:
        name: of the element.
        children: texts, which are escaped, and markup, which is not.
        attributes: ``class_`` is ``class`` and ``aria_label`` is ``aria-label``; None leaves one out, True gives it no
            value.
    """
    said = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(text(child) for child in children)
    return Markup(f"<{name}{said}>" if name in _VOID else f"<{name}{said}>{inner}</{name}>")


def join(*parts: object) -> Markup:
    """Return parts one after the other."""
    return Markup("".join(text(part) for part in parts))
