"""Tracebacks for the log: where something failed and of what type, without what it was about.

The text of an error often quotes what somebody sent: a driver's the value that it couldn't take, a
KeyError its key. Shown are those of our own errors that aren't about a request (5xx), and what the
operating system says.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

from shared.errors import LoomaError

_Info = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
_DEEPEST: Final = 20  # errors that led to one another
_WITHHELD: Final = "(its text is not logged)"


def without_texts(exc_info: Any) -> str:
    """The traceback of `exc_info`, as logging has it, the first cause first."""
    _, error, _ = exc_info
    parts = [_one(one) for one in _chain(error)]
    return "\n\nwhich led to:\n\n".join(reversed(parts))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_DEEPEST):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _one(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    lines = f"Traceback (most recent call last):\n{frames}{_named(error)}"
    if isinstance(error, BaseExceptionGroup):
        inner = "\n".join(without_texts((type(one), one, None)) for one in error.exceptions)
        lines += "\n" + "\n".join(f"  {line}" for line in inner.splitlines())
    return lines


def _named(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    return f"{name}: {_said(error)}"


def _said(error: BaseException) -> str:
    if isinstance(error, LoomaError) and error.status >= 500:
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return _WITHHELD
