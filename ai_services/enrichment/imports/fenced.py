"""An import that a job does: what a batch brings in is kept with how far the job is, or not at all.

So a process that is killed leaves whole batches, and whoever goes on passes over the lines that are
in: no call is lost, none is counted twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from ai_services.enrichment.importing import Import, read_ahead, told
from ai_services.enrichment.imports.trying_out import fitting
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.read_file import Batch
from ai_services.enrichment.work import Work
from shared.data_access.ports import Row
from shared.errors import InvalidInput
from shared.jobs.context import JobContext

COUNTS = ("inserted", "updated", "unchanged", "duplicates", "rejected")
# Of JSON: with an error of which each character takes six, a result stays within its 16 KiB.
_NOTES_BYTES: Final = 3 << 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a job's work an import stands: `cursor` is what its checkpoints hold beside the line,
    `line` up to which its rows are in, `done` and `total` the job's progress before it and in all.
    """

    cursor: Mapping[str, Any]
    line: int
    done: int
    total: int


async def bring_in(
    job: JobContext[Work], run: Import, read: Callable[[], Iterator[Batch]], place: Place
) -> str | None:
    """Merge what isn't in yet; why the file, or the rest of it, is refused, if so.

    Each batch is a transaction with a checkpoint: `place.cursor` and `line`.
    """
    cipher = PhoneCipher(job.state.data_key, run.org_id, job.state.country)
    line = place.line

    def passed(batch: Batch) -> None:
        job.stop_if_asked()
        job.progress(max(job.done, place.done + batch.bytes_read), place.total)

    try:
        async with aclosing(read_ahead(read(), cipher, place.line, passed)) as ahead:
            async for batch, staged in ahead:
                done = place.done + batch.bytes_read
                async with job.db.tenant(run.org_id) as tx:
                    line = max(line, batch.last_line)
                    cursor = {**place.cursor, "line": line}
                    await job.checkpoint(tx, cursor, done=done, total=place.total)
                    merged = await run.merge(tx, batch, staged, cipher.digests)
                outcomes = Counter(
                    inserted=len(merged.inserted),
                    updated=len(merged.updated),
                    unchanged=batch.calls - len(merged.callids),
                    duplicate=batch.duplicates,
                    rejected=len(batch.rejects),
                )
                job.state.counts.brought_in(run.org_id, outcomes)
                if batch.rejects:
                    await run.check_worth(job.db)
    except InvalidInput as error:
        return told(error)
    return None


def result_of(run: Row) -> dict[str, Any]:
    """What a job tells of an import: those of its notes that there is room for."""
    counts = {name: run[name] for name in COUNTS}
    return {
        "import_id": str(run["import_id"]),
        "rows": sum(counts.values()),
        **counts,
        "noted": run["noted"],
        "error": run["error"],
        "notes": fitting(run["notes"], _NOTES_BYTES),
    }
