"""How many processes of this service there are: while Redis is away each has its part of the limits."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from shared.data_access.ports import Cache
from shared.errors import StoreError
from shared.serving.registry import instances

_EVERY_S: Final = 5.0


class Replicas:
    """The `number` that the registry showed last."""

    def __init__(self, cache: Cache, service: str) -> None:
        self._cache = cache
        self._service = service
        self.number = 1

    async def follow_forever(self) -> None:
        while True:
            with suppress(StoreError):  # what was known last is what counts while Redis is away
                self.number = max(1, len((await instances(self._cache)).get(self._service, ())))
            await asyncio.sleep(_EVERY_S)
