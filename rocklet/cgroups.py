"""Files of the cgroup that the rocklet is in, whichever hierarchy the kernel has."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["Cgroup"]


class Cgroup:
    """A process's cgroup.  `own` says which it is, and `root` is where all are."""

    def __init__(self, own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> None:
        self._own, self._root = own, root

    def places(self, controller: str, *, v1: str, v2: str) -> list[Path]:
        """Where a file of a controller may be, the likeliest first; it is called otherwise in each hierarchy.

        A container sees its own cgroup as the root, whatever it is said to be.  Raises OSError: there are none.
        """
        found = []
        for line in self._own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            folder, name = (self._root / controller, v1) if controllers else (self._root, v2)
            found += [folder / path.strip("/") / name, folder / name]
        return found

    def read(self, controller: str, *, v1: str, v2: str) -> str | None:
        """What such a file says; None where there is none to read."""
        with contextlib.suppress(OSError):
            for place in self.places(controller, v1=v1, v2=v2):
                with contextlib.suppress(OSError):
                    return place.read_text()
        return None
