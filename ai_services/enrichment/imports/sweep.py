"""Deletes files that nobody imports any more, cut off on their way or left by a job that ended, and
ends the imports whose job has.

Any replica may sweep, all of them at once.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ai_services.enrichment.imports import file_store, store
from shared.data_access.ports import Relational

_BATCH: Final = 5  # of up to 256 MiB each
_EVERY_S: Final = 60.0
_CUT_OFF_S: Final = 3600.0  # longer than any file may take to come
_DEAD_S: Final = 7 * 86400.0  # in which a job that died can be tried again
_MOST_DEAD: Final = 20  # files of jobs that died, of an organisation
_RUNS: Final = 100
_log = structlog.get_logger("looma.imports")


async def keep_sweeping(db: Relational) -> None:
    """Until cancelled."""
    while True:
        await sweep(db)
        await end_runs(db)
        await asyncio.sleep(_EVERY_S)


async def sweep(db: Relational, *, cut_off_s: float = _CUT_OFF_S, dead_s: float = _DEAD_S) -> int:
    """How many files were deleted; the imports that they were for have ended then."""
    swept, found = 0, _BATCH
    while found == _BATCH:
        async with db.system() as tx:
            files = await file_store.left_behind(tx, cut_off_s, dead_s, _MOST_DEAD, _BATCH)
            for one in files:
                await store.finish_import(tx, one["org_id"], one["import_id"], _why(one["state"]))
                await file_store.delete_file(tx, one["org_id"], one["import_id"])
        found = len(files)
        swept += found
    if swept:
        _log.info("files_swept", files=swept)
    return swept


async def end_runs(db: Relational, *, dead_s: float = _DEAD_S) -> int:
    """How many imports were ended of those without a file of ours: a source's, whose job is over."""
    ended, found = 0, _RUNS
    while found == _RUNS:
        async with db.system() as tx:
            runs = await store.left_open(tx, dead_s, _RUNS)
            for one in runs:
                await store.finish_import(tx, one["org_id"], one["import_id"], _why(one["state"]))
        found = len(runs)
        ended += found
    return ended


def _why(state: str | None) -> str:
    return f"The job was {state}." if state else "Its job is gone."
