from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rock._requests import Command

if TYPE_CHECKING:
    from rock._sandbox import Sandbox

__all__ = ["LinuxRemoteUser", "RemoteUser"]

log = logging.getLogger(__name__)


class RemoteUser:
    """The users of a sandbox."""

    current_user: str = "root"

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def create_remote_user(self, user_name: str) -> bool:
        """Make a user with a home directory; whether there is one now."""
        if await self.is_user_exist(user_name):
            return True
        made = await self.sandbox.execute(Command(command=["useradd", "-m", "-s", "/bin/bash", user_name]))
        if made.exit_code != 0:
            log.warning("user %s was not made in sandbox %s: %s", user_name, self.sandbox.sandbox_id, made.stderr)
        return made.exit_code == 0

    async def is_user_exist(self, user_name: str) -> bool:
        """Whether there is a user of that name."""
        return (await self.sandbox.execute(Command(command=["id", user_name]))).exit_code == 0


LinuxRemoteUser = RemoteUser
"""ROCK's name; there are no other sandboxes than Linux ones."""
