"""`looma up`, once its options are read: start, show, serve, stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from ai_services.auth.bootstrap import take_password
from ai_services.auth.service import Auth, open_auth
from looma_cli.runner import ending_signals
from looma_cli.stores.external import external, require_external
from looma_cli.supervision import platform
from looma_cli.supervision.platform import Platform
from looma_cli.supervision.run_state import RunFiles
from looma_cli.terminal.console import messages
from looma_cli.up.progress import StartView
from looma_cli.up.welcome import SignIn, show_addresses, show_holdings, survey
from shared.config import Config
from shared.data_access.access import StoreUrls, UnifiedDataAccess, open_data_access
from shared.store_urls import store_urls

READY_WITHIN_S = 120.0
DEMO = "demo"
_PORTS = ("relational", "cache")


@dataclass(frozen=True, slots=True)
class Opened:
    """The stores as the command line uses them."""

    data: UnifiedDataAccess
    auth: Auth


OnReady = Callable[[Platform, Opened], Awaitable[None]]
# Makes sure that the demo organisation has its data; gets and returns the account to enter with.
FillDemo = Callable[[Config, Opened, SignIn], Awaitable[SignIn]]


def with_demo(config: Config, demo: FillDemo | None) -> Config:
    """The demo is an organisation of its own; on an empty home it is the first."""
    return config if demo is None else replace(config, organisation=DEMO)


async def start(config: Config, demo: FillDemo | None, replicas: Mapping[str, int]) -> None:
    """Start, show what there is, and serve until SIGINT or SIGTERM."""
    config = with_demo(config, demo)
    began = time.monotonic()
    with StartView() as view:

        async def greet(up: Platform, opened: Opened) -> None:
            view.close()
            await welcome(config, demo, opened, up.gateway_url, time.monotonic() - began)
            messages().print("[dim]Ctrl-C stops it.")

        await serve(config, view, greet, replicas)


async def serve(
    config: Config,
    view: StartView,
    on_ready: OnReady,
    replicas: Mapping[str, int],
    lock: int | None = None,
) -> None:
    """Run the platform until a signal ends it; a second one cuts the stop short.

    `replicas` are how often a service runs that shall not run once.
    `lock` is that of the home, if this process was given it. AlreadyUp if the home is up.
    """
    running: list[Platform] = []
    files = RunFiles(config.home)
    with files.held(lock):  # before anything else: of two that start at once one does nothing
        work = asyncio.create_task(_work(config, files, view, on_ready, replicas, running))
        await _until_ended(work, view, running)


async def _until_ended(work: asyncio.Task[None], view: StartView, running: list[Platform]) -> None:
    for number in ending_signals():
        asyncio.get_running_loop().add_signal_handler(number, _stop, work, view, running)
    try:
        await work
    except asyncio.CancelledError:
        view.say("Stopped.")


def _stop(work: asyncio.Task[None], view: StartView, running: list[Platform]) -> None:
    if not work.cancelling():
        view.say("Stopping: the gateway, the services, the stores.")
        work.cancel()
        return
    for one in running:
        one.supervisor.kill()


async def _work(
    config: Config,
    files: RunFiles,
    view: StartView,
    on_ready: OnReady,
    replicas: Mapping[str, int],
    running: list[Platform],
) -> None:
    settings = {"ORGANISATION": config.organisation}
    await _check_external(config)
    async with platform.up(
        config, files, settings=settings, replicas=replicas, step=view.step, say=view.say
    ) as up:
        running.append(up)
        async with open_for_cli(config) as opened:
            # Before the services serve, so that the first admin's password is shown here.
            await opened.auth.start()
            up.supervisor.serve()
            await up.supervisor.ready(READY_WITHIN_S)
            await on_ready(up, opened)
        await asyncio.Event().wait()


async def _check_external(config: Config) -> None:
    """Tell about a store that is somewhere else and away, before anything starts."""
    ports = external(config).keys()
    if not ports:
        return
    there = StoreUrls(
        config.database_url or "", config.graph_url or "", config.vector_url, config.search_url,
        config.redis_url or "",
    )  # fmt: skip
    async with open_data_access(there, ports=ports, pool_size=1) as data:
        await require_external(config, data, ports)


@asynccontextmanager
async def open_for_cli(config: Config) -> AsyncIterator[Opened]:
    """The ports that the command line needs, over stores that run."""
    async with open_data_access(store_urls(config), ports=_PORTS, pool_size=4) as data:
        with open_auth(config, data.relational, data.cache) as auth:
            yield Opened(data, auth)


async def welcome(
    config: Config, demo: FillDemo | None, opened: Opened, gateway_url: str, seconds: float
) -> None:
    """Fill the demo organisation if asked to, then show what there is and how to get in."""
    sign_in = SignIn(config.admin_email, take_password(opened.auth.first))
    if demo is not None:
        sign_in = await demo(config, opened, sign_in)
    show_holdings(await survey(opened.data.relational))
    show_addresses(gateway_url, sign_in, seconds)
