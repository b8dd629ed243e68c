"""What the gateway's pages have in common: templates that escape, stylesheets of its own, nothing from elsewhere."""

from __future__ import annotations

import importlib.resources

import jinja2

from edgeagent.wire.units import format_credits

PAGE_HEADERS = {
    # Nothing but our own stylesheet: a node's name cannot become a script, whatever it holds.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

templates = jinja2.Environment(
    loader=jinja2.PackageLoader("edgeagent.gateway"), autoescape=True, undefined=jinja2.StrictUndefined
)
templates.filters["credits"] = format_credits


def stylesheet(name: str) -> bytes:
    """Return a stylesheet that lies beside the templates."""
    return (importlib.resources.files("edgeagent.gateway") / "templates" / name).read_bytes()
