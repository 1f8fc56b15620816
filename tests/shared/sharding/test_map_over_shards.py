"""The same function for every shard, here and on a Ray cluster of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

from shared.errors import ConfigError, InternalError
from shared.sharding.map_over_shards import map_over_shards
from tests.shared.sharding import work

S = TypeVar("S")
R = TypeVar("R")


async def collected(
    function: Callable[[S], R],
    shards: Sequence[S],
    *,
    at_once: int | None = None,
    ray_address: str | None = None,
) -> list[R]:
    found = map_over_shards(function, shards, at_once=at_once, ray_address=ray_address)
    return [one async for one in found]


async def test_every_shard_is_done_once_and_no_more_at_once_than_asked() -> None:
    found = await collected(work.who, range(6), at_once=2)
    assert sorted(shard for shard, _, _ in found) == list(range(6))
    ends = [(at, 1) for _, at, _ in found] + [(at, -1) for _, _, at in found]
    together = most = 0
    for _, change in sorted(ends):
        together += change
        most = max(most, together)
    assert most <= 2
    assert await collected(work.square, []) == []


async def test_the_first_error_is_raised_as_it_was() -> None:
    with pytest.raises(ValueError, match="2 is wrong"):
        await collected(work.refuse, range(4), at_once=2)


async def test_a_process_that_dies_is_no_silent_gap() -> None:
    with pytest.raises(InternalError):
        await collected(work.die, range(4), at_once=2)


async def test_a_cluster_without_ray_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"looma-ai\[ray\]"):
        await collected(work.square, [1], ray_address="local")


@pytest.mark.slow
async def test_a_ray_cluster_does_the_same() -> None:
    pytest.importorskip("ray", reason="Ray isn't installed: pip install 'looma-ai[ray]'")
    found = await collected(work.square, range(8), ray_address="local")
    assert sorted(found) == [n * n for n in range(8)]
    with pytest.raises(ValueError, match="2 is wrong"):
        await collected(work.refuse, range(4), ray_address="local")


@pytest.mark.slow
async def test_a_cluster_that_is_not_there_is_said() -> None:
    pytest.importorskip("ray", reason="Ray isn't installed: pip install 'looma-ai[ray]'")
    with pytest.raises(ConfigError, match="no Ray cluster at 127"):
        await collected(work.square, [1], ray_address="127.0.0.1:1")
