"""The devices that had an error, remembered beyond the plugin's own life: the driver reports each error once."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

__all__ = ["SickList"]

log = logging.getLogger(__name__)


class SickList:
    """Device ids and what ails each, in a file that the operator may edit.

    Where the file cannot be written, the list lives as long as the plugin.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ailments: dict[str, str] = {}
        self._is_in_file = True

    def read(self) -> dict[str, str]:
        """The list as the file has it now: what was taken out of it is well again."""
        if self._is_in_file:
            try:
                self._ailments = msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
            except FileNotFoundError:
                self._ailments = {}
            except (OSError, msgspec.MsgspecError) as error:
                log.warning("the list of sick devices is kept as it was: %s: %s", self._path, error)
        return dict(self._ailments)

    def add(self, device_id: str, ailment: str) -> None:
        """Remember that a device must not be given out."""
        self._ailments = {**self.read(), device_id: ailment}
        self._write()

    def remove(self, device_id: str) -> None:
        """Forget it: the device is well."""
        self._ailments = {each: ailment for each, ailment in self.read().items() if each != device_id}
        self._write()

    def _write(self) -> None:
        partial = self._path.with_suffix(".partial")
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(self._ailments)))
            os.replace(partial, self._path)
            self._is_in_file = True
        except OSError as error:
            self._is_in_file = False
            log.error("the list of sick devices is lost when the plugin ends: %s: %s", self._path, error)  # noqa: TRY400 - the reason is enough
