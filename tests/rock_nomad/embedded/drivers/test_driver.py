from __future__ import annotations

import pytest

from rock_nomad.embedded.drivers.driver import Driver, StartRefused
from rock_nomad.embedded.drivers.mock import MockDriver
from rock_nomad.embedded.drivers.raw_exec import RawExecDriver


@pytest.mark.parametrize("driver", [MockDriver, RawExecDriver])
def test_every_driver_says_what_it_can_do_before_it_is_made(driver: type[Driver]) -> None:
    (attribute,) = driver.capabilities.attributes
    assert attribute.startswith("driver.")


def test_a_refusal_carries_the_drivers_text() -> None:
    assert StartRefused("why").text == str(StartRefused("why")) == "why"
