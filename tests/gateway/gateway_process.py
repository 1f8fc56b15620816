"""A gateway as a process of its own: what signals, workers and memory are about."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.config import process_environment
from tests.gateway.conftest import SECRET
from tests.gateway.wire import until

_REPOSITORY = Path(__file__).parents[2]
_PATIENCE_S = 60.0  # for processes to start, several at once on a busy machine


@dataclass(frozen=True)
class GatewayProcess:
    """`python -m gateway` that serves at `url`; with several workers, `process` is their parent."""

    url: str
    process: asyncio.subprocess.Process
    log: Path

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def said(self, text: str) -> int:
        """How often the log has it."""
        return self.log.read_text().count(text)

    async def says(self, text: str, times: int = 1, seconds: float = 10.0) -> None:
        """Wait until the log has it so often."""

        async def has() -> bool:
            return self.said(text) >= times

        await until(has, seconds)

    async def ended(self, seconds: float = 15.0) -> int:
        """Wait for the end; the exit code."""
        return await asyncio.wait_for(self.process.wait(), seconds)


@asynccontextmanager
async def gateway_process(
    home: Path,
    port: int,
    workers: int = 1,
    *,
    routes: str,
    upstreams: Mapping[str, str],
    meanwhile: Callable[[GatewayProcess], Awaitable[None]] | None = None,
    **settings: str,
) -> AsyncIterator[GatewayProcess]:
    """A gateway with this route table before these services, whose workers all serve; it is ended,
    by force if need be, with the block. `meanwhile` is done while it starts.
    """
    log = home / "gateway.log"
    table = home / "routes.toml"
    table.write_text(routes)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway"),
            cwd=_REPOSITORY,
            stdout=output,
            stderr=output,
            env=process_environment(
                LOOMA_HOME=str(home),
                INTERNAL_TOKEN_SECRET=SECRET,
                GATEWAY_PORT=str(port),
                GATEWAY_WORKERS=str(workers),
                GATEWAY_ROUTES=str(table),
                GATEWAY_UPSTREAMS=",".join(f"{name}={url}" for name, url in upstreams.items()),
                LOG_FORMAT="json",
                LOG_LEVEL="info",
                **{"SHUTDOWN_SECONDS": "5", **settings},
            ),
        )
    gateway = GatewayProcess(f"http://127.0.0.1:{port}", process, log)

    async def serves() -> bool:
        assert process.returncode is None, log.read_text()
        return gateway.said('"serving"') >= workers

    try:
        if meanwhile is not None:
            await meanwhile(gateway)
        await until(serves, _PATIENCE_S)
        yield gateway
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await gateway.ended()
            finally:
                if process.returncode is None:
                    process.kill()
