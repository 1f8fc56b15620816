"""The use cases of batches: making one, how far it is, cancelling it.

Every line is reserved in the ledger in the transaction that writes the batch down; what sends it and
takes its answers is in following.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID, uuid4, uuid5

import orjson
import structlog

from ai_services.llm.asking.question import Asker
from ai_services.llm.batches import store
from ai_services.llm.batches.batch import LEASE_S, WINDOW_S, Batch, Endpoint, Line
from ai_services.llm.batches.file_store import KEPT_DAYS
from ai_services.llm.batches.files import Files
from ai_services.llm.batches.planning import Plan, planned
from ai_services.llm.models.catalogue import Catalogue
from ai_services.llm.models.price import Price
from ai_services.llm.organisation.settings import Settings
from ai_services.llm.privacy.seal import Seal
from ai_services.llm.spend import ledger_store
from ai_services.llm.spend.attempt import Attempt
from ai_services.llm.spend.reservations import exceeded
from shared.data_access.ports import Relational, Transaction
from shared.errors import InvalidInput, NotFound, TooManyRequests

_MOST_OPEN: Final = 100  # batches of an organisation
_RETRY_S: Final = 60.0
_log = structlog.get_logger("looma.batches")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for; twice with the same `key`, it gets the batch that there is."""

    input_file_id: UUID
    endpoint: Endpoint
    metadata: Mapping[str, str] | None = None
    key: str | None = None

    def batch_id(self, org_id: UUID) -> UUID:
        return uuid4() if self.key is None else uuid5(org_id, self.key)


class Batches:
    """`create`, `read`, `cancel`; `news` is called when there is something to look after."""

    def __init__(
        self,
        relational: Relational,
        catalogue: Callable[[], Catalogue],
        settings: Settings,
        files: Files,
        seal: Seal,
        news: Callable[[], None],
    ) -> None:
        self._relational = relational
        self._catalogue = catalogue
        self._settings = settings
        self._files = files
        self._seal = seal
        self._news = news

    async def create(self, asker: Asker, wanted: Wanted) -> Batch:
        """A batch, all of whose lines are reserved.

        InvalidInput that names the first line which can't be asked, NotFound for the file;
        BudgetExceeded where a hard budget can't hold the worst case of all lines together, and
        TooManyRequests where it could if others under way end for less; StoreConflict where somebody
        makes one with the same key right now. Nothing is kept then.
        """
        batch_id = wanted.batch_id(asker.org_id)
        if wanted.key is not None:
            async with self._relational.tenant(asker.org_id, readonly=True) as tx:
                before = await store.read(tx, asker.org_id, batch_id)
            if before is not None:
                return before
        catalogue = self._catalogue()
        content = await self._files.content(asker.org_id, wanted.input_file_id)
        settings = await self._settings.of(asker.org_id)
        plan = await asyncio.to_thread(
            planned, content, wanted.endpoint, catalogue, masking=settings.mask_personal_data
        )
        now = datetime.now(UTC)
        price = catalogue.price(plan.model, now.date())
        price = price.in_batches(plan.deployment.provider.batch_discount)
        batch = _new(asker.org_id, batch_id, wanted, plan, price, now)
        attempts = [_attempt(asker, batch, line) for line in plan.lines]
        sealed = await asyncio.to_thread(self._sealed, batch, plan)
        async with ledger_store.writing(self._relational, asker.org_id) as tx:
            if await store.count_open(tx, asker.org_id) >= _MOST_OPEN:
                said = f"Your organisation has {_MOST_OPEN} batches under way. Try again later."
                raise TooManyRequests(said, retry_after=_RETRY_S)
            await _reserve(tx, asker.org_id, attempts)
            await store.insert(tx, batch, plan.lines, *sealed)
        _log.info("batch_created", batch=str(batch.batch_id), model=batch.model, lines=batch.total)
        self._news()
        return batch

    async def read(self, org_id: UUID, batch_id: UUID) -> Batch:
        """NotFound for one of another organisation, too."""
        async with self._relational.tenant(org_id, readonly=True) as tx:
            return _there(await store.read(tx, org_id, batch_id))

    async def cancel(self, org_id: UUID, batch_id: UUID) -> Batch:
        """It ends as soon as its provider has ended it; InvalidInput for one that has ended."""
        async with self._relational.tenant(org_id) as tx:
            before = _there(await store.read(tx, org_id, batch_id))
            if before.has_ended and before.status != "cancelled":
                problem = f"the batch is {before.status} already"
                raise InvalidInput.of("batch_id", problem, "cancel one that is under way")
            await store.cancel(tx, org_id, batch_id)
            after = _there(await store.read(tx, org_id, batch_id))
        self._news()
        return after

    def _sealed(self, batch: Batch, plan: Plan) -> tuple[bytes, bytes]:
        place = batch.batch_id.bytes
        return (
            self._seal.seal(batch.org_id, b"outgoing" + place, plan.outgoing),
            self._seal.seal(batch.org_id, b"hidden" + place, orjson.dumps(plan.placeholders)),
        )


def _new(
    org_id: UUID, batch_id: UUID, wanted: Wanted, plan: Plan, price: Price, now: datetime
) -> Batch:
    return Batch(
        org_id=org_id, batch_id=batch_id, input_file_id=wanted.input_file_id,
        endpoint=wanted.endpoint, metadata=wanted.metadata, model=plan.model.name,
        provider=plan.deployment.provider.name, upstream_model=plan.deployment.model, price=price,
        status="validating", errors=None,
        total=len(plan.lines), completed=0, failed=0, output_file_id=None, error_file_id=None,
        upstream_id=None, upstream_file=None, created_at=now,
        expires_at=now + timedelta(seconds=WINDOW_S), sending_at=None, in_progress_at=None,
        finalizing_at=None, cancelling_at=None, ended_at=None, looks=0,
    )  # fmt: skip


def _attempt(asker: Asker, batch: Batch, line: Line) -> Attempt:
    return Attempt(
        line.attempt_id, asker.request_id, None, asker.org_id, asker.subject, asker.purpose,
        batch.provider, batch.model, batch.price.version, line.worst,
        batch.price.cost(line.worst), LEASE_S, asker.prompt_version,
    )  # fmt: skip


async def _reserve(tx: Transaction, org_id: UUID, attempts: Sequence[Attempt]) -> None:
    """All of them, or none."""
    short = await ledger_store.reserve(tx, org_id, attempts)
    if not short:
        return
    cost = sum((attempt.cost for attempt in attempts), Decimal(0))
    budgets = await ledger_store.exhausted(tx, org_id, [one.budget_id for one in short.values()])
    for budget in budgets.values():
        if budget.left < cost:
            raise exceeded(budget, cost, "this batch")
    message = "Requests under way hold what is left of a budget. Try again when they have ended."
    raise TooManyRequests(message, retry_after=_RETRY_S)


def _there(batch: Batch | None) -> Batch:
    if batch is None:
        raise NotFound(f"There is no such batch. Those that ended are kept for {KEPT_DAYS} days.")
    return batch
