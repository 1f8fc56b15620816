"""Messages between the workers of one port, over datagram sockets that their parent made.

Nothing is promised: a message may be lost, and those of different senders come in any order. A
message from one sender to one receiver is never overtaken by a later one, and comes once or not at
all. Nobody waits: what a receiver has no room for is tried again for a moment, then dropped.

The sockets are inherited, not looked up: only the parent's children can write to them, no file is
left behind, and they end with the processes.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from struct import Struct
from typing import Final

import structlog

_HEAD: Final = Struct("!BHIHH")  # kind, sender, number of the message, part, parts
_PART: Final = 32_768  # bytes; a datagram must fit into the sender's buffer
_MOST_PARTS: Final = 256
_MOST_WAITING: Final = 1_024  # datagrams, for each receiver
_AT_ONCE: Final = 64  # datagrams read before requests get their turn
_RETRY_S: Final = 0.01
_PATIENCE_S: Final = 0.25  # a worker that reads nothing for so long has stopped or gone
log = structlog.get_logger()


class Kind(IntEnum):
    STATE = 1
    HELLO = 2
    QUESTION = 3
    ANSWER = 4


Handler = Callable[[int, bytes], None]  # the sender's number, the message


class Channel:
    """One worker's end. `start` it in the loop that handles what comes."""

    def __init__(
        self, number: int, inbox: socket.socket, others: Mapping[int, socket.socket]
    ) -> None:
        self.number = number
        self._inbox = inbox
        self._others = dict(others)
        self._handlers: dict[int, Handler] = {}
        self._messages = 0
        self._waiting: dict[int, deque[tuple[float, bytes]]] = {
            one: deque() for one in self._others
        }
        self._retry: asyncio.TimerHandle | None = None
        self._parts: dict[int, tuple[int, list[bytes]]] = {}  # of the message each sends
        for sock in (inbox, *self._others.values()):
            sock.setblocking(False)

    @property
    def others(self) -> tuple[int, ...]:
        return tuple(self._others)

    def on(self, kind: Kind, handler: Handler) -> None:
        self._handlers[kind] = handler

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._inbox.fileno(), self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._inbox.fileno())
        if self._retry is not None:
            self._retry.cancel()
        for sock in (self._inbox, *self._others.values()):
            sock.close()

    def send(self, kind: Kind, message: bytes, to: int | None = None) -> None:
        """To one worker, or to all others."""
        self._messages = (self._messages + 1) & 0xFFFFFFFF
        now = asyncio.get_running_loop().time()
        parts = max(1, -(-len(message) // _PART))
        if parts > _MOST_PARTS:
            log.warning("a message to the other workers is too long", bytes=len(message))
            return
        for part in range(parts):
            head = _HEAD.pack(kind, self.number, self._messages, part, parts)
            datagram = head + message[part * _PART : (part + 1) * _PART]
            for other in self._others if to is None else (to,):
                waiting = self._waiting[other]
                if len(waiting) >= _MOST_WAITING:
                    waiting.popleft()
                waiting.append((now, datagram))
        self._flush()

    def _flush(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - _PATIENCE_S
        for other, waiting in self._waiting.items():
            while waiting:
                since, datagram = waiting[0]
                try:
                    self._others[other].send(datagram)
                except (BlockingIOError, InterruptedError):
                    if since > oldest:
                        break
                except OSError as error:  # that worker's socket is gone: so will we be
                    log.warning("a worker can't be told", worker=other, reason=error.strerror)
                waiting.popleft()
        if any(self._waiting.values()):
            self._retry = loop.call_later(_RETRY_S, self._flush)

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                datagram = self._inbox.recv(_HEAD.size + _PART)
            except (BlockingIOError, InterruptedError):
                return
            if len(datagram) >= _HEAD.size:
                self._take(datagram)

    def _take(self, datagram: bytes) -> None:
        kind, sender, message, part, parts = _HEAD.unpack_from(datagram)
        body = datagram[_HEAD.size :]
        if parts > 1:
            number, got = self._parts.get(sender, (-1, []))
            if part == 0:
                number, got = message, []
                self._parts[sender] = (number, got)
            if number != message or part != len(got):
                return  # a part of it was lost
            got.append(body)
            if len(got) < parts:
                return
            del self._parts[sender]
            body = b"".join(got)
        handler = self._handlers.get(kind)
        if handler is not None and sender in self._others:
            handler(sender, body)
