"""Places of the product that tests may get in between, found by name. A place that is gone, or takes other arguments, is an error at start-up:
a failpoint that silently never acts proves nothing."""

import inspect
from collections.abc import Callable
from typing import Any

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


class SeamGone(Exception):
    """The product has changed where a test gets in between."""


def wrap(owner: Any, name: str, parameters: str, wrapper: Wrapper) -> None:
    """Replace the function `owner.name`, whose parameters are called `parameters` (separated by blanks), by what `wrapper` makes of it."""
    original = inspect.getattr_static(owner, name, None)
    where = f"{getattr(owner, '__module__', '')}.{getattr(owner, '__name__', owner)}.{name}".lstrip(".")
    if not inspect.isfunction(original):
        raise SeamGone(f"{where} is no function any more")
    found = " ".join(inspect.signature(original).parameters)
    if found != parameters:
        raise SeamGone(f"{where} takes ({found}), not ({parameters})")
    setattr(owner, name, wrapper(original))
