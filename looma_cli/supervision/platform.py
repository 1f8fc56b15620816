"""The whole platform on one machine: embedded stores, services and gateway as one thing.

A composition root: `up` starts and watches all of it, in an order in which nobody waits for
longer than it must; leaving stops the gateway first, then the services, then the stores.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import psutil

from looma_cli.supervision.child import Program
from looma_cli.supervision.ports import Address, claim
from looma_cli.supervision.run_state import RunFiles, Running, RunState
from looma_cli.supervision.store_keeper import StoreKeeper
from looma_cli.supervision.supervisor import Phase, Status, Supervisor
from shared.config import Config
from shared.embedded.stores import EmbeddedStores
from shared.services import GATEWAY, SERVICES, Service
from shared.store_urls import embedded_servers

_STOP_MARGIN_S = 5.0  # beyond the time that work in flight has

Say = Callable[[str], None]
Step = Callable[[str, str], None]  # (who, what is going on)


@dataclass(frozen=True, slots=True)
class Platform:
    """What runs inside `up`'s block."""

    config: Config
    gateway_url: str
    supervisor: Supervisor
    stores: EmbeddedStores
    which: frozenset[str]


def programs(
    config: Config, settings: Mapping[str, str], replicas: Mapping[str, int]
) -> list[list[Program]]:
    """The gateway, which stops first, and the services; ConfigError if GATEWAY_PORT is taken.

    A service runs as often as `replicas` says, once without: the first on its own port as NAME, the
    others on free ones as NAME-2, NAME-3 ….
    """
    own = {**settings, "LOOMA_HOME": str(config.home)}

    def program(service: Service, name: str, port: int, setting: str = "") -> Program:
        address = Address(config.bind_host, port, setting)
        return Program(name, service.module, address.url, own, address, service.name)

    gateway = program(GATEWAY, GATEWAY.name, config.gateway_port, GATEWAY.port_setting)
    claim(Address(config.bind_host, config.gateway_port, GATEWAY.port_setting)).close()
    if config.gateway_workers > 1:  # each opens the port for itself, and the kernel spreads
        gateway = replace(gateway, address=None)
    services = [program(one, one.name, config.port_of(one.name)) for one in SERVICES]
    services += [
        program(one, f"{one.name}-{number}", 0)
        for one in SERVICES
        for number in range(2, replicas.get(one.name, 1) + 1)
    ]
    return [[gateway], services]


@asynccontextmanager
async def up(
    config: Config,
    files: RunFiles,
    *,
    settings: Mapping[str, str],
    replicas: Mapping[str, int],
    step: Step,
    say: Say,
) -> AsyncIterator[Platform]:
    """Start everything; the block begins when the stores are up and the services may not yet serve.

    `files` are those of this home, held by the caller; `settings` are given to every process,
    `replicas` are how often a service runs that shall not run once;
    `step` hears what each part is doing, `say` what went wrong later.
    """
    groups = programs(config, settings, replicas)
    gateway_url = groups[0][0].url
    # Not now: to load the code takes seconds, and `looma down` tells us by this from another program.
    started = psutil.Process().create_time()

    def listen(status: Status, line: str) -> None:
        step(status.program.name, status.phase.value)
        files.write(_state(gateway_url, started, supervisor))
        if line:
            say(line)

    supervisor = Supervisor(
        groups,
        config.home / "logs",
        patience_s=config.shutdown_seconds + _STOP_MARGIN_S,
        listener=listen,
    )
    which = embedded_servers(config)
    stores = EmbeddedStores(config.home, which=which)
    watch: asyncio.Task[None] | None = None
    try:
        # The processes load their code while the stores come up.
        supervisor.start()
        files.write(_state(gateway_url, started, supervisor))
        if which:
            await stores.start(on_progress=step)
            watch = asyncio.create_task(StoreKeeper(stores, say).run())
        yield Platform(config, gateway_url, supervisor, stores, which)
    finally:
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        await supervisor.stop()
        if which:
            await stores.stop()


def _state(gateway_url: str, started: float, supervisor: Supervisor) -> RunState:
    statuses = supervisor.statuses.values()
    return RunState(
        pid=os.getpid(),
        started=started,
        gateway_url=gateway_url,
        ready=all(status.phase is Phase.READY for status in statuses),
        processes=tuple(
            Running(s.program.name, s.url, s.pid, s.phase.value, s.restarts) for s in statuses
        ),
    )
