"""Images: there already, or pulled, with the events and failures of Nomad's driver.

Source: hashicorp/nomad drivers/docker/driver.go createImage, coordinator.go, progress.go; recording allocs-noimage.
"""

import time
from collections.abc import Callable, Iterable, Iterator

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import parse_repository_tag

from rock_nomad.embedded.drivers.driver import StartRefused
from rock_nomad.embedded.rows import Row
from rock_nomad.embedded.units import SECOND, parse_duration

REPORT_INTERVAL = 120.0  # seconds between events about a pull that takes its time
_MIB = 1024 * 1024
_WAITING = ("Pulling fs layer", "Waiting")
_PULLING = ("Downloading", "Verifying Checksum")
_PULLED = ("Download complete", "Extracting", "Pull complete", "Already exists")

Say = Callable[[str, dict[str, str]], None]


def ensure_image(client: docker.APIClient, config: Row, account: dict[str, str], say: Say) -> None:
    """Return when the engine has the image that a config names.  Blocks for as long as a pull takes.

    Raises StartRefused: it cannot be had, in the words of Nomad's driver.
    """
    image = config["image"]
    repository, tag = parse_repository_tag(image)
    tag = tag or "latest"
    if not config.get("force_pull") and tag != "latest" and _is_there(client, image):
        return
    name = f"{repository}@{tag}" if "@" in image else f"{repository}:{tag}"
    say("Downloading image", {"image": name})
    deadline = time.monotonic() + parse_duration(config.get("image_pull_timeout") or "5m") / SECOND
    try:
        lines = client.pull(repository, tag, stream=True, decode=True, auth_config=account or None)
        for progress in _followed(lines, deadline):
            say(f"Docker image pull progress: {progress}", {"image": image})
    except (DockerException, OSError, TimeoutError) as error:
        raise StartRefused(f"Failed to pull `{image}`: {engine_said(error)}") from error


def engine_said(error: Exception) -> str:
    """A failure as Docker's own client prints it."""
    if isinstance(error, APIError) and error.explanation:
        return f"Error response from daemon: {error.explanation}"
    return str(error)


def _is_there(client: docker.APIClient, image: str) -> bool:
    try:
        client.inspect_image(image)
    except ImageNotFound:
        return False
    return True


def _followed(lines: Iterable[Row], deadline: float) -> Iterator[str]:
    """Where a pull stands, each time that is worth an event."""
    layers: dict[str, tuple[str, int, int]] = {}  # by id: status, bytes had, bytes in all
    reported = time.monotonic()
    for line in lines:
        if "error" in line:
            raise DockerException(line["error"])
        if time.monotonic() > deadline:
            raise TimeoutError("context deadline exceeded")
        _note(layers, line)
        if time.monotonic() - reported > REPORT_INTERVAL:
            reported = time.monotonic()
            yield _standing(layers)


def _note(layers: dict[str, tuple[str, int, int]], line: Row) -> None:
    status = line.get("status", "")
    if status in (*_WAITING, *_PULLING, *_PULLED):
        _, had, total = layers.get(line["id"], ("", 0, 0))
        if status == "Downloading":
            detail = line.get("progressDetail") or {}
            had, total = detail.get("current", had), detail.get("total", total)
        layers[line["id"]] = (status, total if status in _PULLED else had, total)


def _standing(layers: dict[str, tuple[str, int, int]]) -> str:
    if not layers:
        return "No progress"
    pulled, pulling, waiting = (
        sum(status in group for status, _, _ in layers.values()) for group in (_PULLED, _PULLING, _WAITING)
    )
    had, total = (sum(sizes) / _MIB for sizes in zip(*((had, total) for _, had, total in layers.values()), strict=True))
    return f"Pulled {pulled}/{len(layers)} ({had:.4g}MiB/{total:.4g}MiB) layers: {waiting} waiting/{pulling} pulling"
