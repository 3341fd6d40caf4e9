"""Log lines as Nomad's agent reads them from a plugin's stderr: one JSON object each.

Source: hashicorp/go-plugin log_entry.go and client.go, v1.8.0.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

__all__ = ["HclogFormatter", "set_up_logging"]

_LEVELS = {"CRITICAL": "error", "ERROR": "error", "WARNING": "warn", "INFO": "info", "DEBUG": "debug"}
_MAX_TEXT = 5_000  # characters of up to 12 bytes as JSON; the agent shows lines above 64 KiB raw, and in pieces


class HclogFormatter(logging.Formatter):
    """What the agent logs again at its own level.

    Every "@" value is a text: of anything else the whole agent dies.  A time of any other form is shown raw.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, with the traceback folded into it."""
        text = record.getMessage()
        if record.exc_info:
            text += ": " + self.formatException(record.exc_info).replace("\n", " | ")
        at = datetime.fromtimestamp(record.created, UTC)
        entry = {
            "@level": _LEVELS.get(record.levelname, "trace"),
            "@message": text[:_MAX_TEXT],
            "@module": record.name,
            "@timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return json.dumps(entry)


def set_up_logging() -> None:
    """Log to stderr; what nobody caught, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(HclogFormatter())
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.raiseExceptions = False  # an agent that reads no more must not be answered with more text
    sys.excepthook = lambda kind, error, trace: logging.critical("uncaught", exc_info=(kind, error, trace))
