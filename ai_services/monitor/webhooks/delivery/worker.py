"""Sends what is due, in any number of processes at once.

Each attempt ends in one transaction of its organisation. A process that is killed meanwhile has sent
a message or not: another one sends it again when the lease is over, with the same id.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

import structlog

from ai_services.monitor.webhooks.delivery.sending import TIMEOUT_S, Sender
from ai_services.monitor.webhooks.delivery.sharing import Bounds, shares
from ai_services.monitor.webhooks.delivery.signing import Seal, signed_headers
from ai_services.monitor.webhooks.delivery.verdict import PAUSES, Answer, Verdict, verdict
from ai_services.monitor.webhooks.events import TEST, message
from ai_services.monitor.webhooks.metrics import Outcome, WebhookMetrics
from ai_services.monitor.webhooks.store import claiming, deliveries
from ai_services.monitor.webhooks.store.claiming import Claim
from shared.data_access.ports import Relational, Transaction
from shared.errors import ConfigError, StoreConflict, StoreUnavailable

_AWAY_S: Final = 1.0
_GRACE_S: Final = 2.0
_log = structlog.get_logger("looma.webhooks")


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds: between two looks for what is due, until who sends counts as lost, after each
    failure, after a fault of ours, of failures only until a message that dies disables its webhook.
    """

    poll_s: float = 0.5
    lease_s: float = TIMEOUT_S * 4
    pauses: Sequence[float] = PAUSES
    postpone_s: float = 300.0
    failing_s: float = 5 * 86_400.0
    bounds: Bounds = field(default_factory=Bounds)


class Deliveries:
    """`run` until cancelled; `nudge` says that something is due."""

    def __init__(
        self,
        relational: Relational,
        sender: Sender,
        seal: Seal,
        metrics: WebhookMetrics,
        pace: Pace | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._relational = relational
        self._sender = sender
        self._seal = seal
        self._metrics = metrics
        self._pace = pace or Pace()
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def nudge(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. What is on its way goes on while the database is away."""
        try:
            while True:
                self._wake.clear()
                for claim in await self._claim():
                    task = asyncio.create_task(self._deliver(claim))
                    self._running.add(task)
                    task.add_done_callback(self._ended)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.poll_s):
                        await self._wake.wait()
        except asyncio.CancelledError:
            await self._stop()
            raise

    async def _stop(self) -> None:
        """Let attempts end that are about to; the others are made again when their lease is over."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_GRACE_S)
            for task in late:
                task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _claim(self) -> list[Claim]:
        bounds = self._pace.bounds
        free = bounds.places - len(self._running)
        if not free:
            return []
        async with self._relational.system() as tx:
            if not await claiming.try_turn(tx):
                return []
            due = await claiming.due(tx)
            if not due:
                return []
            given = shares(due, await claiming.sending(tx), free, bounds)
            return await claiming.claim(tx, given, self._pace.lease_s)

    # -- one delivery ------------------------------------------------------------------------

    async def _deliver(self, claim: Claim) -> None:
        named = {"org_id": str(claim.org_id), "webhook_id": str(claim.webhook_id)}
        with structlog.contextvars.bound_contextvars(**named, delivery_id=str(claim.delivery_id)):
            try:
                answer = await self._attempt(claim)
                if answer is None:
                    await self._postpone(claim)
                else:
                    await self._end(claim, answer)
            except Exception:  # noqa: BLE001 - the edge of a delivery: it is made again when its lease is over
                _log.exception("webhook_delivery_not_ended")

    async def _attempt(self, claim: Claim) -> Answer | None:
        """What came of it; None if a fault of ours kept it from being made, which is no receiver's."""
        started = time.perf_counter()
        try:
            return await self._sent(claim)
        except ConfigError as error:
            _log.error("webhook_secret_unreadable", reason=error.message)
        except Exception:  # noqa: BLE001 - a defect: it is logged, counted, and met again later
            _log.exception("webhook_attempt_failed")
        finally:
            self._metrics.seconds.observe(time.perf_counter() - started)
        return None

    async def _sent(self, claim: Claim) -> Answer:
        signers = self._signers(claim)
        now, body = self._clock(), claim.body.encode()
        headers = signed_headers(signers, claim.message_id, int(now), body)
        return await self._sender.post(claim.url, headers, body, now)

    def _signers(self, claim: Claim) -> list[bytes]:
        """The secret, and the one before while it signs. ConfigError where the secret can't be opened;
        without the one before messages are sent all the same: it was given up.
        """
        signers = [self._seal.open(claim.org_id, claim.webhook_id, claim.secret)]
        if claim.old_secret is not None:
            try:
                signers.append(self._seal.open(claim.org_id, claim.webhook_id, claim.old_secret))
            except ConfigError as error:
                _log.warning("webhook_old_secret_unreadable", reason=error.message)
        return signers

    async def _postpone(self, claim: Claim) -> None:
        async with self._relational.tenant(claim.org_id) as tx:
            postponed = await claiming.postpone(tx, claim, self._pace.postpone_s)
        self._metrics.attempts["postponed" if postponed else "lost"].inc()

    async def _end(self, claim: Claim, answer: Answer) -> None:
        pauses = () if claim.event_type == TEST else self._pace.pauses
        found = verdict(answer, claim.attempts, pauses, random.random())  # noqa: S311 - spreads load
        while True:
            try:
                async with self._relational.tenant(claim.org_id) as tx:
                    ended = await claiming.end(
                        tx, claim, found.state,
                        after_s=found.after_s, status=answer.status, error=answer.error,
                    )  # fmt: skip
                    disabled = await self._disable(tx, claim, found) if ended else None
            except (StoreUnavailable, StoreConflict):
                await asyncio.sleep(_AWAY_S)
            else:
                break
        self._tell(claim, answer, _outcome(found) if ended else "lost")
        if disabled is not None:
            self._metrics.disabled[disabled].inc()
            _log.warning("webhook_disabled", reason=disabled)

    async def _disable(
        self, tx: Transaction, claim: Claim, found: Verdict
    ) -> Literal["gone", "failing"] | None:
        """Why the webhook was disabled by this attempt, if it was; the organisation's others hear.

        As failing only by a message whose attempts have all failed: a single one says too little.
        """
        failed = found.state == "dead" and claim.event_type != TEST
        if not found.gone and not failed:
            return None
        why: Literal["gone", "failing"] = "gone" if found.gone else "failing"
        failing_s = self._pace.failing_s
        if not await claiming.disable(tx, claim.org_id, claim.webhook_id, why, failing_s):
            return None
        data = {"webhook_id": str(claim.webhook_id), "reason": why}
        source = f"{claim.delivery_id}/{claim.claim}"
        told = message("webhook.disabled", source, datetime.now(UTC), data)
        await deliveries.queue(tx, claim.org_id, [told])
        return why

    def _tell(self, claim: Claim, answer: Answer, outcome: Outcome) -> None:
        self._metrics.attempts[outcome].inc()
        if outcome in ("dead", "gone"):
            _log.warning(
                "webhook_delivery_dead",
                event_type=claim.event_type,
                attempts=claim.attempts,
                status=answer.status,
                reason=answer.error,
            )


def _outcome(found: Verdict) -> Outcome:
    if found.gone:
        return "gone"
    return "retried" if found.state == "waiting" else found.state
