"""Driver errors become store errors here and nowhere else.

    StoreConflict      someone else created or changed the same thing at the same time: do it again
    StoreUnavailable   not reachable, starting, stopping, full, out of connections, too slow, set
                       up wrongly: do it again later, when the store or its operator has acted
    StoreError         everything else that the store refuses: it would be refused again

Each adapter holds one `Translator` and wraps every driver call in `with translator:`. The
driver's text goes to the log, never into the message that a client may see; the driver's
exception stays as `__cause__`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import structlog

from shared.errors import StoreConflict, StoreError, StoreUnavailable

Kind = type[StoreError]
Classify = Callable[[BaseException], Kind]

# What every network client may raise besides its own errors; TimeoutError is an OSError.
NETWORK_ERRORS: tuple[type[BaseException], ...] = (OSError, EOFError)

_MESSAGES: dict[Kind, str] = {
    StoreUnavailable: "The {store} cannot be reached right now. Try again in a moment.",
    StoreConflict: "The same thing was created or changed by someone else at the same time.",
    StoreError: "The {store} refused the request. The log has the details.",
}

_log = structlog.get_logger("looma.store")


class Translator:
    """Turns a driver's exceptions into store errors.

    `store` is the store's name for people ("database"), `driver` the base classes of the
    driver's exceptions, `classify` says which kind an instance of them is, and `describe`
    what of it may be logged (no values of rows). `system` is its product, as spans name it.
    """

    def __init__(
        self,
        store: str,
        driver: tuple[type[BaseException], ...],
        classify: Classify,
        *,
        describe: Callable[[BaseException], str] = str,
        system: str = "other_sql",
    ) -> None:
        self.store = store
        self.system = system
        self._caught = driver + NETWORK_ERRORS
        self._driver = driver
        self._classify = classify
        self._describe = describe

    def kind(self, error: BaseException) -> Kind:
        return self._classify(error) if isinstance(error, self._driver) else StoreUnavailable

    def error(self, error: BaseException, kind: Kind | None = None) -> StoreError:
        kind = kind or self.kind(error)
        # Conflicts are part of normal work: callers turn them into answers.
        level = _log.debug if kind is StoreConflict else _log.warning
        level(
            kind.name,
            store=self.store,
            driver_error=type(error).__qualname__,
            text=self._describe(error)[:500],
        )
        return kind(_MESSAGES[kind].format(store=self.store))

    def unavailable(self, reason: str) -> StoreUnavailable:
        """For what the driver doesn't raise itself: `reason` is logged."""
        _log.warning(StoreUnavailable.name, store=self.store, text=reason)
        return StoreUnavailable(_MESSAGES[StoreUnavailable].format(store=self.store))

    def __enter__(self) -> None:
        """Translate what the block raises; holds no state, so nesting and sharing are fine."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and isinstance(error, self._caught):
            raise self.error(error) from error
