"""`looma status`: what runs on this home, how it is doing, what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from looma_cli import exit_codes

if TYPE_CHECKING:
    from shared.config import Config


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show processes, stores, memory and what waits in the outbox. Exits 1 unless all is ready."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import write_json

    found = run(survey)
    if as_json:
        write_json(found)
    else:
        show(found)
    raise typer.Exit(exit_codes.OK if found["ready"] else exit_codes.FAILED)


async def survey(config: Config) -> dict[str, Any]:
    """Everything as one JSON document; the platform need not be up."""
    from looma_cli.supervision.run_state import RunFiles
    from shared.embedded.stores import EmbeddedStores

    files = RunFiles(config.home)
    up = files.is_held()
    state = files.read() if up else None
    processes = await _processes(state) if state is not None else []
    stores: dict[str, dict[str, Any]] = {
        name: {"up": h.up, "pid": h.pid, "rss_bytes": h.rss_bytes, "address": h.address}
        for name, h in (await EmbeddedStores(config.home).health()).items()
    }
    ready = up and bool(processes) and all(p["state"] == "ready" for p in processes)
    return {
        "home": str(config.home),
        "up": up,
        "ready": ready,
        "gateway_url": state.gateway_url if state else None,
        "processes": processes,
        "stores": stores,
        "rss_bytes": sum(p["rss_bytes"] for p in processes)
        + sum(s["rss_bytes"] for s in stores.values()),
        "outbox": await _outbox(config) if _database_up(config, stores) else None,
    }


def _database_up(config: Config, stores: dict[str, dict[str, Any]]) -> bool:
    return bool(config.database_url) or bool(stores["postgres"]["up"])


async def _processes(state: Any) -> list[dict[str, Any]]:
    import asyncio

    import httpx

    from looma_cli.supervision.supervisor import probe

    async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
        waits = await asyncio.gather(*(probe(client, p.url) for p in state.processes))
    own: dict[str, Any] = {
        "name": "supervisor",
        "pid": state.pid,
        "url": "",
        "state": "ready",
        "restarts": 0,
    }
    rest: list[dict[str, Any]] = [
        {
            "name": process.name,
            "pid": process.pid,
            "url": process.url,
            "state": waiting or "ready",
            "restarts": process.restarts,
        }
        for process, waiting in zip(state.processes, waits, strict=True)
    ]
    return [{**entry, "rss_bytes": _resident(entry["pid"])} for entry in (own, *rest)]


def _resident(pid: int | None) -> int:
    """Memory of a process and its children, pages that they share counted in each."""
    import psutil

    from shared.serving.supervised import home_of

    if pid is None:
        return 0
    try:
        process = psutil.Process(pid)
        members = [process]
        if home_of(process.cmdline()) is not None:  # not the supervisor: its children are listed
            members += process.children(recursive=True)
        return sum(member.memory_info().rss for member in members)
    except psutil.NoSuchProcess:
        return 0


async def _outbox(config: Config) -> dict[str, Any] | None:
    from dataclasses import asdict

    from shared.data_access.access import open_data_access
    from shared.data_access.outbox.relay import OutboxRelay
    from shared.errors import StoreError
    from shared.store_urls import store_urls

    try:
        async with open_data_access(store_urls(config), ports={"relational"}, pool_size=1) as data:
            depths = await OutboxRelay(data.relational, []).depth()
    except StoreError:
        return None
    return {name: asdict(depth) for name, depth in sorted(depths.items())}


def show(found: dict[str, Any]) -> None:
    from looma_cli.terminal.console import results
    from looma_cli.terminal.render import table

    console = results()
    console.print(f"home {found['home']}", soft_wrap=True)
    if not found["up"]:
        console.print("Not up. Start it with: looma up")
    rows: list[tuple[object, ...]] = [
        (p["name"], p["state"], p["url"], p["pid"] and str(p["pid"]), p["restarts"], _mb(p))
        for p in found["processes"]
    ]
    rows += [
        (name, "up" if s["up"] else "down", s["address"], s["pid"] and str(s["pid"]), 0, _mb(s))
        for name, s in found["stores"].items()
    ]
    console.print(table(("process", "state", "address", "#pid", "#restarts", "#MB"), rows))
    console.print(f"memory {found['rss_bytes'] / 1e6:,.0f} MB")
    if found["outbox"] is not None:
        depths = [
            (name, depth["waiting"], depth["lag_seconds"], depth["dead"])
            for name, depth in found["outbox"].items()
        ]
        console.print(table(("projection", "#waiting", "#lag s", "#dead letters"), depths))


def _mb(entry: dict[str, Any]) -> int:
    return round(int(entry["rss_bytes"]) / 1e6)
