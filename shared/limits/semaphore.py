"""A counting semaphore that processes share: so many places, each held under a lease.

Who holds a place renews it in time. One whose process died, or stood still for longer than the
lease, is free again, and its holder learns so when it renews.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from uuid import uuid4

import orjson

from shared.data_access.ports import Cache

# KEYS: a sorted set of tokens for each name, by the time (ms, by Redis's clock) at which their leases
# end; it lives as long as the longest of them.
# ARGV[1]: {{key's number, what, token, lease in ms, limit}, …}; answer: 1 or 0 for each
_SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local told = {}
for i, step in ipairs(cjson.decode(ARGV[1])) do
  local key, what, token = KEYS[step[1]], step[2], step[3]
  local done, holds = 0, what ~= 'release'
  if what == 'acquire' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
    if redis.call('ZCARD', key) < step[5] then done = 1 end
  elseif what == 'renew' then
    local ends = redis.call('ZSCORE', key, token)
    if ends and tonumber(ends) > now then done = 1 end
  else
    done = redis.call('ZREM', key, token)
  end
  if done == 1 and holds then
    redis.call('ZADD', key, string.format('%.0f', now + step[4]), token)
    redis.call('PEXPIREAT', key, redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  end
  told[i] = done
end
return told
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What is asked of one place of `name`: to hold it for `lease_s` from now, or to give it back."""

    what: Literal["acquire", "renew", "release"]
    name: str
    token: str  # to acquire: a new one
    lease_s: float = 0.0
    limit: int = 0  # of places, to acquire one


class Semaphore(Protocol):
    """Places by name. `acquire`, `renew` before the lease ends, `release` at the end."""

    async def acquire(self, name: str, limit: int, lease_s: float) -> str | None:
        """Take one of `limit` places for `lease_s` seconds: its token, or None if all are taken."""
        ...

    async def renew(self, name: str, token: str, lease_s: float) -> bool:
        """Hold the place for `lease_s` from now; False if its lease has ended: it is lost."""
        ...

    async def release(self, name: str, token: str) -> None:
        """Give the place back, if it is still held."""
        ...


class RedisSemaphore:
    """Places counted in `cache`; StoreError if Redis can't."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def acquire(self, name: str, limit: int, lease_s: float) -> str | None:
        token = new_token()
        return token if await self._done(Step("acquire", name, token, lease_s, limit)) else None

    async def renew(self, name: str, token: str, lease_s: float) -> bool:
        return await self._done(Step("renew", name, token, lease_s))

    async def release(self, name: str, token: str) -> None:
        await self._done(Step("release", name, token))

    async def take(self, steps: Sequence[Step]) -> list[bool]:
        """Take `steps` in order, in one round trip; whether each was done."""
        names = list(dict.fromkeys(step.name for step in steps))
        numbers = {name: number for number, name in enumerate(names, 1)}
        asked = [
            (numbers[step.name], step.what, step.token, _milliseconds(step.lease_s), step.limit)
            for step in steps
        ]
        told = await self._cache.eval(_SCRIPT, names, [orjson.dumps(asked)])
        return [done == 1 for done in told]

    async def _done(self, step: Step) -> bool:
        (done,) = await self.take([step])
        return done


class LocalSemaphore:
    """Places counted in this process only. Names without a place in use take no memory."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[str, dict[str, float]] = {}  # name → token → end of its lease

    async def acquire(self, name: str, limit: int, lease_s: float) -> str | None:
        now = self._clock()
        held = {token: end for token, end in self._ends.get(name, {}).items() if end > now}
        token = None
        if len(held) < limit:
            token = new_token()
            held[token] = now + lease_s
        self._keep(name, held)
        return token

    async def renew(self, name: str, token: str, lease_s: float) -> bool:
        held, now = self._ends.get(name, {}), self._clock()
        if held.get(token, now) <= now:
            return False
        held[token] = now + lease_s
        return True

    async def release(self, name: str, token: str) -> None:
        held = self._ends.get(name, {})
        held.pop(token, None)
        self._keep(name, held)

    def _keep(self, name: str, held: dict[str, float]) -> None:
        if held:
            self._ends[name] = held
        else:
            self._ends.pop(name, None)


def new_token() -> str:
    return uuid4().hex


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
