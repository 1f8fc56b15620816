"""What gateways are told when they shall read their route table again, and what they answer."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from shared.data_access.ports import Cache
from shared.errors import StoreError

ASK: Final = "gateway:reload"  # channels
TOLD: Final = "gateway:reloaded"
LAST: Final = "gateway:reload:last"  # a key: the message that was sent last
_KEPT_S: Final = 31 * 86_400.0


async def ask_for_reload(cache: Cache) -> int:
    """Ask every gateway; how many hear it now. Others find it within seconds of having Redis."""
    message = uuid4().hex.encode()
    await cache.set(LAST, message, ttl=_KEPT_S)
    return await cache.publish(ASK, message)


async def last_reload(cache: Cache) -> bytes | None:
    """The message that was sent last; None if there is none, or it can't be told."""
    try:
        return await cache.get(LAST)
    except StoreError:
        return None
