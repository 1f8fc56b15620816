"""SIGHUP (reload): held back while a process starts or stops, so that it never ends one.

While it is held the kernel keeps it, and delivers it once it is let through: whoever tells a
gateway to reload before that can be heard is heard later. A child begins with what its parent holds.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = {signal.SIGHUP}


def hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


@contextmanager
def held() -> Iterator[None]:
    """Hold it inside the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def let_through() -> Iterator[None]:
    """Deliver it inside the block; its handler must be there before and stay until after."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
