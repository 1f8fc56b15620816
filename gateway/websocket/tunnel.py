"""The tunnel of an open WebSocket: bytes both ways between client and service, as they come.

What one side sends is written to the other at once; a side that takes no more (64 KiB wait for it)
stops the reading of the other. Nothing is read of the messages, but for where frames to the client
end: there, and only there, the gateway may put in a Close frame of its own.

When either side ends, nothing more is carried. What is on its way is still taken, for as long as it
is being taken, and then both connections are closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import monotonic

from gateway.http.upgrade import UpgradedConnection
from gateway.timeouts import Timeouts
from gateway.websocket.frames import GOING_AWAY, POLICY_VIOLATION, Boundaries, close_frame


class _Side(asyncio.Protocol):
    """One of the two connections: what comes goes to `take`, its end to `end`."""

    def __init__(
        self, handed: UpgradedConnection, take: Callable[[bytes], None], end: Callable[[], None]
    ) -> None:
        self.transport = handed.transport
        self.gone = asyncio.get_running_loop().create_future()
        self.other: _Side  # set by the tunnel, before anything comes
        self.full = handed.full  # it takes no more until it is said to
        self._take = take
        self._end = end
        self._unsent = 0
        self._stuck_since = 0.0

    def begin(self, received: bytes) -> None:
        """`received` has come before this."""
        self.transport.set_protocol(self)
        if received:
            self._take(received)
        if self.transport.is_closing():
            self.connection_lost(None)
        elif self.other.full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def finish(self) -> None:
        """Say that nothing more comes; what still comes from there is dropped, up to its end.

        Closing on bytes that were not read would reset the connection and lose what was sent last.
        """
        transport = self.transport
        if transport.is_closing():
            return
        if not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
            transport.resume_reading()
        except OSError:  # reset, and the loop has not told yet
            transport.abort()

    def is_stuck(self, now: float, patience: float) -> bool:
        """Whether it has taken nothing for so long, though something waits."""
        unsent = self.transport.get_write_buffer_size() if self.full else 0
        if not unsent or unsent != self._unsent:
            self._unsent, self._stuck_since = unsent, now
        return now - self._stuck_since >= patience

    # asyncio's callbacks.

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def eof_received(self) -> None:
        self._end()  # and the transport closes itself when it has sent the rest

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.gone.done():
            self.gone.set_result(None)
        self._end()

    def pause_writing(self) -> None:
        self.full = True
        self._let_other_read(False)

    def resume_writing(self) -> None:
        self.full = False
        self._let_other_read(True)

    def _let_other_read(self, may: bool) -> None:
        other = self.other.transport
        if other.is_closing() or self.transport.is_closing():
            return
        if may:
            other.resume_reading()
        else:
            other.pause_reading()


class Tunnel:
    """`run` carries bytes until either side ends; `stop` ends it.

    `stays` is asked every `times.recheck` seconds whether the client may go on. `held` is closed
    when all is over.
    """

    def __init__(
        self,
        client: UpgradedConnection,
        service: UpgradedConnection,
        stays: Callable[[], Awaitable[bool]],
        times: Timeouts,
        held: AsyncExitStack,
    ) -> None:
        self._stays = stays
        self._times = times
        self._held = held
        self._over = asyncio.get_running_loop().create_future()
        self._frames = Boundaries()  # towards the client
        self._stopping = False
        self._moved = False
        self._quiet_since = monotonic()
        self._client = _Side(client, self._from_client, self._finish)
        self._service = _Side(service, self._from_service, self._finish)
        self._client.other, self._service.other = self._service, self._client
        self._client.begin(client.received)
        self._service.begin(service.received)

    async def run(self) -> None:
        async with self._held:
            try:
                await self._watch()
                await self._linger()
            finally:
                self._client.transport.abort()
                self._service.transport.abort()

    def stop(self) -> None:
        """Tell the client that the server stops, as soon as no frame is half sent."""
        self._stopping = True
        if self._frames.between:
            self._close(GOING_AWAY)

    # What comes.

    def _from_client(self, data: bytes) -> None:
        self._moved = True
        if not self._over.done():
            self._service.write(data)

    def _from_service(self, data: bytes) -> None:
        self._moved = True
        if self._over.done():
            return
        end = self._frames.feed(data)
        if self._stopping and end >= 0:
            self._client.write(data[:end])
            self._close(GOING_AWAY, cut=end < len(data))
        else:
            self._client.write(data)

    # The end.

    async def _watch(self) -> None:
        """Until it is over; ends what is idle, stuck or no longer allowed."""
        times = self._times
        every = min(times.recheck, times.stream_idle, times.idle)
        while not self._over.done():
            await asyncio.wait((self._over,), timeout=every)
            now = monotonic()
            if self._moved:
                self._moved, self._quiet_since = False, now
            elif now - self._quiet_since >= times.stream_idle:
                self._close(GOING_AWAY)
            if any(side.is_stuck(now, times.idle) for side in (self._client, self._service)):
                self._finish()
            if not self._over.done() and not await self._stays():
                self._close(POLICY_VIOLATION)

    def _close(self, code: int, *, cut: bool = False) -> None:
        """End it, and tell the client why if the last frame that it got is whole."""
        if self._over.done():
            return
        if self._frames.between or cut:
            self._client.write(close_frame(code))
        self._finish()

    def _finish(self) -> None:
        if not self._over.done():
            self._over.set_result(None)
            self._client.finish()
            self._service.finish()

    async def _linger(self) -> None:
        """Let both sides take what was sent to them, while they do."""
        latest = monotonic() + self._times.idle
        waiting = {side.gone for side in (self._client, self._service) if not side.gone.done()}
        unsent = self._unsent()
        while waiting and monotonic() < latest:
            done, waiting = await asyncio.wait(waiting, timeout=self._times.linger)
            before, unsent = unsent, self._unsent()
            if not done and unsent >= before:
                return

    def _unsent(self) -> int:
        return sum(
            side.transport.get_write_buffer_size()
            for side in (self._client, self._service)
            if not side.gone.done()
        )
