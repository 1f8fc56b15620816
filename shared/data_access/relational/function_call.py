"""One call of a database function as an organisation: a transaction of its own in one round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import asyncpg

from shared.data_access.guard import Guard
from shared.data_access.outbox.topics import listening_to
from shared.data_access.ports import Row
from shared.data_access.relational.driver_calls import driver_call

# What is set LOCAL ends with the statement, which is the transaction. The function's organisation
# comes from the table expression, so that it can't run before its rights are those of a tenant; its
# statements are planned inside it, under that role and its row policies.
_CALL = """
WITH tenant AS MATERIALIZED (
    SELECT set_config('role', 'looma_app', true) AS role,
           set_config('app.org_id', $1, true)::uuid AS org_id)
SELECT called.* FROM tenant CROSS JOIN LATERAL {function}(tenant.org_id{more}) AS called
"""
_FUNCTIONS = 256


class FunctionCall:
    """`ports.Call` on a connection that is in no transaction; `seconds` is the longest it may take.

    `topics` says which projections get what is emitted.
    """

    def __init__(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        guard: Guard,
        org_id: str,
        *,
        seconds: float,
        topics: Mapping[str, Sequence[str]],
    ) -> None:
        self._connection = connection
        self._guard = guard
        self._org_id = org_id
        self._seconds = seconds
        self._topics = topics

    def listeners(self, topic: str) -> list[str]:
        return listening_to(self._topics, topic)

    async def __call__(self, function: str, *args: Any) -> list[Row]:
        query = _statement(function, len(args))
        call = driver_call(
            self._connection, self._guard, self._seconds, "CALL", function, readonly=False
        )
        async with call:
            return cast("list[Row]", await self._connection.fetch(query, self._org_id, *args))


@lru_cache(_FUNCTIONS)
def _statement(function: str, arguments: int) -> str:
    if not function.isidentifier():
        raise ValueError(f"{function!r} is no name of a function")
    more = "".join(f", ${place}" for place in range(2, arguments + 2))
    return _CALL.format(function=function, more=more)
