"""A worker's part in a log that its parent puts aside when it has grown (looma_cli/supervision/launch.py).

The parent changes its own descriptors for the fresh file; a worker's, inherited at its birth, would
go on filling the old one, and nothing of it be seen once that is deleted.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

_LOOK_S: Final = 5.0


async def keep_to(log: Path, look_s: float = _LOOK_S) -> None:
    """For ever, have standard output and error go to the file of that name, whichever it is.

    Returns at once if standard error goes neither there nor to one of its files put aside.
    """
    if not any(_goes_to(file) for file in log.parent.glob(f"{log.name}*")):
        return
    while True:
        await asyncio.sleep(look_s)
        if not _goes_to(log):
            fresh = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.dup2(fresh, 1)
            os.dup2(fresh, 2)
            os.close(fresh)


def _goes_to(file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(2), file.stat())
    except FileNotFoundError:
        return False  # between being put aside and made anew
