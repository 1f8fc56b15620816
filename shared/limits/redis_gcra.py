"""GCRA in Redis: the counts of rate limits that all processes share.

One script call carries any number of requests with all their limits, and decides them by Redis's
clock. A key holds the TAT and lives until its bucket is full again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from shared.data_access.ports import Cache
from shared.limits.counts import Count, Key

# ARGV[1]: {{{interval, room, lease}, … one per key}, {{key, cost, key, cost, …}, … one per request},
#           {key, cost, key, cost, …} of corrections}
# Answer: {clock, ahead and lease per key …, 1 or 0 per request …}
# Times are microseconds, since 2025: in a double that keeps a hundredth of one. Since 1970 it would
# keep a quarter, and an interval of 33.3 would be off by a per cent.
_SCRIPT: Final = """
local t = redis.call('TIME')
local now = (t[1] - 1735689600) * 1e6 + t[2]
local asked = cjson.decode(ARGV[1])
local keys, requests, corrections = asked[1], asked[2], asked[3]
local stored = redis.call('MGET', unpack(KEYS))
local ahead, changed, allowed = {}, {}, {}
for k, rule in ipairs(keys) do
  local a = (tonumber(stored[k] or 0) or 0) - now
  -- Further ahead than the room: Redis's clock was set back, or the limit was made smaller.
  if a > rule[2] then a = rule[2]; changed[k] = true end
  ahead[k] = math.max(a, 0)
end
for i = 1, #corrections, 2 do
  local k = corrections[i]
  local a = ahead[k] + corrections[i + 1] * keys[k][1]
  ahead[k] = math.min(math.max(a, 0), keys[k][2])
  changed[k] = true
end
local taken = {}
for r, parts in ipairs(requests) do
  local fits = 1
  for i = 1, #parts, 2 do
    local rule = keys[parts[i]]
    if ahead[parts[i]] + parts[i + 1] * rule[1] > rule[2] then fits = 0 end
  end
  if fits == 1 then
    for i = 1, #parts, 2 do
      local k = parts[i]
      ahead[k] = math.max(ahead[k] + parts[i + 1] * keys[k][1], 0)
      taken[k] = true
    end
  end
  allowed[r] = fits
end
-- As text: numbers are written with 14 digits, and the clock has more from 2028 on.
local told = {string.format('%.0f', now)}
for k, rule in ipairs(keys) do
  local lease = 0
  if taken[k] and rule[3] > 0 then
    lease = math.max(0, math.min(rule[3], math.floor((rule[2] - ahead[k]) / rule[1])))
    ahead[k] = ahead[k] + lease * rule[1]
  end
  if taken[k] or changed[k] then
    local until_full = math.ceil(ahead[k] / 1000) + 1
    redis.call('SET', KEYS[k], string.format('%.3f', now + ahead[k]), 'PX', until_full)
  end
  told[#told + 1] = ahead[k]
  told[#told + 1] = lease
end
for r = 1, #allowed do told[#told + 1] = allowed[r] end
return cjson.encode(told)
"""
_MICRO: Final = 1e6


class RedisGcra:
    """`take` decides requests by the counts in `cache`."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def take(
        self,
        keys: Sequence[Key],
        requests: Sequence[Sequence[float]],
        corrections: Sequence[float] = (),
    ) -> Count:
        """In one round trip; StoreError if Redis can't."""
        rules = [(key.interval * _MICRO, key.room * _MICRO, key.lease) for key in keys]
        asked = orjson.dumps((rules, requests, corrections)).decode()
        told = orjson.loads(await self._cache.eval(_SCRIPT, [key.name for key in keys], [asked]))
        border = 1 + 2 * len(keys)
        pairs = zip(told[1:border:2], told[2:border:2], strict=True)
        return Count(
            float(told[0]) / _MICRO,
            tuple((ahead / _MICRO, int(lease)) for ahead, lease in pairs),
            tuple(fits == 1 for fits in told[border:]),
        )

    async def probe(self) -> None:
        """Count something that limits nobody; StoreError if Redis can't."""
        await self.take([Key("limit:probe", 1e-6, 1.0)], [(1, 1)])
