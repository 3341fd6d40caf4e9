"""SWE-agent's way to a sandbox: a deployment that starts one and hands out SWE-ReX's own client for it.

Needs the package `swe-rex`, which SWE-agent brings.  The rocklet speaks its wire; the client
goes to it directly, so this works where the sandboxes' hosts can be reached.
"""

from __future__ import annotations

import logging

from swerex.deployment.abstract import AbstractDeployment
from swerex.deployment.hooks.abstract import CombinedDeploymentHook, DeploymentHook
from swerex.exceptions import DeploymentNotStartedError
from swerex.runtime.abstract import IsAliveResponse
from swerex.runtime.remote import RemoteRuntime

from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock.wire.messages import Empty
from rock.wire.operations import RESOLVE_ROCKLET

__all__ = ["RockDeployment"]

_PREFIX = "/swerex"
_ALIVE_TIMEOUT = 2.0  # seconds; SWE-ReX's own 0.15 are few for a sandbox on another machine

log = logging.getLogger(__name__)


class RockDeployment(AbstractDeployment):
    """One sandbox, and a stock `RemoteRuntime` for it.

        deployment = RockDeployment(SandboxConfig(image="python:3.11"))
        await deployment.start()
        await deployment.runtime.create_session(CreateBashSessionRequest())

    One that is forgotten ends by its idle clock, not by the collector.
    """

    def __init__(self, config: SandboxConfig | None = None, *, logger: logging.Logger | None = None) -> None:
        self.logger = logger or log
        self.sandbox = Sandbox(config)
        """The sandbox, for whatever SWE-ReX has no words for."""
        self._hooks = CombinedDeploymentHook()
        self._runtime: RemoteRuntime | None = None

    def add_hook(self, hook: DeploymentHook) -> None:
        """Tell somebody about each step of the start."""
        self._hooks.add_hook(hook)

    async def start(self) -> None:
        """Start the sandbox.

        Raises BadRequestRockError: ask for something else; InternalServerRockError: start another.
        """
        self._hooks.on_custom_step("Starting sandbox")
        sandbox = self.sandbox
        await sandbox.start()
        endpoint = await sandbox._gateway.call(RESOLVE_ROCKLET, Empty(), sandbox_id=sandbox.sandbox_id or "")
        self._runtime = RemoteRuntime(
            auth_token=endpoint.token, host=f"{endpoint.url}{_PREFIX}", timeout=_ALIVE_TIMEOUT, logger=self.logger
        )

    async def stop(self) -> None:
        """End the sandbox."""
        self._runtime = None
        await self.sandbox.stop()

    async def is_alive(self, *, timeout: float | None = None) -> IsAliveResponse:
        """Whether the sandbox answers.

        Raises DeploymentNotStartedError.
        """
        return await self.runtime.is_alive(timeout=timeout)

    @property
    def runtime(self) -> RemoteRuntime:
        """SWE-ReX's client of the sandbox.

        Raises DeploymentNotStartedError.
        """
        if self._runtime is None:
            raise DeploymentNotStartedError
        return self._runtime

    def __del__(self) -> None:
        """Nothing: the one that is inherited starts tasks while objects are collected."""
