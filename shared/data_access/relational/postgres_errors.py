"""Which kind of store error each PostgreSQL error is, by SQLSTATE."""

from __future__ import annotations

import asyncpg

from shared.data_access.errors import Kind, Translator
from shared.errors import StoreConflict, StoreError, StoreUnavailable

# Five characters before two: a state before its class. What is in neither is refused for good.
_BY_STATE: dict[str, Kind] = {
    "08": StoreUnavailable,  # connection exceptions
    "23505": StoreConflict,  # unique_violation
    "23P01": StoreConflict,  # exclusion_violation
    "25006": StoreUnavailable,  # a standby, or a server set read-only
    "25P03": StoreUnavailable,  # idle_in_transaction_session_timeout
    "25P04": StoreUnavailable,  # transaction_timeout
    "28": StoreUnavailable,  # our credentials are refused: the operator's to repair
    "3D": StoreUnavailable,  # the database doesn't exist (yet)
    "40": StoreConflict,  # serialization_failure, deadlock_detected
    "40003": StoreUnavailable,  # statement_completion_unknown
    "53": StoreUnavailable,  # disk_full, out_of_memory, too_many_connections
    "55006": StoreUnavailable,  # object_in_use
    "55P03": StoreUnavailable,  # lock_not_available: lock_timeout
    "57": StoreUnavailable,  # shutdown, starting up, statement_timeout
    "58": StoreUnavailable,  # system_error, io_error, undefined_file
    "72000": StoreConflict,  # snapshot_too_old: the next attempt takes a new one
    "F0": StoreUnavailable,  # config_file_error
}

# A plan or a type changed under us by a migration: the next attempt prepares anew.
_RETRY = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)

DRIVER_ERRORS: tuple[type[BaseException], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


def classify(error: BaseException) -> Kind:
    if isinstance(error, _RETRY):
        return StoreUnavailable
    state = getattr(error, "sqlstate", None) or ""
    return _BY_STATE.get(state) or _BY_STATE.get(state[:2]) or StoreError


def is_answer(error: BaseException) -> bool:
    """Whether a running server said this; one that starts, stops or recovers isn't one."""
    state = getattr(error, "sqlstate", None) or ""
    return isinstance(error, asyncpg.PostgresError) and not state.startswith(("08", "57P"))


def describe(error: BaseException) -> str:
    """The server's message without its DETAIL line, which quotes values of rows.

    Without any where it is about a value that was sent (class 22): it quotes that.
    """
    if isinstance(error, asyncpg.DataError) and getattr(error, "sqlstate", None):
        return f"{error.sqlstate} {type(error).__name__}"
    if isinstance(error, asyncpg.PostgresError):
        return f"{getattr(error, 'sqlstate', None)} {error.args[0] if error.args else ''}"
    if isinstance(error, asyncpg.DataError):
        return "an argument has the wrong type or range"
    return str(error)


POSTGRES = Translator("database", DRIVER_ERRORS, classify, describe=describe, system="postgresql")
