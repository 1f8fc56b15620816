"""Which kind of store error each error of a graph server, or of its driver, is.

By the server's status code where there is one (Neo4j's published list; ArcadeDB uses a part of
it), the whole code before its category and that before its classification: the driver's class
says less.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.data_access.errors import Kind, Translator
from shared.data_access.graph.bolt_driver import exceptions
from shared.errors import StoreConflict, StoreError, StoreUnavailable

DRIVER_ERRORS: Final[tuple[type[BaseException], ...]] = (exceptions.GqlError,)

_BY_CODE: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "ClientError": StoreError,
        "ClientError.Cluster": StoreUnavailable,  # another server leads now
        "ClientError.Database.DatabaseNotFound": StoreUnavailable,  # not made yet
        "ClientError.General.ForbiddenOnReadOnlyDatabase": StoreUnavailable,  # for maintenance
        "ClientError.General.UpgradeRequired": StoreUnavailable,
        "ClientError.General.WriteOnReadOnlyAccessDatabase": StoreUnavailable,
        "ClientError.Procedure.ProcedureTimedOut": StoreUnavailable,
        "ClientError.Request.InvalidUsage": StoreUnavailable,  # we read too slowly
        "ClientError.Routing": StoreUnavailable,
        "ClientError.Schema.ConstraintAlreadyExists": StoreConflict,
        "ClientError.Schema.ConstraintValidationFailed": StoreConflict,
        "ClientError.Schema.ConstraintViolation": StoreConflict,
        "ClientError.Schema.EquivalentSchemaRuleAlreadyExists": StoreConflict,
        # Our credentials are refused, or were so often that right ones are, too: the operator's
        # to repair, or over in some seconds.
        "ClientError.Security": StoreUnavailable,
        "ClientError.Statement.ConstraintVerificationFailed": StoreConflict,
        "ClientError.Statement.ConstraintViolation": StoreConflict,  # before 5.0
        "ClientError.Transaction.LockClientStopped": StoreUnavailable,  # as Terminated
        "ClientError.Transaction.Terminated": StoreUnavailable,  # by an operator, or a shutdown
        "ClientError.Transaction.TransactionNotFound": StoreUnavailable,  # ended for its age
        "ClientError.Transaction.TransactionTimedOut": StoreUnavailable,
        "ClientError.Transaction.TransactionTimedOutClientConfiguration": StoreUnavailable,
        "DatabaseError": StoreError,
        "DatabaseError.Database.UnableToStartDatabase": StoreUnavailable,
        "DatabaseError.Fabric.RemoteExecutionFailed": StoreUnavailable,
        "DatabaseError.General.IndexCorruptionDetected": StoreUnavailable,  # until it is rebuilt
        "DatabaseError.General.SchemaCorruptionDetected": StoreUnavailable,
        "DatabaseError.General.StorageDamageDetected": StoreUnavailable,
        "DatabaseError.Statement.RemoteExecutionFailed": StoreUnavailable,
        "DatabaseError.Transaction": StoreUnavailable,  # its log can't be written: a full disk
        "DatabaseError.Transaction.LinkedTransactionError": StoreError,
        "TransientError": StoreUnavailable,
        "TransientError.General.StackOverFlowError": StoreError,  # of this very query
        "TransientError.Security.ModifiedConcurrently": StoreConflict,
        "TransientError.Transaction.ConstraintsChanged": StoreConflict,
        "TransientError.Transaction.DeadlockDetected": StoreConflict,
        "TransientError.Transaction.Outdated": StoreConflict,
        "TransientError.Transaction.QueryExecutionFailedOnTransaction": StoreConflict,
    }
)
# Where there is no code: the driver's own errors. A class before its base.
_BY_CLASS: Final[tuple[tuple[type[BaseException], Kind], ...]] = (
    (exceptions.ConstraintError, StoreConflict),
    (exceptions.AuthError, StoreUnavailable),
    (exceptions.NotALeader, StoreUnavailable),
    (exceptions.TransientError, StoreUnavailable),
    (exceptions.ServiceUnavailable, StoreUnavailable),
    (exceptions.SessionExpired, StoreUnavailable),
    (exceptions.ConnectionPoolError, StoreUnavailable),
    (exceptions.UnsupportedServerProduct, StoreUnavailable),  # the operator's URL is another's
    (exceptions.GqlError, StoreError),
)
# What IF NOT EXISTS answers to the one that loses the race of two that both find nothing.
ALREADY_THERE: Final = frozenset(
    {
        "Neo.ClientError.Schema.ConstraintAlreadyExists",
        "Neo.ClientError.Schema.EquivalentSchemaRuleAlreadyExists",
    }
)


def classify(error: BaseException) -> Kind:
    code = getattr(error, "code", None) or ""
    known = code.removeprefix("Neo.")
    while known:
        if known in _BY_CODE:
            return _BY_CODE[known]
        known = known.rpartition(".")[0]
    return next((kind for base, kind in _BY_CLASS if isinstance(error, base)), StoreError)


def describe(error: BaseException) -> str:
    """The code of a server's error: its message quotes values."""
    return str(getattr(error, "code", None) or error)


def is_answer(error: BaseException) -> bool:
    """Whether the server itself said this, being up; what it says while it starts isn't."""
    if isinstance(error, exceptions.Neo4jError):
        return not isinstance(error, exceptions.DatabaseUnavailable)
    return False


BOLT: Final = Translator("graph", DRIVER_ERRORS, classify, describe=describe, system="neo4j")
