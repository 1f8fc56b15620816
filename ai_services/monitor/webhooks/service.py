"""The use cases of webhooks and their deliveries: each function is one transaction of one organisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import structlog

from ai_services.monitor.webhooks.delivery.resolving import Resolver
from ai_services.monitor.webhooks.delivery.signing import Seal, new_secret, shown
from ai_services.monitor.webhooks.events import TEST, EventType, message
from ai_services.monitor.webhooks.store import deliveries, webhooks
from ai_services.monitor.webhooks.store.deliveries import Delivery, DeliveryState
from ai_services.monitor.webhooks.store.webhooks import Webhook
from shared.cursor import Listing, Page, dated
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, InvalidInput, NotFound, TooManyRequests

MOST: Final = 20  # webhooks of an organisation
OVERLAP_S: Final = 86_400.0  # for which a secret that was replaced signs as well
_RETRY_S: Final = 60.0
_log = structlog.get_logger("looma.webhooks")


@dataclass(frozen=True, slots=True)
class Secret:
    """The only time that the secret is known."""

    webhook: Webhook
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Webhooks:
    """`queued` is told when something is due."""

    relational: Relational
    resolver: Resolver
    seal: Seal
    queued: Callable[[], None] = lambda: None

    async def listing(self, org_id: UUID) -> list[Webhook]:
        """Oldest first."""
        async with self.relational.tenant(org_id, readonly=True) as tx:
            return await webhooks.list_webhooks(tx, org_id)

    async def get(self, org_id: UUID, webhook_id: UUID) -> Webhook:
        async with self.relational.tenant(org_id, readonly=True) as tx:
            return await _webhook(tx, org_id, webhook_id)

    async def create(
        self,
        org_id: UUID,
        *,
        url: str,
        event_types: Sequence[EventType],
        description: str,
        active: bool,
        idempotency_key: str | None = None,
    ) -> Secret:
        """InvalidInput for an address that nothing is sent to. Conflict if `idempotency_key` made one
        before: its secret can't be shown again.
        """
        async with self.relational.tenant(org_id, readonly=True) as tx:
            if await webhooks.made_by(tx, org_id, idempotency_key):
                raise _made_before()
            await _check_count(tx, org_id, MOST - 1)
        await self.resolver.check(url)
        webhook_id, secret = uuid4(), new_secret()
        async with self.relational.tenant(org_id) as tx:
            await webhooks.exclude_others(tx, org_id)
            made = await webhooks.insert(
                tx, org_id, webhook_id,
                url=url, event_types=event_types, description=description, active=active,
                secret=self.seal.close(org_id, webhook_id, secret), idempotency_key=idempotency_key,
            )  # fmt: skip
            if made is None:
                raise _made_before()
            await _check_count(tx, org_id, MOST)
        _log.info("webhook made", webhook_id=str(webhook_id), event_types=list(event_types))
        return Secret(made, shown(secret))

    async def change(
        self,
        org_id: UUID,
        webhook_id: UUID,
        *,
        url: str | None,
        event_types: Sequence[EventType] | None,
        description: str | None,
        active: bool | None,
    ) -> Webhook:
        """None is what stays as it is. One that is made active again is no longer disabled."""
        if url is not None:
            await self.get(org_id, webhook_id)
            await self.resolver.check(url)
        async with self.relational.tenant(org_id) as tx:
            changed = _there(
                await webhooks.update(
                    tx, org_id, webhook_id,
                    url=url, event_types=event_types, description=description, active=active,
                )
            )  # fmt: skip
        _log.info("webhook changed", webhook_id=str(webhook_id))
        self.queued()
        return changed

    async def delete(self, org_id: UUID, webhook_id: UUID) -> None:
        """With all its deliveries."""
        async with self.relational.tenant(org_id) as tx:
            if not await webhooks.delete(tx, org_id, webhook_id):
                raise _no_webhook()
        _log.info("webhook deleted", webhook_id=str(webhook_id))

    async def rotate(self, org_id: UUID, webhook_id: UUID) -> Secret:
        """A new secret; for a day the one before signs as well, and none that was before that."""
        secret = new_secret()
        sealed = self.seal.close(org_id, webhook_id, secret)
        async with self.relational.tenant(org_id) as tx:
            changed = _there(await webhooks.rotate(tx, org_id, webhook_id, sealed, OVERLAP_S))
        _log.info("webhook secret replaced", webhook_id=str(webhook_id))
        return Secret(changed, shown(secret))

    # -- deliveries --------------------------------------------------------------------------

    async def test(self, org_id: UUID, webhook_id: UUID) -> Delivery:
        """Send a test message, once, whatever the webhook hears of. Conflict if it isn't active."""
        data = {"webhook_id": str(webhook_id)}
        sent = message(TEST, str(uuid4()), datetime.now(UTC), data)
        async with self.relational.tenant(org_id) as tx:
            if not (await _webhook(tx, org_id, webhook_id)).active:
                raise Conflict("This webhook isn't active: nothing is sent to it.")
            queued = await deliveries.queue(tx, org_id, [sent], only=webhook_id)
            if not queued.ids:
                raise TooManyRequests(
                    "Too many deliveries of this webhook are open. Try again when some are over.",
                    retry_after=_RETRY_S,
                )
            found = await deliveries.get_delivery(tx, org_id, queued.ids[0])
        self.queued()
        return _delivered(found)

    async def deliveries(
        self,
        org_id: UUID,
        webhook_id: UUID,
        state: DeliveryState | None,
        *,
        cursor: str | None,
        limit: int,
    ) -> Page[Delivery]:
        """Newest first; those of the last 30 days."""
        pages = Listing("webhook_deliveries", (str(org_id), str(webhook_id), state), dated)
        before = pages.position(cursor)
        async with self.relational.tenant(org_id, readonly=True) as tx:
            await _webhook(tx, org_id, webhook_id)
            found = await deliveries.list_deliveries(
                tx, org_id, webhook_id, state=state, before=before, limit=limit + 1
            )
        return pages.page(found, limit, lambda one: (one.created_at, one.delivery_id))

    async def replay(self, org_id: UUID, delivery_id: UUID) -> Delivery:
        """Send once more what is over, with the same id. Conflict while it isn't, or can't be sent."""
        async with self.relational.tenant(org_id) as tx:
            replayed = await deliveries.replay(tx, org_id, delivery_id)
            found = _delivered(await deliveries.get_delivery(tx, org_id, delivery_id))
        if not replayed:
            over = found.finished_at is not None
            reason = "its webhook isn't active" if over else f"it is {found.state}"
            raise Conflict(f"This delivery can't be sent again now: {reason}.")
        self.queued()
        return found


async def _webhook(tx: Transaction, org_id: UUID, webhook_id: UUID) -> Webhook:
    return _there(await webhooks.get_webhook(tx, org_id, webhook_id))


async def _check_count(tx: Transaction, org_id: UUID, most: int) -> None:
    if len(await webhooks.list_webhooks(tx, org_id)) > most:
        problem = f"your organisation has {MOST} webhooks, which is the most there can be"
        raise InvalidInput.of("url", problem, "delete one that is not needed")


def _made_before() -> Conflict:
    return Conflict(
        "This Idempotency-Key made a webhook already, whose secret was shown then. "
        "If it is lost, give that webhook a new one: POST /api/v1/webhooks/ID/secret."
    )


def _there(found: Webhook | None) -> Webhook:
    if found is None:
        raise _no_webhook()
    return found


def _delivered(found: Delivery | None) -> Delivery:
    if found is None:
        raise NotFound("There is no such delivery. GET /api/v1/webhooks/ID/deliveries lists them.")
    return found


def _no_webhook() -> NotFound:
    return NotFound("There is no such webhook. GET /api/v1/webhooks lists those there are.")
