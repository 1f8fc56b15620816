"""What shards do in tests; found by its name in other processes."""

from __future__ import annotations

import os
import time


def square(shard: int) -> int:
    return shard * shard


def refuse(shard: int) -> int:
    if shard == 2:
        raise ValueError(f"{shard} is wrong")
    return shard


def die(shard: int) -> int:
    if shard == 1:
        os._exit(9)
    return shard


def who(shard: int) -> tuple[int, float, float]:
    began = time.time()
    time.sleep(0.2)
    return shard, began, time.time()
