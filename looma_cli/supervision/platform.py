"""The whole platform on one machine: embedded stores, services and gateway as one thing.

A composition root: `up` starts and watches all of it, in an order in which nobody waits for
longer than it must; leaving stops the gateway first, then the services, then the stores.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from looma_cli.supervision.child import Program
from looma_cli.supervision.ports import Address, claim
from looma_cli.supervision.run_state import RunFiles, Running, RunState
from looma_cli.supervision.store_keeper import StoreKeeper
from looma_cli.supervision.supervisor import Phase, Status, Supervisor
from shared.config import Config
from shared.embedded.stores import EmbeddedStores
from shared.services import GATEWAY, SERVICES
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


def programs(config: Config, settings: dict[str, str]) -> list[list[Program]]:
    """The gateway, which stops first, and the services; ConfigError if GATEWAY_PORT is taken."""
    own = {**settings, "LOOMA_HOME": str(config.home)}

    def program(name: str, module: str, setting: str = "") -> Program:
        address = Address(config.bind_host, config.port_of(name), setting)
        return Program(name, module, address.url, own, address)

    gateway = program(GATEWAY.name, GATEWAY.module, GATEWAY.port_setting)
    claim(Address(config.bind_host, config.gateway_port, GATEWAY.port_setting)).close()
    if config.gateway_workers > 1:  # each opens the port for itself, and the kernel spreads
        gateway = replace(gateway, address=None)
    return [[gateway], [program(one.name, one.module) for one in SERVICES]]


@asynccontextmanager
async def up(
    config: Config, files: RunFiles, *, settings: dict[str, str], step: Step, say: Say
) -> AsyncIterator[Platform]:
    """Start everything; the block begins when the stores are up and the services may not yet serve.

    `files` are those of this home, held by the caller; `settings` are given to every process;
    `step` hears what each part is doing, `say` what went wrong later.
    """
    groups = programs(config, settings)
    gateway_url = groups[0][0].url
    started = time.time()

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
