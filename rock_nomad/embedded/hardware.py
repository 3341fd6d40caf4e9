"""The devices under the node: simulated ones, whose health may change."""

import asyncio
import logging

from rock_nomad.device_plugin.devices import Hardware
from rock_nomad.embedded.devices import device_rows
from rock_nomad.embedded.scheduler import Scheduler

log = logging.getLogger(__name__)

_LOOK_INTERVAL = 0.25  # seconds; a file does not call


async def follow_hardware(hardware: Hardware, scheduler: Scheduler) -> None:
    """Tell the scheduler of every change, for ever; what cannot be seen stays as it was."""
    trouble = ""
    while True:
        await asyncio.sleep(_LOOK_INTERVAL)
        try:
            scheduler.change_devices(device_rows(await asyncio.to_thread(hardware.groups)))
            trouble = ""
        except (OSError, ValueError) as error:
            if str(error) != trouble:
                log.warning("the devices stay as they were: %s", error)
            trouble = str(error)
