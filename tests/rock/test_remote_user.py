from __future__ import annotations

import pytest

from rock._requests import Command
from rock._sandbox import Sandbox

pytestmark = pytest.mark.slow  # a real rocklet


async def test_a_user_is_made_once(sandbox: Sandbox) -> None:
    name = "rock-test-user"
    assert not await sandbox.remote_user.is_user_exist(name)
    try:
        assert await sandbox.remote_user.create_remote_user(name)
        assert await sandbox.remote_user.create_remote_user(name)
        assert await sandbox.remote_user.is_user_exist(name)
    finally:
        await sandbox.execute(Command(command=["userdel", "-r", name]))


async def test_a_name_that_cannot_be_is_not_made(sandbox: Sandbox) -> None:
    assert not await sandbox.remote_user.create_remote_user("no such:name")
