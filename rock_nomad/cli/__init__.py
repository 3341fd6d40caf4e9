"""`rock-nomad`: what a platform engineer and a trainer type.

Exit codes: 0 done, 1 the command in the sandbox failed, 2 fix the call, 3 retry.  `exec` ends with its command's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import typer

from rock.wire.errors import RockException
from rock.wire.reasons import Family
from rock_nomad.cli import (
    bench,
    bundle,
    clusters,
    commands,
    copying,
    device_plugin,
    diagnosis,
    forwarding,
    jobs,
    logs,
    sandboxes,
    terminal,
)
from rock_nomad.cli.output import say
from rock_nomad.config import ConfigError

__all__ = ["app", "main"]

_P = ParamSpec("_P")

_SERVERS = (clusters.dev, clusters.gateway)
_EXIT_CODES = {Family.COMMAND: 1, Family.BAD_REQUEST: 2, Family.INTERNAL: 3}

app = typer.Typer(
    name="rock-nomad",
    help="Sandboxes for reinforcement learning, on Nomad and Consul.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _command(function: Callable[_P, Coroutine[Any, Any, int | None]]) -> Callable[_P, None]:
    """A coroutine as a command: its errors become one sentence and an exit code."""

    @wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            with asyncio.Runner(loop_factory=_find_loop(function)) as runner:
                code = runner.run(function(*args, **kwargs))
        except RockException as error:
            say(f"error: {error.message}")
            code = _EXIT_CODES[error.family]
        except ConfigError as error:
            say(f"error: {error}")
            code = 2
        except KeyboardInterrupt:
            code = 130
        raise typer.Exit(code or 0)

    return run


def _find_loop(function: Callable[..., object]) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if function not in _SERVERS:
        return None
    import uvloop  # 10 ms, which a command that ends soon does not earn back

    return uvloop.new_event_loop


def _add(group: typer.Typer, function: Callable[..., Coroutine[Any, Any, int | None]]) -> None:
    name = function.__name__.rstrip("_").replace("_", "-")
    group.command(name, context_settings=getattr(function, "settings", None))(_command(function))


_MODULES = (clusters, diagnosis, sandboxes, commands, terminal, copying, forwarding, logs, bench, jobs)
_GROUPS = {"bundle": bundle, "device-plugin": device_plugin}
"""The modules whose commands are named after a word of their own, as in `bundle build`."""

for _module in _MODULES:
    for _function in _module.COMMANDS:
        _add(app, _function)
for _name, _module in _GROUPS.items():
    _group = typer.Typer(name=_name, help=_module.__doc__, no_args_is_help=True)
    _group.callback()(lambda: None)
    for _function in _module.COMMANDS:
        _add(_group, _function)
    app.add_typer(_group)


def main() -> None:
    """The entry point."""
    app()
