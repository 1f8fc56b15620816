"""Looks after batches: sends each once, asks how far it is, takes its answers, settles its lines.

All that is known stands in the database, and any replica may go on with it. What a killed process
may have sent is looked for at the provider by its name before it is sent again; what is settled twice
counts once. A batch of which nothing can be learned until its lease is over has expired, and the ledger's
sweep charges its lines by their worst case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
import structlog

from ai_services.llm.batches import file_store, store
from ai_services.llm.batches.batch import LEASE_S, WINDOW_S, Batch, Ended, Status
from ai_services.llm.batches.files import place_of
from ai_services.llm.batches.results import Results, results
from ai_services.llm.metrics import LlmMetrics
from ai_services.llm.models.catalogue import Catalogue, Provider
from ai_services.llm.privacy.seal import Seal
from ai_services.llm.providers.batch_client import BatchClient, Upstream
from ai_services.llm.providers.outcome import ProviderFailure
from ai_services.llm.spend import ledger_store
from shared.data_access.ports import Relational
from shared.errors import StoreError

_HELD_S: Final = 900.0  # by who looks after one, longer than that may take
_FIRST_S: Final = 0.1  # until the next look, twice as long each time
_LONGEST_S: Final = 60.0
_AT_ONCE: Final = 8
_IDLE_S: Final = 1.0  # between two looks at what is due; other replicas make batches, too
_SWEEP_S: Final = 3600.0
_SETTLED: Final = 500  # in a transaction
_SPARE: Final = timedelta(seconds=LEASE_S - WINDOW_S)
_SHOWN: Final = 500  # characters of what a provider says
_REFUSALS: Final = frozenset({"request", "setup", "quota", "context", "refused"})
_KNOWN: Final[Mapping[str, Status]] = {"in_progress": "in_progress", "finalizing": "finalizing"}
_log = structlog.get_logger("looma.batches")


class Following:
    """`follow_forever` in the background; `news` wakes it."""

    def __init__(
        self,
        relational: Relational,
        catalogue: Callable[[], Catalogue],
        client: BatchClient,
        seal: Seal,
        metrics: LlmMetrics,
    ) -> None:
        self._relational = relational
        self._catalogue = catalogue
        self._client = client
        self._seal = seal
        self._metrics = metrics
        self._news = asyncio.Event()
        self._swept_at = -_SWEEP_S

    def news(self) -> None:
        self._news.set()

    async def follow_forever(self) -> None:
        """Until cancelled."""
        while True:
            self._news.clear()
            await self._sweep()
            pause = await self.follow()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(pause, _IDLE_S)):
                    await self._news.wait()

    async def follow(self) -> float:
        """Look after what is due; seconds until something is again."""
        async with self._relational.system() as tx:
            due = await store.due(tx, _AT_ONCE)
        await asyncio.gather(*(self._look_after(*one) for one in due))
        async with self._relational.system() as tx:
            return await store.seconds_until_due(tx)

    async def _sweep(self) -> None:
        if time.monotonic() < self._swept_at + _SWEEP_S:
            return
        self._swept_at = time.monotonic()
        async with self._relational.system() as tx:
            await file_store.sweep(tx)

    async def _look_after(self, org_id: UUID, batch_id: UUID) -> None:
        async with self._relational.tenant(org_id) as tx:
            batch = await store.claim(tx, org_id, batch_id, _HELD_S)
        if batch is None:
            return
        pause = min(_FIRST_S * 2.0 ** min(batch.looks, 16), _LONGEST_S)
        try:
            async with asyncio.timeout(_HELD_S):
                await self._advance(batch)
        except ProviderFailure as error:
            _log.warning("batch_waits", batch=str(batch_id), reason=error.message)
            if batch.upstream_id is None:
                pause = _LONGEST_S  # it may be there without being listed yet
        except (StoreError, TimeoutError) as error:
            _log.warning("batch_waits", batch=str(batch_id), reason=str(error))
            return  # somebody goes on once its lease is over
        with suppress(StoreError):
            async with self._relational.tenant(org_id) as tx:
                await store.look_later(tx, batch, pause)

    async def _advance(self, batch: Batch) -> None:
        provider = self._catalogue().provider(batch.provider)
        if datetime.now(UTC) > batch.expires_at + _SPARE:
            await self._end(batch, "expired")  # the ledger has charged its lines by now
        elif provider is None:
            _log.warning("batch_waits", batch=str(batch.batch_id), reason="no such provider")
        elif batch.upstream_id is None:
            await self._send(batch, provider)
        else:
            await self._look(batch, provider, batch.upstream_id)

    # Sending.

    async def _send(self, batch: Batch, provider: Provider) -> None:
        name = str(batch.batch_id)
        if batch.sending_at is not None:  # by whom, and how far they came, nobody knows
            found = await self._client.find(provider, name)
            if found is not None:
                await self._sent(batch, found)
                return
        if datetime.now(UTC) > batch.expires_at:
            await self._settle_and_end(batch, "expired", [])
            return
        async with self._relational.tenant(batch.org_id) as tx:
            begun = await store.begin_sending(tx, batch.org_id, batch.batch_id)
            sealed = await store.outgoing(tx, batch.org_id, batch.batch_id)
        if not begun:
            await self._settle_and_end(batch, "cancelled", [])
            return
        outgoing = await self._opened(batch, b"outgoing", sealed)
        if outgoing is None:
            await self._fail(batch, "unreadable", "The batch was kept under another DATA_KEY.")
            return
        file: str | None = None
        try:
            file = await self._client.upload(provider, f"{name}.jsonl", outgoing)
            upstream = await self._client.create(provider, name, file, batch.endpoint)
        except ProviderFailure as error:
            if error.kind not in _REFUSALS:
                raise
            await self._fail(batch, error.kind, error.message)
            await self._delete(provider, [file])
            return
        await self._sent(batch, upstream)

    async def _sent(self, batch: Batch, upstream: Upstream) -> None:
        async with self._relational.tenant(batch.org_id) as tx:
            await store.sent(tx, batch.org_id, batch.batch_id, upstream.id, upstream.input_file)
        _log.info("batch_sent", batch=str(batch.batch_id), upstream=upstream.id)

    # Looking.

    async def _look(self, batch: Batch, provider: Provider, upstream_id: str) -> None:
        try:
            found = await self._client.look(provider, upstream_id)
            is_to_end = batch.cancelling_at is not None and not found.has_ended
            if is_to_end and found.status != "cancelling":
                found = await self._client.cancel(provider, upstream_id)
        except ProviderFailure as error:
            if error.kind not in _REFUSALS:
                raise
            _log.warning("batch_waits", batch=str(batch.batch_id), reason=error.message)
            return  # a key that is mended, or a provider that finds it again, before the lease is over
        if found.has_ended:
            await self._take(batch, provider, found)
            return
        status = _KNOWN.get(found.status, "in_progress" if batch.in_progress_at else "validating")
        async with self._relational.tenant(batch.org_id) as tx:
            await store.progressed(
                tx, batch.org_id, batch.batch_id, status, found.completed, found.failed
            )

    async def _take(self, batch: Batch, provider: Provider, found: Upstream) -> None:
        """The answers of a batch that has ended; then what the provider keeps of it is deleted."""
        status: Ended = "failed"
        if found.status in ("completed", "expired", "cancelled"):
            status = found.status  # type: ignore[assignment]  # mypy doesn't narrow by `in`
        there = [file for file in (found.output_file, found.error_file) if file is not None]
        contents = [await self._client.content(provider, file) for file in there]
        await self._settle_and_end(batch, status, contents, list(map(_error, found.errors)))
        await self._delete(provider, [*there, found.input_file])

    async def _delete(self, provider: Provider, names: Sequence[str | None]) -> None:
        """What isn't needed any more; a provider that fails in this keeps it for its own time."""
        for name in names:
            if name is not None:
                with suppress(ProviderFailure):
                    await self._client.delete(provider, name)

    # Ending.

    async def _fail(self, batch: Batch, code: str, message: str) -> None:
        error = _error({"code": code, "message": message})
        await self._settle_and_end(batch, "failed", [], [error])

    async def _settle_and_end(
        self,
        batch: Batch,
        status: Ended,
        contents: Sequence[bytes],
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        async with self._relational.tenant(batch.org_id) as tx:
            lines = await store.lines(tx, batch.org_id, batch.batch_id)
            sealed = await store.placeholders(tx, batch.org_id, batch.batch_id)
        hidden = orjson.loads(await self._opened(batch, b"hidden", sealed) or b"{}")
        since = batch.sending_at or batch.created_at
        latency_ms = round((datetime.now(UTC) - since).total_seconds() * 1000)
        found = await asyncio.to_thread(
            results, batch, status, lines, contents, hidden, max(0, latency_ms)
        )
        for at in range(0, len(found.settlements), _SETTLED):
            some = found.settlements[at : at + _SETTLED]
            async with ledger_store.writing(self._relational, batch.org_id) as tx:
                await ledger_store.settle(tx, batch.org_id, some)
        await self._end(batch, status, found, errors)

    async def _end(
        self,
        batch: Batch,
        status: Ended,
        found: Results | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Keep the files and note that it has ended, unless somebody else has done so."""
        found = found or Results()
        output = await asyncio.to_thread(self._kept, batch, "output", found.output)
        failures = await asyncio.to_thread(self._kept, batch, "errors", found.errors)
        if status == "failed":  # as a whole: `errors` says why
            failures = None
        async with self._relational.tenant(batch.org_id) as tx:
            ended = await store.end(
                tx, batch.org_id, batch.batch_id, status,
                completed=len(found.output), failed=batch.total - len(found.output),
                output_file_id=None if output is None else output[0],
                error_file_id=None if failures is None else failures[0],
                errors=errors or None,
            )  # fmt: skip
            if not ended:
                return
            for one in (output, failures):
                if one is not None:
                    file_id, name, size, sealed = one
                    await file_store.insert(
                        tx, batch.org_id, file_id, "batch_output", name, size, sealed
                    )
        settlements = [settlement for _, settlement in found.settlements]
        self._metrics.batch_ended(batch.provider, batch.upstream_model, status, settlements)
        _log.info(
            "batch_ended", batch=str(batch.batch_id), status=status, answered=len(found.output)
        )

    def _kept(
        self, batch: Batch, what: str, lines: Sequence[bytes]
    ) -> tuple[UUID, str, int, bytes] | None:
        """(id, name, bytes, encrypted content) of a file of lines; None for none."""
        if not lines:
            return None
        file_id, content = uuid4(), b"\n".join(lines) + b"\n"
        sealed = self._seal.seal(batch.org_id, place_of(file_id), content)
        return file_id, f"batch_{batch.batch_id.hex}_{what}.jsonl", len(content), sealed

    async def _opened(self, batch: Batch, what: bytes, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        place = what + batch.batch_id.bytes
        return await asyncio.to_thread(self._seal.open, batch.org_id, place, sealed)


def _error(said: Mapping[str, Any]) -> dict[str, Any]:
    """Why a batch failed, as clients know it; of what a provider says only what can be kept."""
    texts = {name: said.get(name) for name in ("code", "message", "param")}
    line = said.get("line")
    kept = {
        name: text.replace("\0", "")[:_SHOWN] if isinstance(text, str) else None
        for name, text in texts.items()
    }
    return {**kept, "line": line if isinstance(line, int) else None}
