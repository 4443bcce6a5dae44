"""Changing a few words of code that is already loaded, and only if they are there to be changed."""

import inspect
import linecache
import textwrap
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

_undo: list[Callable[[], None]] = []


class Misfit(Exception):
    """The code is not what this was made for: the broken build has to follow it."""


def rewrite(owner: ModuleType | type, name: str, *changes: tuple[str, str], **names: object) -> None:
    """Replace texts in the source of a function; each must be in it exactly once. `names` are known to the new source."""
    function = _function(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        if source.count(old) != 1:
            raise Misfit(f"{owner.__name__}.{name} has {source.count(old)} times {old!r}")
        source = source.replace(old, new)
    for alias, value in names.items():
        _give(function.__globals__, alias, value)
    _put(owner, name, _compiled(function, source))


def replace(owner: ModuleType | type, name: str, new: Callable[..., Any], *, signature: str) -> Any:
    """Replace a function that has this signature, written without annotations. Returns the former one."""
    function = _function(owner, name)
    if _signature(function) != signature:
        raise Misfit(f"{owner.__name__}.{name} has the signature {_signature(function)}")
    _put(owner, name, new)
    return function


def set_constant(module: ModuleType, name: str, value: float) -> None:
    """Give a constant another value of its type."""
    known = vars(module).get(name)
    if type(known) is not type(value):
        raise Misfit(f"{module.__name__}.{name} is {known!r}")
    _put(module, name, value)


def undo() -> None:
    """Take everything back."""
    while _undo:
        _undo.pop()()


def _function(owner: ModuleType | type, name: str) -> FunctionType:
    found = vars(owner).get(name)
    if not isinstance(found, FunctionType):
        raise Misfit(f"{owner.__name__}.{name} is no function")
    return found


def _signature(function: FunctionType) -> str:
    signature = inspect.signature(function)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _put(owner: ModuleType | type, name: str, new: object) -> None:
    former = vars(owner)[name]
    _undo.append(lambda: setattr(owner, name, former))
    setattr(owner, name, new)


def _give(namespace: dict[str, Any], alias: str, value: object) -> None:
    if alias in namespace:
        raise Misfit(f"{namespace['__name__']}.{alias} is there already")
    namespace[alias] = value
    _undo.append(lambda: namespace.__delitem__(alias))


def _compiled(function: FunctionType, source: str) -> FunctionType:
    """The function that this source makes, at home in the original's module."""
    path = f"<broken {function.__module__}.{function.__qualname__}>"
    linecache.cache[path] = len(source), None, source.splitlines(keepends=True), path
    made: dict[str, Any] = {}
    exec(compile(source, path, "exec"), function.__globals__, made)  # noqa: S102  (our own source, a few words changed)
    found = made[function.__name__]
    if not isinstance(found, FunctionType):
        raise Misfit(f"{path} is decorated")
    found.__qualname__ = function.__qualname__
    return found
