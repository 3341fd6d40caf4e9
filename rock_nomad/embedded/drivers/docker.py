"""The `docker` driver: a container of this machine's engine.

Calls of Docker's SDK block, so they run in threads: one for each container, that copies its output and waits for its
end, and some for what starts and stops.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, NotFound
from docker.utils.socket import STDERR, STDOUT, frames_iter

from rock_nomad.embedded.drivers.containers import AGENT_LABEL, container_config, credentials
from rock_nomad.embedded.drivers.driver import Capabilities, Driver, RunningTask, StartRefused, TaskSpec
from rock_nomad.embedded.drivers.guard import LogFile
from rock_nomad.embedded.drivers.images import engine_said, ensure_image
from rock_nomad.embedded.lifecycle import Exited
from rock_nomad.embedded.rows import Row

log = logging.getLogger(__name__)

_REAPER = Path(__file__).with_name("reaper.py")
_UNIX = "unix://"
_CALL_TIMEOUT = 60.0  # seconds
_SILENCE = 120.0  # seconds without a word about a pull; Nomad's pull_activity_timeout
_CONTAINERS = 512  # at once; a thread each
_STARTS = 8  # at once; the engine does not get faster by more
_DEFAULT_SIGNAL = "SIGTERM"


class DockerTask:
    """A container, until it is removed."""

    def __init__(
        self,
        driver: "DockerDriver",
        container: str,
        output: Any,  # noqa: ANN401 - a socket of the SDK's
        spec: TaskSpec,
    ) -> None:
        self._driver, self._container, self._output, self._spec = driver, container, output, spec
        self._over = threading.Event()
        self._end: Future[Exited] = driver.waits.submit(self._follow)

    async def wait(self) -> Exited:
        """Return once the container is gone."""
        return await asyncio.wrap_future(self._end)

    async def stop(self) -> None:
        """Signal the container, and kill it after the grace."""
        self._driver.waits.submit(self._stop)

    def _follow(self) -> Exited:
        client = self._driver.patient
        try:
            # The SDK keeps the HTTP response that the socket came from with it; closing that alone closes both.
            with contextlib.suppress(OSError), contextlib.closing(self._output._response):
                self._copy_output()
            code = int(client.wait(self._container)["StatusCode"])
            is_oom = bool(client.inspect_container(self._container)["State"]["OOMKilled"])
        except (DockerException, OSError) as error:
            # Somebody removed it, or the engine is gone, and it with that.
            return Exited(exit_code=137, signal=int(signal.SIGKILL), message=f"lost: {engine_said(error)}")
        finally:
            self._over.set()
            self._driver.remove(self._container)
        return Exited(exit_code=code, oom_killed=is_oom, message=_exit_message(code, is_oom=is_oom))

    def _copy_output(self) -> None:
        spec = self._spec
        logs = {
            stream: LogFile(f"{spec.directories.logs}/{spec.task}.{name}", spec.log_file_bytes, spec.log_files)
            for stream, name in ((STDOUT, "stdout"), (STDERR, "stderr"))
        }
        for stream, data in frames_iter(self._output, tty=False):
            logs[stream].write(data)

    def _stop(self) -> None:
        # The container may end, and be gone, at any moment.
        with contextlib.suppress(DockerException, OSError):
            self._driver.client.kill(self._container, self._spec.kill_signal or _DEFAULT_SIGNAL)
        if not self._over.wait(self._spec.kill_timeout):
            with contextlib.suppress(DockerException, OSError):
                self._driver.client.kill(self._container, "SIGKILL")


class DockerDriver:
    """Starts containers of one engine, labelled with the agent's name so that none outlives it."""

    def __init__(self, host: str, client: docker.APIClient) -> None:
        self.client = client
        self.patient = docker.APIClient(host, timeout=None, version=client.api_version, max_pool_size=_CONTAINERS)
        self._puller = docker.APIClient(host, timeout=_SILENCE, version=client.api_version)
        self.capabilities = Capabilities(_fingerprint(client), needs_directories=True, brings_files=True)
        self.waits = ThreadPoolExecutor(2 * _CONTAINERS, thread_name_prefix="container")
        self._starts = ThreadPoolExecutor(_STARTS, thread_name_prefix="docker")
        self._pulls = ThreadPoolExecutor(_CONTAINERS, thread_name_prefix="pull")
        self._socket = host.removeprefix(_UNIX)
        self._agent = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._reaper: subprocess.Popen[bytes] | None = None

    @classmethod
    def connect(cls, host: str) -> "DockerDriver | None":
        """The driver of the engine at `unix://PATH`; None if none answers there."""
        if not host.startswith(_UNIX) or not os.path.exists(host.removeprefix(_UNIX)):
            return None  # an engine elsewhere could not mount what is here
        try:
            return cls(host, docker.APIClient(host, timeout=_CALL_TIMEOUT, max_pool_size=_STARTS))
        except (DockerException, OSError) as error:
            log.info("no docker here: %s", error)
            return None

    async def start(self, spec: TaskSpec) -> DockerTask:
        """Pull the image if need be, and start a container of it."""
        if not isinstance(spec.config.get("image"), str) or not spec.config["image"]:
            raise StartRefused("image name required for docker driver")
        if not hasattr(signal, spec.kill_signal or _DEFAULT_SIGNAL):
            raise StartRefused(f"failed to parse signal: {spec.kill_signal!r}")
        config = container_config(spec, self._agent)
        self._watch_over_us()
        loop = asyncio.get_running_loop()
        say = _from_thread(loop, spec.say)
        await loop.run_in_executor(self._pulls, ensure_image, self._puller, spec.config, credentials(spec.config), say)
        name = f"{spec.task}-{spec.allocation_id}"
        return DockerTask(self, *await loop.run_in_executor(self._starts, self._run, name, config), spec)

    async def close(self) -> None:
        """Remove what is left, and let the reaper go."""
        await asyncio.to_thread(self._close)

    def remove(self, container: str) -> None:
        """Remove a container, running or not, if it is there."""
        with contextlib.suppress(NotFound):
            try:
                self.client.remove_container(container, force=True, v=True)
            except (DockerException, OSError) as error:
                log.warning("container %s is not removed: %s", container, error)

    def _run(self, name: str, config: Row) -> tuple[str, Any]:
        """A running container's id, and what it writes, in Docker's frames."""
        try:
            container = str(self.client.create_container_from_config(config, name)["Id"])
        except (DockerException, OSError) as error:
            raise StartRefused(f"failed to create container: {engine_said(error)}") from error
        output = None
        try:
            # Before it starts: whoever attaches to one that has ended waits for ever.
            output = self.patient.attach_socket(container)
            self.client.start(container)
        except (DockerException, OSError) as error:
            if output is not None:
                output._response.close()
            self.remove(container)
            raise StartRefused(f"Failed to start container {container}: {engine_said(error)}") from error
        return container, output

    def _watch_over_us(self) -> None:
        """See that there is a reaper, before there is a container."""
        if self._reaper is None or self._reaper.poll() is not None:
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_REAPER), self._socket, f"{AGENT_LABEL}={self._agent}"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={}, cwd="/", start_new_session=True,
            )  # fmt: skip

    def _close(self) -> None:
        with contextlib.suppress(DockerException, OSError):
            for one in self.client.containers(all=True, filters={"label": f"{AGENT_LABEL}={self._agent}"}):
                self.remove(one["Id"])
        for threads in (self._pulls, self._starts, self.waits):
            threads.shutdown()
        if self._reaper is not None:
            with contextlib.suppress(BrokenPipeError):
                self._reaper.communicate(b".")
            self._reaper = None
        for client in (self.client, self.patient, self._puller):
            client.close()


def _fingerprint(client: docker.APIClient) -> dict[str, str]:
    info = client.info()
    return {
        "driver.docker": "1",
        "driver.docker.version": info["ServerVersion"],
        "driver.docker.os_type": info["OSType"],
        "driver.docker.runtimes": ",".join(sorted(info["Runtimes"])),
    }


def _from_thread(
    loop: asyncio.AbstractEventLoop, say: Callable[[str, dict[str, str]], None]
) -> Callable[[str, dict[str, str]], None]:
    def said(message: str, details: dict[str, str]) -> None:
        loop.call_soon_threadsafe(say, message, details)

    return said


def _exit_message(code: int, *, is_oom: bool) -> str:
    if is_oom:
        return "OOM Killed"
    return f"Docker container exited with non-zero exit code: {code}" if code else ""


_: type[Driver] = DockerDriver
_task: type[RunningTask] = DockerTask
