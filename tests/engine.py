"""A Docker engine to test against, images made of this machine's own files, and a private registry on loopback.

No test pulls from outside.  Whatever is made here carries the label `rock-nomad-tests=<run>` and goes when its block
ends, whoever else uses the engine.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

__all__ = [
    "DOCKER_HOST",
    "IMAGE_PATH",
    "PASSWORD",
    "USERNAME",
    "Engine",
    "Registry",
    "open_engine",
    "run_engine",
    "serve_registry",
]

DOCKER_HOST = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
USERNAME = "puller"
PASSWORD = 'pull "me"\'s ${HOME} <é&#=\\'
"""With whatever a shell, a template, a dotenv file or Nomad's interpolation could stumble over."""

IMAGE_PATH = "/opt/of-the-image:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What every image that is made here says in `ENV`."""

_HTPASSWD = f"{USERNAME}:$2b$04$abcdefghijklmnopqrstuuHXuAW/CUacYl5n2uX8Sn.oANKr24Dqi\n"
_LABEL = "rock-nomad-tests"
_START_TIMEOUT = 120.0  # seconds; a loaded machine
_LOOK_INTERVAL = 0.05
_PRUNED = re.compile(r"/(test|tests|idlelib|tkinter|turtledemo|ensurepip|site-packages|config-[^/]*|__pycache__)(/|$)")
_TOOLS = (
    *("bash", "cat", "cp", "cut", "date", "dd", "echo", "env", "false", "find", "grep", "head", "id", "kill", "ls"),
    *("mkdir", "mv", "nohup", "ps", "pwd", "rm", "sed", "seq", "setsid", "sh", "sleep", "sort", "stat", "tail", "tar"),
    *("test", "touch", "tr", "true", "uname", "wc", "which", "whoami"),
)


@dataclass(frozen=True)
class Engine:
    """A running engine, and this run's images on it."""

    client: docker.APIClient = field(repr=False)
    run: str

    @property
    def labels(self) -> dict[str, str]:
        """What a container made by a test carries, to be removed if the test does not."""
        return {_LABEL: self.run}

    @cached_property
    def busybox(self) -> str:
        """An image that holds a static busybox and no C library at all."""
        program = shutil.which("busybox")
        if program is None:
            pytest.skip("no busybox: its static build is what the smallest image is made of")
        with _new_image() as archive:
            archive.add(os.path.realpath(program), "bin/busybox")
            listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
            for applet in set(listed) - {"busybox"}:
                _add_link(archive, f"bin/{applet}", "/bin/busybox")
            return self.import_image("busybox", archive)

    @cached_property
    def python(self) -> str:
        """An image with glibc, bash, the usual tools and the Python that runs the tests."""
        return self._python_image("python")

    def python_with(self, packages: Path) -> str:
        """The same, in which the packages of a folder are installed."""
        return self._python_image("python-with", packages)

    def _python_image(self, image: str, packages: Path | None = None) -> str:
        base = Path(sys.base_prefix)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        programs = {f"/usr/bin/{name}": found for name in _TOOLS if (found := shutil.which(name, path=os.defpath))}
        programs[f"/usr/local/bin/{version}"] = str(base / "bin" / version)
        with _new_image() as archive:
            for target, source in programs.items():
                archive.add(os.path.realpath(source), target.lstrip("/"))
            for name in ("python3", "python"):
                _add_link(archive, f"usr/local/bin/{name}", version)
            modules = base / "lib" / version
            archive.add(modules, f"usr/local/lib/{version}", filter=_without_ballast)
            extensions = list((modules / "lib-dynload").glob("*.so"))
            if packages is not None:
                archive.add(packages, f"usr/local/lib/{version}/site-packages")
                extensions += packages.rglob("*.so")
            for library in sorted(_libraries_of(*map(os.path.realpath, programs.values()), *map(str, extensions))):
                if packages is None or not Path(library).is_relative_to(packages):
                    archive.add(os.path.realpath(library), library.lstrip("/"))
            _add_link(archive, "bin", "usr/bin")
            return self.import_image(image, archive)

    def import_image(self, name: str, archive: tarfile.TarFile) -> str:
        """An image of a root file system, by the name it got."""
        archive.close()
        changes = [f"LABEL {_LABEL}={self.run}", f"ENV PATH={IMAGE_PATH}", "ENV TERM=of-the-image"]
        said = self.client.import_image_from_file(
            archive.name, repository=f"{_LABEL}/{name}", tag=self.run, changes=changes
        )
        assert '"error"' not in said, said
        return f"{_LABEL}/{name}:{self.run}"

    @contextlib.contextmanager
    def aliased(self, image: str, name: str) -> Iterator[None]:
        """Have an image answer to a name that users write, unless the engine has one of that name.

        Other runs, which share the engine, wait for the name meanwhile.
        """
        repository, _, tag = name.partition(":")
        with Path(tempfile.gettempdir(), f"{_LABEL}-{name.replace('/', '-')}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                self.client.inspect_image(name)
            except ImageNotFound:
                self.client.tag(image, repository, tag)
                try:
                    yield
                finally:
                    self.client.remove_image(name)  # the name alone: the image has another
            else:
                yield

    def containers(self) -> list[str]:
        """The ids of this run's containers, dead ones too."""
        label = f"{_LABEL}={self.run}"
        return [str(one["Id"]) for one in self.client.containers(all=True, filters={"label": label})]

    def clean(self) -> None:
        """Remove this run's containers and images."""
        for container in self.containers():
            self.client.remove_container(container, force=True, v=True)
        for image in self.client.images(filters={"label": f"{_LABEL}={self.run}"}):
            self.client.remove_image(image["Id"], force=True)  # with all its tags


@dataclass(frozen=True)
class Registry:
    """A private registry: its address is the first part of its images' names."""

    engine: Engine = field(repr=False)
    address: str

    def push(self, image: str, name: str) -> str:
        """Put an image into the registry and away from the engine; how it is pulled."""
        pushed = f"{self.address}/{name}"
        self.engine.client.tag(image, pushed, "1")
        account = {"username": USERNAME, "password": PASSWORD}
        for line in self.engine.client.push(pushed, "1", auth_config=account, stream=True, decode=True):
            assert "error" not in line, line
        self.forget(f"{pushed}:1")
        return f"{pushed}:1"

    def forget(self, image: str) -> None:
        """Take a pulled image from the engine, so that it has to be pulled again."""
        with contextlib.suppress(ImageNotFound):
            self.engine.client.remove_image(image, force=True)


@contextlib.contextmanager
def open_engine(host: str = DOCKER_HOST) -> Iterator[Engine]:
    """The engine that answers on this machine; nothing of ours is left on it."""
    try:
        client = docker.APIClient(host, timeout=120)
    except DockerException as error:
        pytest.skip(f"no docker: {error}")
    with contextlib.closing(client):
        engine = Engine(client, secrets.token_hex(4))
        try:
            yield engine
        finally:
            engine.clean()


@contextlib.contextmanager
def run_engine(runtimes: Mapping[str, object]) -> Iterator[str]:
    """An engine of our own that has other runtimes than the machine's, as a DOCKER_HOST; nothing of it is left.

    It forwards ports by a proxy, and so leaves the machine's firewall alone.
    """
    program = shutil.which("dockerd")
    if program is None or os.geteuid() != 0:
        pytest.skip("no engine of our own: it takes dockerd and root")
    bridge, net = f"rock{secrets.token_hex(3)}", f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}.1/24"
    with tempfile.TemporaryDirectory(prefix="rock-engine-", ignore_cleanup_errors=True) as folder:
        Path(folder, "daemon.json").write_text(json.dumps({"runtimes": runtimes}))
        places = {"config-file": "daemon.json", "data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        options = [f"--{option}={folder}/{place}" for option, place in places.items()]
        host = f"unix://{folder}/docker.sock"
        _ip("link", "add", bridge, "type", "bridge")
        try:
            _ip("address", "add", net, "dev", bridge)
            _ip("link", "set", bridge, "up")
            with Path(folder, "log").open("wb") as log:
                command = [program, *options, f"--host={host}", f"--bridge={bridge}", "--iptables=false"]
                process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            try:
                _wait_until_up(Path(folder, "docker.sock"))
                yield host
            finally:
                process.terminate()
                process.wait(60)
        finally:
            _ip("link", "delete", bridge)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _wait_until_up(path: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
            return
        except OSError:
            assert time.monotonic() < deadline, "the engine did not start"
            time.sleep(_LOOK_INTERVAL)  # one that does not listen yet can only be tried again


@contextlib.contextmanager
def serve_registry(engine: Engine) -> Iterator[Registry]:
    """A registry that asks for USERNAME and PASSWORD."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no docker-registry on PATH")
    with tempfile.TemporaryDirectory(prefix="rock-registry-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        Path(folder, "htpasswd").write_text(_HTPASSWD)
        config = {
            "version": 0.1, "log": {"accesslog": {"disabled": True}, "level": "error"},
            "storage": {"filesystem": {"rootdirectory": f"{folder}/storage"}}, "http": {"addr": address},
            "auth": {"htpasswd": {"realm": "tests", "path": f"{folder}/htpasswd"}},
        }  # fmt: skip
        Path(folder, "config.yml").write_text(json.dumps(config))
        probe.close()
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([program, "serve", f"{folder}/config.yml"], stdout=log, stderr=log)
        try:
            _wait_until_served(address)
            yield Registry(engine, address)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _wait_until_served(address: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=60)
        except urllib.error.HTTPError as answer:
            answer.close()
            return  # 401: it serves, and asks who we are
        except OSError:
            assert time.monotonic() < deadline, "the registry did not start"
            time.sleep(_LOOK_INTERVAL)  # one that does not listen yet can only be tried again


@contextlib.contextmanager
def _new_image() -> Iterator[tarfile.TarFile]:
    """A root file system to be filled, with what every one has."""
    with tempfile.NamedTemporaryFile() as file, tarfile.open(file.name, "w") as archive:
        for path, mode in (("tmp", 0o1777), ("root", 0o700), ("etc", 0o755), ("proc", 0o755), ("home", 0o755)):
            member = tarfile.TarInfo(path)
            member.type, member.mode = tarfile.DIRTYPE, mode
            archive.addfile(member)
        for path, text in (
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"),
            ("etc/group", "root:x:0:\n"),
        ):
            member = tarfile.TarInfo(path)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        yield archive


def _add_link(archive: tarfile.TarFile, path: str, target: str) -> None:
    member = tarfile.TarInfo(path)
    member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
    archive.addfile(member)


def _without_ballast(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _PRUNED.search(f"/{member.name}") else member


def _libraries_of(*programs: str) -> set[str]:
    """The shared libraries, loader included, that programs are linked with, as absolute paths."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(/\S+) \(0x", said))
