"""Active health checks of every pool's instances: GET /ready (or the service's own path).

Of several workers, one makes them for all: `mine` says whether it is this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.resilience.breaker import CircuitState
from gateway.resilience.health_check import HealthChecks, HealthPolicy
from gateway.upstream.instance import Upstream
from gateway.upstream.pool import Pool, Pools
from gateway.upstream.service_calls import ServiceCalls

_LOOK_S: Final = 1.0  # how soon a new pool is noticed
_Member = tuple[Pool, Upstream]


class Checks:
    """`run_forever` beside the requests: verdicts go to the pools."""

    def __init__(
        self, pools: Pools, calls: ServiceCalls, mine: Callable[[], bool] | None = None
    ) -> None:
        self._mine = mine
        self._pools = pools
        self._calls = calls

    async def run_forever(self) -> None:
        running: dict[HealthPolicy, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                for policy in {pool.policy.health for pool in self._pools.all()} - {None}:
                    if policy is not None and policy not in running:
                        running[policy] = group.create_task(self._run(policy))
                await asyncio.sleep(_LOOK_S)

    async def _run(self, policy: HealthPolicy) -> None:
        checks: HealthChecks[_Member] = HealthChecks(
            lambda: self._members(policy), self._probe, _tell, policy, known=_known, missed=_missed
        )
        await checks.run_forever()

    def _members(self, policy: HealthPolicy) -> list[_Member]:
        if self._mine is not None and not self._mine():
            return []
        return [
            (pool, one)
            for pool in self._pools.all()
            if pool.policy.health == policy
            for one in pool.members()
        ]

    async def _probe(self, member: _Member) -> bool:
        pool, upstream = member
        status, _ = await self._calls.ask_instance(upstream, pool.service, pool.policy.health_path)
        if status == 200:
            pool.passed(upstream)
        return status == 200


def _known(member: _Member) -> bool:
    return member[0].healthy(member[1])


def _missed(member: _Member) -> bool:
    return member[1].breaker.state is not CircuitState.CLOSED


def _tell(member: _Member, healthy: bool) -> None:
    member[0].mark(member[1], healthy)
