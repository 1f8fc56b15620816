"""Bringing one server up: ports lost at the last moment, starts that are called off."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.embedded.arcadedb import ArcadeServer
from shared.embedded.errors import EmbeddedStoreError
from shared.embedded.layout import Layout, free_port, is_free
from shared.embedded.lock import TogetherLocked, locked
from shared.embedded.server import answers, bring_up, end
from shared.embedded.state import ServerRecord, State, read_state, write_state
from shared.embedded.stores import EmbeddedStores
from tests.shared.embedded.conftest import rows


@dataclass(frozen=True)
class UnluckyServer(ArcadeServer):
    """Its first choice of ports is taken between the choice and the start."""

    taken: tuple[int, ...] = ()
    choices: list[tuple[int, ...]] = field(default_factory=list)

    def choose_ports(self, previous: tuple[int, ...]) -> tuple[int, ...]:
        ports = super().choose_ports(previous) if self.choices else self.taken
        self.choices.append(ports)
        return ports


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["bolt", "http"])
async def test_a_port_lost_at_the_last_moment_is_replaced_at_once(
    tmp_path: Path, which: int
) -> None:
    layout = Layout.of(tmp_path / ".looma")
    layout.prepare()
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        stolen = thief.getsockname()[1]
        ports = (stolen, free_port()) if which == 0 else (free_port(), stolen)
        server = UnluckyServer(layout, taken=ports)
        async with asyncio.timeout(30):
            record = await bring_up(server, ServerRecord(), lambda _message: None)
    assert record.process is not None
    try:
        assert len(server.choices) == 2
        assert stolen not in record.ports
        assert await answers(server, record.process, record.ports, 5)
    finally:
        await end(server, record.process)


@pytest.mark.parametrize(
    "after_s",
    [0.3, pytest.param(0.05, marks=pytest.mark.slow), pytest.param(0.7, marks=pytest.mark.slow)],
)
async def test_a_start_that_is_called_off_can_be_done_again(tmp_path: Path, after_s: float) -> None:
    stores = EmbeddedStores(tmp_path / ".looma", which=frozenset({"postgres", "redis"}))
    try:
        starting = asyncio.create_task(stores.start())
        await asyncio.sleep(after_s)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        async with locked(tmp_path / ".looma" / "stores.lock", timeout_s=0.0):
            pass  # nobody holds it any more
        assert await rows(await stores.start(), "SELECT 1") == [1]
    finally:
        await stores.stop()


async def test_a_lock_held_for_too_long_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "stores.lock"
    waits: list[str] = []
    async with locked(lock, timeout_s=1):
        with pytest.raises(EmbeddedStoreError, match=r"starting or stopping the stores in .* 1 s"):
            async with locked(lock, timeout_s=1.2, on_wait=lambda: waits.append("told")):
                pass
    assert waits == ["told"]


async def test_one_process_may_do_several_things_under_its_lock_and_others_none(
    tmp_path: Path,
) -> None:
    lock = tmp_path / "stores.lock"
    ours, theirs = (TogetherLocked(lock, timeout_s=0.2) for _ in range(2))
    async with ours():
        async with ours():
            pass
        with pytest.raises(EmbeddedStoreError, match="starting or stopping the stores"):
            async with theirs():
                pass
    async with theirs():
        with pytest.raises(EmbeddedStoreError, match="starting or stopping the stores"):
            async with ours():
                pass
    async with ours():
        pass


def test_a_preferred_port_is_kept_while_it_is_free() -> None:
    port = free_port()
    assert free_port(port) == port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert not is_free(port)
        assert free_port(port) != port


def test_the_state_survives_being_written(tmp_path: Path) -> None:
    path = tmp_path / "stores.json"
    state = State().with_server("graph", ServerRecord(None, (7687, 2480), wanted=True))
    write_state(path, state)
    assert read_state(path) == state
    assert read_state(path).server("redis") == ServerRecord()
    assert not list(tmp_path.glob("*.new"))
