"""Passwords: what is accepted, and argon2id off the event loop.

Hashing is meant to be slow, so it runs in a few threads (argon2 releases the interpreter
lock) behind a bounded queue: a flood of sign-ins is answered 429 instead of piling up.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.errors import InvalidInput, TooManyRequests

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HashCost:
    """Parameters of argon2id. The default is RFC 9106's second choice on one lane: 64 MiB, 3 passes."""

    memory_kib: int = 65536
    passes: int = 3
    lanes: int = 1
    threads: int = 2  # hashes computed at once
    waiting: int = 64  # hashes asked for at once, those being computed included


def normalise_password(text: str) -> str:
    """NFKC, so that one password typed on two keyboards is the same."""
    return unicodedata.normalize("NFKC", text)


def require_password(text: str, *, email: str, field: str = "password") -> str:
    """`text` normalised; raises InvalidInput unless it may become the password of `email`."""
    password = normalise_password(text)
    problem = _problem(password, email)
    if problem is not None:
        raise InvalidInput.of(field, *problem)
    return password


def _problem(password: str, email: str) -> tuple[str, str] | None:
    if len(password) < MIN_LENGTH:
        return f"is shorter than {MIN_LENGTH} characters", "choose a longer one: several words"
    if len(password) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters", "choose a shorter one"
    if password.casefold().strip() == email:
        return "is the e-mail address", "choose something that others don't know"
    if len(set(password)) == 1:
        return "is one character repeated", "choose something that others can't guess"
    if any(unicodedata.category(character) == "Cs" for character in password):
        return "is not valid Unicode", "send well-formed text"
    return None


def random_password() -> str:
    """24 characters, 144 bits."""
    return secrets.token_urlsafe(18)


class Passwords:
    """Hashes and verifies; `close` it at the end."""

    def __init__(self, cost: HashCost) -> None:
        self._hasher = PasswordHasher(
            time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._threads = ThreadPoolExecutor(cost.threads, thread_name_prefix="argon2")
        self._room = threading.BoundedSemaphore(cost.waiting)
        # Stands in for the hash of an account that doesn't exist, so that both take equally long.
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The encoded hash of a normalised password; TooManyRequests when too many wait."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether `password` (as typed) belongs to `encoded`; None takes as long and is never right."""
        typed = normalise_password(password).encode("utf-8", "surrogatepass")
        right = await self._run(lambda: self._matches(encoded or self._nobody, typed))
        return right and encoded is not None

    def outdated(self, encoded: str) -> bool:
        """Whether `encoded` was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(encoded)

    def _matches(self, encoded: str, typed: bytes) -> bool:
        try:
            return self._hasher.verify(encoded, typed)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise TooManyRequests(
                "Too many people are signing in at this moment. Try again shortly.", retry_after=2
            )
        future = self._threads.submit(work)
        # Also after a cancelled request: the thread computes on until it is done.
        future.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(future)
