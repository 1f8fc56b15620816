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
from dataclasses import dataclass

from shared.cli import ports
from shared.cli.child import Program
from shared.cli.opened import embedded
from shared.cli.run_state import RunFiles, Running, RunState
from shared.cli.store_keeper import StoreKeeper
from shared.cli.supervisor import Phase, Status, Supervisor
from shared.config import Config
from shared.embedded.stores import EmbeddedStores

SERVICES = ("auth", "enrichment", "portrait")
STARTED_WITHIN_S = 120.0
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
    host = config.bind_host
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    gateway_port = ports.fixed(host, config.gateway_port, "GATEWAY_PORT")
    taken = {gateway_port}

    def program(name: str, module: str, port: int) -> Program:
        taken.add(port)
        own = {**settings, f"{name.upper()}_PORT": str(port), "LOOMA_HOME": str(config.home)}
        return Program(name, module, f"http://{shown}:{port}", own)

    services = [
        program(name, f"ai_services.{name}", ports.preferred(host, config.port_of(name), taken))
        for name in SERVICES
    ]
    return [[program("gateway", "gateway", gateway_port)], services]


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
    files.write(_state(gateway_url, started, supervisor))
    which = embedded(config)
    stores = EmbeddedStores(config.home, which=which)
    watch: asyncio.Task[None] | None = None
    try:
        # The processes load their code while the stores come up.
        supervisor.start()
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
            Running(s.program.name, s.program.url, s.pid, s.phase.value, s.restarts)
            for s in statuses
        ),
    )
