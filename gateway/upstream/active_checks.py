"""Active health checks of every pool's instances: GET /ready (or the service's own path).

Of several workers, one makes them for all: `mine` says whether it is this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.resilience.breaker import CircuitState
from gateway.resilience.health_check import HealthChecks, HealthPolicy
from gateway.upstream.member import Member
from gateway.upstream.pool import Pool, Pools
from gateway.upstream.service_calls import ServiceCalls

_POLL_S: Final = 1.0  # how soon a new pool is noticed
_Checked = tuple[Pool, Member]


class ActiveChecks:
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
                await asyncio.sleep(_POLL_S)

    async def _run(self, policy: HealthPolicy) -> None:
        checks: HealthChecks[_Checked] = HealthChecks(
            lambda: self._members(policy), self._probe, _tell, policy, known=_known, missed=_missed
        )
        await checks.run_forever()

    def _members(self, policy: HealthPolicy) -> list[_Checked]:
        if self._mine is not None and not self._mine():
            return []
        return [
            (pool, one)
            for pool in self._pools.all()
            if pool.policy.health == policy
            for one in pool.members()
        ]

    async def _probe(self, checked: _Checked) -> bool:
        pool, member = checked
        status, _ = await self._calls.ask_instance(
            member.instance, pool.service, pool.policy.health_path
        )
        if status == 200:
            pool.passed(member)
        return status == 200


def _known(checked: _Checked) -> bool:
    pool, member = checked
    return pool.healthy(member)


def _missed(checked: _Checked) -> bool:
    _, member = checked
    return member.breaker.state is not CircuitState.CLOSED


def _tell(checked: _Checked, healthy: bool) -> None:
    pool, member = checked
    pool.mark(member, healthy)
