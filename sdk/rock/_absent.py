"""ROCK's modules and names that this client does not have yet: they import, and say so when they are called.

A module path that does not import stops a trainer at its first line; a name that is missing should stop it only where
it is used.  `_absent_names` is the table.
"""

from __future__ import annotations

import importlib
import sys
from abc import ABCMeta
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["AbsentPaths", "absent_name", "absent_names"]


class _AbsentType(ABCMeta):
    """What stands for a name that is not there: a class, so that it can be a base, an annotation and pickled.

    Its attributes are like it, so that `Name.from_yaml` fails only when it is called too.
    """

    def __call__(cls, *_: Any, **__: Any) -> Any:  # noqa: ANN401 - whatever the name would take and make
        from rock.errors import NotInThisClient

        absent = next(base for base in cls.__mro__ if "_is_absent" in vars(base))
        raise NotInThisClient(f"{absent.__module__}.{absent.__qualname__} is not in this client yet")

    def __getattr__(cls, name: str) -> Any:  # noqa: ANN401 - likewise
        if name.startswith("_"):  # what Python and pydantic ask every class for
            raise AttributeError(f"{cls.__qualname__} has no attribute {name!r}")
        value = _make(cls.__module__, f"{cls.__qualname__}.{name}")
        setattr(cls, name, value)
        return value

    def __repr__(cls) -> str:
        return f"<{cls.__module__}.{cls.__qualname__}, not in this client yet>"


def _make(module: str, qualname: str) -> _AbsentType:
    body = {
        "__module__": module,
        "__qualname__": qualname,
        "__doc__": "Not in this client yet.",
        "_is_absent": True,
        "__class_getitem__": classmethod(lambda cls, _: cls),
        "__get_pydantic_core_schema__": classmethod(_as_instance),
    }
    return _AbsentType(qualname.rpartition(".")[2], (), body)


def _as_instance(cls: type, *_: object) -> Any:  # noqa: ANN401 - pydantic's
    """A pydantic field of the type takes an instance, of which there are none."""
    from pydantic_core import core_schema

    return core_schema.is_instance_schema(cls)


def absent_name(module: str, name: str) -> Any:  # noqa: ANN401 - what stands for any name
    """What stands for a name of one of ROCK's modules."""
    return getattr(importlib.import_module(module), name)


def absent_names(module: str) -> Callable[[str], Any]:
    """A module's `__getattr__`: what stands for each of its names that the table lists."""

    def find(name: str) -> Any:  # noqa: ANN401 - likewise
        from rock._absent_names import ABSENT

        home = ABSENT.get(module, {}).get(name)
        if home is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = _make(module, name) if home == module else absent_name(home, name)
        setattr(sys.modules[module], name, value)
        return value

    return find


class AbsentPaths:
    """A finder, asked after all others, for ROCK's modules that are not there."""

    @classmethod
    def find_spec(cls, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The module's spec, if the table has it."""
        if not fullname.startswith("rock."):
            return None
        from rock._absent_names import ABSENT

        is_package = any(name.startswith(f"{fullname}.") for name in ABSENT)
        if fullname not in ABSENT and not is_package:
            return None
        return ModuleSpec(fullname, cls(), is_package=is_package)  # type: ignore[arg-type]  # importlib's abc is slow

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own will do."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill it: every name is made when it is first asked for."""
        from rock._absent_names import ABSENT

        names = sorted(ABSENT.get(module.__name__, {}))
        module.__doc__ = "One of ROCK's modules; its names are not in this client yet."
        vars(module).update(__getattr__=absent_names(module.__name__), __all__=names, __dir__=lambda: names)
