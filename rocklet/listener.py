"""The socket that the rocklet listens on.

It is made before the server is imported, which takes longer than all else at the start: whoever calls meanwhile is kept
waiting for the answer, and need neither be refused nor try again.
"""

from __future__ import annotations

import socket

from rocklet.config import Settings

__all__ = ["BACKLOG", "open_listener"]

BACKLOG = 512  # connections that wait to be accepted


def open_listener(settings: Settings) -> socket.socket:
    """A socket that listens where the settings say.

    Raises OSError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
