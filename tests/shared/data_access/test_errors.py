"""Every exception that a driver can raise has a counterpart, and its text stays inside."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import pytest
from redis import exceptions as redis_exceptions

from shared.data_access.cache.redis import REDIS
from shared.data_access.errors import Translator
from shared.data_access.relational.postgres_errors import POSTGRES
from shared.errors import StoreConflict, StoreError, StoreUnavailable

SECRET = 'Key (email)=(someone@example.com) at "10.0.0.5:5432"'


def subclasses(*bases: type) -> Iterator[type]:
    for base in bases:
        yield base
        yield from subclasses(*base.__subclasses__())


POSTGRES_ERRORS = sorted(
    set(subclasses(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)),
    key=lambda kind: kind.__qualname__,
)
REDIS_ERRORS = sorted(
    {
        kind
        for kind in vars(redis_exceptions).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    },
    key=lambda kind: kind.__qualname__,
)


def raised(translator: Translator, error: BaseException) -> StoreError:
    with pytest.raises(StoreError) as caught, translator:
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def make(kind: type) -> BaseException:
    try:
        return kind(SECRET)
    except ValueError:  # redirections of a cluster: "<slot> <host>:<port>"
        return kind("1 a:1")


@pytest.mark.parametrize("kind", POSTGRES_ERRORS, ids=lambda kind: kind.__qualname__)
def test_every_postgres_error_becomes_a_store_error_without_its_text(kind, capsys):
    error = raised(POSTGRES, kind(SECRET))
    assert SECRET not in error.message
    assert "asyncpg" not in error.message.lower()


@pytest.mark.parametrize("kind", REDIS_ERRORS, ids=lambda kind: kind.__qualname__)
def test_every_redis_error_becomes_a_store_error_without_its_text(kind):
    error = raised(REDIS, make(kind))
    assert SECRET not in error.message


@pytest.mark.parametrize("translator", [POSTGRES, REDIS], ids=["postgres", "redis"])
@pytest.mark.parametrize(
    "error",
    [OSError(SECRET), ConnectionRefusedError(), ConnectionResetError(), TimeoutError(), EOFError()],
    ids=repr,
)
def test_the_network_s_errors_mean_unavailable(translator, error):
    assert type(raised(translator, error)) is StoreUnavailable


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (asyncpg.UniqueViolationError, StoreConflict),
        (asyncpg.ExclusionViolationError, StoreConflict),
        (asyncpg.SerializationError, StoreConflict),
        (asyncpg.DeadlockDetectedError, StoreConflict),
        (asyncpg.DiskFullError, StoreUnavailable),
        (asyncpg.TooManyConnectionsError, StoreUnavailable),
        (asyncpg.OutOfMemoryError, StoreUnavailable),
        (asyncpg.AdminShutdownError, StoreUnavailable),
        (asyncpg.CrashShutdownError, StoreUnavailable),
        (asyncpg.CannotConnectNowError, StoreUnavailable),
        (asyncpg.QueryCanceledError, StoreUnavailable),
        (asyncpg.LockNotAvailableError, StoreUnavailable),
        (asyncpg.ConnectionDoesNotExistError, StoreUnavailable),
        (asyncpg.InvalidPasswordError, StoreUnavailable),
        (asyncpg.InvalidCatalogNameError, StoreUnavailable),
        (asyncpg.InvalidCachedStatementError, StoreUnavailable),
        (asyncpg.CheckViolationError, StoreError),
        (asyncpg.NotNullViolationError, StoreError),
        (asyncpg.ForeignKeyViolationError, StoreError),
        (asyncpg.InsufficientPrivilegeError, StoreError),
        (asyncpg.PostgresSyntaxError, StoreError),
        (asyncpg.DataError, StoreError),
        (asyncpg.InterfaceError, StoreError),
    ],
    ids=lambda value: value.__name__,
)
def test_the_kinds_of_postgres_errors(kind, expected):
    assert POSTGRES.kind(kind("x")) is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (redis_exceptions.ConnectionError, StoreUnavailable),
        (redis_exceptions.TimeoutError, StoreUnavailable),
        (redis_exceptions.BusyLoadingError, StoreUnavailable),
        (redis_exceptions.AuthenticationError, StoreUnavailable),
        (redis_exceptions.ReadOnlyError, StoreUnavailable),
        (redis_exceptions.OutOfMemoryError, StoreUnavailable),
        (redis_exceptions.WatchError, StoreConflict),
        (redis_exceptions.ResponseError, StoreError),
        (redis_exceptions.NoPermissionError, StoreError),
    ],
    ids=lambda value: value.__name__,
)
def test_the_kinds_of_redis_errors(kind, expected):
    assert REDIS.kind(kind("x")) is expected


def test_what_is_no_driver_error_passes():
    with pytest.raises(ZeroDivisionError), POSTGRES:
        raise ZeroDivisionError


def test_the_log_has_the_message_but_no_values_of_rows(capsys):
    error = asyncpg.UniqueViolationError.new({"C": "23505", "M": "duplicate key", "D": SECRET})
    with pytest.raises(StoreConflict), POSTGRES:
        raise error
    logged = capsys.readouterr().out
    assert "duplicate key" in logged
    assert "someone@example.com" not in logged
