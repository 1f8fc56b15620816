"""`map_over_shards`: the same function for every shard, in processes of their own.

Here they are processes of this machine. With `ray_address` they are tasks of a Ray cluster, whose machines
have the same release installed. The function, its shards and what it returns are pickled; it is found by its
name, so it stands in a module. A shard whose process dies on a cluster is done again: whatever it does must do
no harm when it is done twice.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol, TypeVar

from shared.errors import ConfigError, InternalError

S = TypeVar("S")
R = TypeVar("R")
_PATIENCE_S: Final = 5.0
_TRIES: Final = 3  # of a shard on a cluster, whose machines come and go


class _Processes(Protocol):
    places: int

    async def run(self, function: Callable[[S], R], shard: S) -> R: ...


async def map_over_shards(
    function: Callable[[S], R],
    shards: Sequence[S],
    *,
    at_once: int | None = None,
    ray_address: str | None = None,
) -> AsyncIterator[R]:
    """What `function` returns of each shard, in the order in which they are done.

    `at_once` are under way together; None: as many as there are cores, of the cluster if there is one.
    The first error ends all that have not begun and is raised once those under way are through, as it
    was raised there; InternalError if a process died of it. ConfigError where Ray isn't installed, or
    can't be reached.
    """
    async with _opened(ray_address, at_once) as processes:
        waiting = iter(shards)
        under_way: set[asyncio.Task[R]] = set()
        try:
            while True:
                for shard in waiting:
                    under_way.add(asyncio.create_task(processes.run(function, shard)))
                    if len(under_way) >= processes.places:
                        break
                if not under_way:
                    return
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            if under_way:
                await asyncio.wait(under_way)
                for task in under_way:
                    if not task.cancelled():
                        task.exception()  # seen: another was the first


@asynccontextmanager
async def _opened(ray_address: str | None, at_once: int | None) -> AsyncIterator[_Processes]:
    if ray_address is None:
        places = at_once or os.cpu_count() or 1
        # Not forked: an event loop and its threads don't survive that.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(places, mp_context=context) as pool:
            yield _Local(pool, places)
        return
    try:
        ray: Any = importlib.import_module("ray")  # 80 MB, and only who has a cluster needs it
    except ImportError as error:
        raise ConfigError(
            "RAY_ADDRESS is set, but Ray isn't installed: pip install 'looma-ai[ray]'."
        ) from error
    was_there = ray.is_initialized()
    if not was_there:
        await _find(ray_address)
        await asyncio.to_thread(_connect, ray, ray_address)
    try:
        yield _Cluster(ray, at_once or max(1, int(ray.cluster_resources().get("CPU", 1))))
    finally:
        if not was_there:
            await asyncio.to_thread(ray.shutdown)


async def _find(address: str) -> None:
    """Ray itself looks for minutes."""
    host, separator, port = address.rpartition(":")
    if not separator:
        return  # a word of Ray's own: local, auto
    try:
        async with asyncio.timeout(_PATIENCE_S):
            _, writer = await asyncio.open_connection(host.rpartition("/")[2], int(port))
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        raise _not_there(address) from error
    writer.close()


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _not_there(address) from error


def _not_there(address: str) -> ConfigError:
    return ConfigError(
        f"RAY_ADDRESS: there is no Ray cluster at {address}. Start one there (`ray start --head`), or "
        "unset it, and this machine's processes are used."
    )


class _Local:
    def __init__(self, pool: ProcessPoolExecutor, places: int) -> None:
        self._pool = pool
        self.places = places

    async def run(self, function: Callable[[S], R], shard: S) -> R:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, shard)
        except BrokenProcessPool as error:
            raise InternalError("A process at work on a part of this has died.") from error


class _Cluster:
    def __init__(self, ray: Any, places: int) -> None:
        self._ray = ray
        self.places = places

    async def run(self, function: Callable[[S], R], shard: S) -> R:
        ray = self._ray
        task = ray.remote(function).options(num_cpus=1, max_retries=_TRIES - 1).remote(shard)
        try:
            found: R = await asyncio.wrap_future(task.future())
        except ray.exceptions.RayTaskError as error:
            raise error.cause or error from error
        except ray.exceptions.RayError as error:
            raise InternalError("A process at work on a part of this has died.") from error
        except asyncio.CancelledError:
            with suppress(ray.exceptions.RayError):
                ray.cancel(task)
            raise
        return found
