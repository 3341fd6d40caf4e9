from __future__ import annotations

import logging

import pytest

from rock.logger import init_logger


def test_a_logger_says_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    logger = init_logger("rock.mine", "mine.log")
    assert (logger.name, logger.propagate, logger.handlers) == ("rock.mine", True, [])
    logger.error("not for the terminal")
    assert init_logger() is logging.getLogger("rock")
    assert capfd.readouterr() == ("", "")
