"""How both programs log: structlog events with fields, text for a person's terminal, one JSON object a line otherwise.

Everything goes to stderr; stdout belongs to what a command was asked to print.  Libraries that log through the standard
library come out in the same form.
"""

from __future__ import annotations

import logging
import sys

from edgeagent.errors import UsageError

# structlog draws tracebacks by rich wherever it finds it, and both programs would hold that, and all its colours, in
# memory for as long as they run: 3 MiB of an idle node.
_RICH = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]  # for the import system: there is none
import structlog  # noqa: E402 -- not before rich is out of the way

del sys.modules["rich"]
if _RICH is not None:
    sys.modules["rich"] = _RICH

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def configure(level: str, *, as_json: bool | None = None, kept: logging.Handler | None = None) -> None:
    """Set up logging for this process.

    Args:
        level: one of ``LEVELS``.
        as_json: one JSON object a line; None decides by whether stderr is a terminal.
        kept: gets everything too, always as JSON.
    """
    if as_json is None:
        as_json = not sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(colors=not as_json)
    if as_json:
        shared += [structlog.processors.format_exc_info]
        renderer = structlog.processors.JSONRenderer()
    # In place: a logger that has been used already keeps the list that it had then.
    processors = structlog.get_config()["processors"]
    processors[:] = [
        structlog.stdlib.filter_by_level,
        *shared,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    structlog.configure(
        processors=processors,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    bare = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[bare, renderer], foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if kept is not None:
        plain: list[structlog.typing.Processor] = [
            bare,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
        kept.setFormatter(structlog.stdlib.ProcessorFormatter(processors=plain, foreign_pre_chain=shared))
        root.addHandler(kept)
    root.setLevel(level)
    # Both report each request at INFO; what the operator sees at INFO is the guide's list of messages.
    for chatty in ("httpx2", "httpcore2", "hypercorn.access", "trio-websocket"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def check_level(text: str) -> str:
    """Return the level that a person named, in any case.

    Raises:
        UsageError: there is no such level.
    """
    if text.upper() not in LEVELS:
        raise UsageError(f"LOG_LEVEL is {text!r}; use one of {', '.join(LEVELS)}")
    return text.upper()
