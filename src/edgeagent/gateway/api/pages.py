"""What the gateway's pages have in common: templates that escape, stylesheets of its own, nothing from elsewhere."""

from __future__ import annotations

import importlib.resources
from datetime import UTC, datetime

import jinja2
from markupsafe import Markup, escape

from edgeagent.gateway import names
from edgeagent.wire.units import format_credits


def _headers(*allowed: str) -> dict[str, str]:
    """Headers of a page that may do nothing but what is named."""
    policy = ("default-src 'none'", "style-src 'self'", *allowed, "base-uri 'none'", "frame-ancestors 'none'")
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


#: Nothing but our own stylesheet and the icon: a node's name cannot become a script, whatever it holds.
PAGE_HEADERS = _headers("img-src 'self'", "form-action 'none'")
#: The same with our own script, which asks for the page again, the icon, and a form to search with.
BOARD_HEADERS = _headers("script-src 'self'", "connect-src 'self'", "img-src 'self'", "form-action 'self'")

#: The owner's pages: forms and no script, and nothing of them stays in a cache.
OWNER_HEADERS = {**_headers("img-src 'self'", "form-action 'self'"), "Cache-Control": "no-store"}


def _utc(at: datetime | float) -> str:
    """A time as a person reads it, from one or from seconds since the epoch."""
    at = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _credits(ucr: int) -> str:
    """Micro-credits as an exact number of credits that a person reads at a glance: ``1,250,000.5``."""
    whole, point, part = format_credits(abs(ucr)).partition(".")
    return f"{'-' if ucr < 0 else ''}{int(whole):,}{point}{part}"


def _prose(text: str) -> Markup:
    """A docstring's text; what stands in it between double backquotes is code."""
    pieces = (
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(text.split("``"))
    )
    return Markup("").join(pieces)


templates = jinja2.Environment(
    loader=jinja2.PackageLoader("edgeagent.gateway"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters["credits"] = _credits
templates.filters["prose"] = _prose
templates.filters["shown"] = names.shown
templates.filters["utc"] = _utc


def static(name: str) -> bytes:
    """Return a file that lies beside the templates."""
    return (importlib.resources.files("edgeagent.gateway") / "templates" / name).read_bytes()
