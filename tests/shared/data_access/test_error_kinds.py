"""Every error that a store is known to answer, sorted by what its caller should do.

Neo4j: the status codes that its 5.26 publishes, and those that older servers, ArcadeDB and the
driver know. PostgreSQL: every SQLSTATE that asyncpg knows. gRPC: all codes.
"""

from __future__ import annotations

import asyncpg
import elastic_transport
import elasticsearch
import httpx
import pytest
from grpc import StatusCode
from neo4j import exceptions
from weaviate import exceptions as weaviate_exceptions

from shared.data_access.errors import Kind
from shared.data_access.graph import bolt_errors
from shared.data_access.graph.bolt_errors import BOLT
from shared.data_access.relational.postgres_errors import POSTGRES
from shared.data_access.search import elasticsearch_errors
from shared.data_access.search.elasticsearch_errors import ELASTICSEARCH
from shared.data_access.vectors import weaviate_errors
from shared.data_access.vectors.weaviate_errors import WEAVIATE
from shared.errors import StoreConflict, StoreError, StoreUnavailable

# A category: its titles.
NEO4J: dict[Kind, str] = {
    StoreConflict: """
    ClientError.Schema: ConstraintAlreadyExists ConstraintValidationFailed ConstraintViolation
        EquivalentSchemaRuleAlreadyExists
    ClientError.Statement: ConstraintVerificationFailed ConstraintViolation
    TransientError.Security: ModifiedConcurrently
    TransientError.Transaction: ConstraintsChanged DeadlockDetected Outdated
        QueryExecutionFailedOnTransaction
    """,
    StoreUnavailable: """
    ClientError.Cluster: NotALeader Routing
    ClientError.Database: DatabaseNotFound
    ClientError.General: ForbiddenOnReadOnlyDatabase UpgradeRequired
        WriteOnReadOnlyAccessDatabase
    ClientError.Procedure: ProcedureTimedOut
    ClientError.Request: InvalidUsage
    ClientError.Routing: DbmsInPanic RoutingFailed
    ClientError.Security: AuthenticationRateLimit AuthorizationExpired AuthorizationFailed
        CredentialsExpired Forbidden TokenExpired Unauthorized
    ClientError.Transaction: LockClientStopped Terminated TransactionNotFound
        TransactionTimedOut TransactionTimedOutClientConfiguration
    DatabaseError.Database: UnableToStartDatabase
    DatabaseError.Fabric: RemoteExecutionFailed
    DatabaseError.General: IndexCorruptionDetected SchemaCorruptionDetected
        StorageDamageDetected
    DatabaseError.Statement: RemoteExecutionFailed
    DatabaseError.Transaction: TransactionCommitFailed TransactionLogError
        TransactionRollbackFailed TransactionStartFailed TransactionTerminationFailed
    TransientError.ChangeDataCapture: FutureIdentifier
    TransientError.Cluster: ReplicationFailure
    TransientError.Database: DatabaseUnavailable
    TransientError.General: DatabaseUnavailable MemoryPoolOutOfMemoryError OutOfMemoryError
        TransactionMemoryLimit
    TransientError.Request: NoThreadsAvailable ResourceExhaustion
    TransientError.Security: AuthProviderFailed AuthProviderTimeout
    TransientError.Statement: ExecutionTimeout RemoteExecutionTransientError
    TransientError.Transaction: BookmarkTimeout Interrupted LeaderSwitch LeaseExpired
        LockAcquisitionTimeout MaximumTransactionLimitReached
    """,
    StoreError: """
    ClientError.ChangeDataCapture: InvalidIdentifier
    ClientError.Database: ExistingAliasFound ExistingDatabaseFound IllegalAliasChain
    ClientError.Fabric: AccessMode
    ClientError.General: InvalidArguments ReadOnly TransactionOutOfMemoryError
    ClientError.Procedure: ProcedureCallFailed ProcedureNotFound ProcedureRegistrationFailed
        TypeError
    ClientError.Request: Invalid InvalidFormat
    ClientError.Schema: ConstraintNotFound ConstraintWithNameAlreadyExists
        ForbiddenOnConstraintIndex IndexAlreadyExists IndexBelongsToConstraint
        IndexMultipleFound IndexNotApplicable IndexNotFound IndexWithNameAlreadyExists
        RepeatedLabelInSchema RepeatedPropertyInCompositeSchema RepeatedRelationshipTypeInSchema
        TokenLengthError TokenNameError
    ClientError.Statement: AccessMode ArgumentError ArithmeticError EntityNotFound
        ExternalResourceFailed InvalidSyntax InvalidTargetDatabaseError InvalidType
        NotSystemDatabaseError ParameterMissing PropertyNotFound RemoteExecutionClientError
        RuntimeUnsupportedError SemanticError SyntaxError TypeError
        UnsupportedAdministrationCommand UnsupportedOperationError
    ClientError.Transaction: ForbiddenDueToTransactionType InvalidBookmark
        InvalidBookmarkMixture TransactionAccessedConcurrently TransactionHookFailed
        TransactionMarkedAsFailed TransactionValidationFailed
    DatabaseError.ChangeDataCapture: Disabled ScanFailure
    DatabaseError.Database: DatabaseLimitReached Unknown
    DatabaseError.General: UnknownError
    DatabaseError.Schema: ConstraintCreationFailed ConstraintDropFailed IndexCreationFailed
        IndexDropFailed LabelAccessFailed PropertyKeyAccessFailed RelationshipTypeAccessFailed
        SchemaRuleAccessFailed SchemaRuleDuplicateFound TokenLimitReached
    DatabaseError.Statement: ExecutionFailed
    DatabaseError.Transaction: LinkedTransactionError
    TransientError.General: StackOverFlowError
    """,
}


def neo4j_codes(text: str) -> list[str]:
    category, codes = "", []
    for word in text.split():
        if word.endswith(":"):
            category = word[:-1]
        else:
            codes.append(f"Neo.{category}.{word}")
    return codes


SORTED = [(code, kind) for kind, text in NEO4J.items() for code in neo4j_codes(text)]


def neo4j_error(code: str) -> exceptions.Neo4jError:
    return exceptions.Neo4jError._hydrate_neo4j(code=code, message="Node(0) with `id` = 'secret'")


@pytest.mark.parametrize(("code", "kind"), SORTED, ids=[code for code, _ in SORTED])
def test_every_code_of_neo4j_is_sorted(code, kind):
    assert BOLT.kind(neo4j_error(code)) is kind


def test_every_code_that_the_driver_knows_is_sorted_once():
    codes = [code for code, _ in SORTED]
    assert len(codes) == len(set(codes))
    known = exceptions._client_errors.keys() | exceptions._transient_errors.keys()
    # Never sent by a server: the driver's own inventions for older ones.
    assert known - set(codes) <= {"Neo.ClientError.Transaction.LockClientStopped"}
    table = {f"Neo.{code}" for code in bolt_errors._BY_CODE}
    prefixes = {code.rpartition(".")[0] for code in codes} | {"Neo.ClientError"}
    prefixes |= {prefix.rpartition(".")[0] for prefix in prefixes}
    assert table <= set(codes) | prefixes, "a code in the table that no server sends"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Neo.TransientError.General.NewInVersion9", StoreUnavailable),
        ("Neo.ClientError.Security.NewInVersion9", StoreUnavailable),
        ("Neo.ClientError.Statement.NewInVersion9", StoreError),
        ("Neo.DatabaseError.NewInVersion9.New", StoreError),
        ("nonsense", StoreError),
        ("", StoreError),
    ],
)
def test_a_code_that_nobody_knows_is_sorted_by_what_is_known_of_it(code, kind):
    assert BOLT.kind(neo4j_error(code)) is kind


def subclasses(base: type) -> list[type]:
    return [base, *(deeper for kind in base.__subclasses__() for deeper in subclasses(kind))]


DRIVER_KINDS: dict[Kind, set[type]] = {
    StoreConflict: {exceptions.ConstraintError},
    StoreUnavailable: {
        *subclasses(exceptions.TransientError),
        *subclasses(exceptions.AuthError),
        *subclasses(exceptions.SessionExpired),
        *subclasses(exceptions.ServiceUnavailable),
        *subclasses(exceptions.ConnectionPoolError),
        exceptions.UnsupportedServerProduct,
    },
}


@pytest.mark.parametrize(
    "kind", sorted(set(subclasses(exceptions.GqlError)), key=str), ids=lambda kind: kind.__name__
)
def test_every_class_of_the_graph_driver_has_a_counterpart_without_its_text(kind):
    error = kind.__new__(kind, "Node(0) with `id` = 'secret'")
    Exception.__init__(error, "Node(0) with `id` = 'secret'")
    with pytest.raises(StoreError) as caught, BOLT:
        raise error
    assert "secret" not in caught.value.message
    expected = [one for one, classes in DRIVER_KINDS.items() if kind in classes]
    assert type(caught.value) is (expected or [StoreError])[0]


# -- PostgreSQL ------------------------------------------------------------------------------

SQL_CONFLICTS = {"23505", "23P01", "40000", "40001", "40002", "40P01", "72000"}
SQL_UNAVAILABLE = {"25006", "25P03", "25P04", "40003", "55006", "55P03"}
SQL_UNAVAILABLE_CLASSES = {"08", "28", "3D", "53", "57", "58", "F0"}
SQL_ERROR_CLASSES = {
    "01", "02", "03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24",
    "25", "26", "27", "2B", "2D", "2F", "34", "38", "39", "3B", "3F", "40", "42", "44", "54", "55",
    "72", "HV", "P0", "XX",
}  # fmt: skip
# A plan or type that a migration has changed under us: the next attempt prepares anew.
PREPARED_ANEW = {asyncpg.InvalidCachedStatementError}
SQL_ERRORS = sorted(
    {kind for kind in subclasses(asyncpg.PostgresError) if kind.sqlstate} - PREPARED_ANEW,
    key=lambda kind: (kind.sqlstate, kind.__name__),
)


@pytest.mark.parametrize("error", SQL_ERRORS, ids=lambda kind: f"{kind.sqlstate}-{kind.__name__}")
def test_every_state_of_postgresql_is_sorted(error):
    state = error.sqlstate
    if state in SQL_CONFLICTS:
        expected: Kind = StoreConflict
    elif state in SQL_UNAVAILABLE or state[:2] in SQL_UNAVAILABLE_CLASSES:
        expected = StoreUnavailable
    else:
        assert state[:2] in SQL_ERROR_CLASSES, "a class that nobody has sorted yet"
        expected = StoreError
    assert POSTGRES.kind(error("x")) is expected


# -- Weaviate --------------------------------------------------------------------------------


def test_every_code_of_grpc_is_sorted():
    assert set(weaviate_errors._BY_GRPC) == set(StatusCode)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, StoreError) for status in (400, 404, 405, 413, 415, 422)),
        *((status, StoreUnavailable) for status in (401, 403, 408, 429, 500, 502, 503, 504, 507)),
        (409, StoreConflict),
    ],
)
def test_every_status_of_weaviate_is_sorted(status, kind):
    answer = httpx.Response(status, json={"error": "x"}, request=httpx.Request("GET", "http://w"))
    error = weaviate_exceptions.UnexpectedStatusCodeError("secret", answer)
    assert WEAVIATE.kind(error) is kind


# -- Elasticsearch ---------------------------------------------------------------------------


def elasticsearch_error(status: int, name: str) -> elasticsearch.ApiError:
    node = elastic_transport.NodeConfig("http", "e", 9200)
    meta = elastic_transport.ApiResponseMeta(
        status, "1.1", elastic_transport.HttpHeaders(), 0.0, node
    )
    return elasticsearch.ApiError(name, meta, {"error": {"type": name, "reason": "secret"}})


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "parsing_exception", StoreError),
        (400, "mapper_parsing_exception", StoreError),
        (400, "resource_already_exists_exception", StoreConflict),
        (400, "index_closed_exception", StoreUnavailable),
        (401, "security_exception", StoreUnavailable),
        (403, "security_exception", StoreUnavailable),
        (403, "cluster_block_exception", StoreUnavailable),
        (404, "index_not_found_exception", StoreError),
        (404, "search_context_missing_exception", StoreError),
        (408, "timeout_exception", StoreUnavailable),
        (409, "version_conflict_engine_exception", StoreConflict),
        (413, "content_too_long_exception", StoreError),
        (429, "circuit_breaking_exception", StoreUnavailable),
        (429, "es_rejected_execution_exception", StoreUnavailable),
        (500, "illegal_index_shard_state_exception", StoreUnavailable),
        (500, "null_pointer_exception", StoreError),
        (502, "", StoreUnavailable),
        (503, "search_phase_execution_exception", StoreUnavailable),
        (503, "master_not_discovered_exception", StoreUnavailable),
        (503, "something_new_exception", StoreUnavailable),
        (504, "", StoreUnavailable),
    ],
)
def test_the_kinds_of_what_elasticsearch_answers(status, name, kind):
    assert elasticsearch_errors.kind_of(status, name) is kind
    assert ELASTICSEARCH.kind(elasticsearch_error(status, name)) is kind


@pytest.mark.parametrize(
    "kind",
    sorted(
        {
            *subclasses(elastic_transport.TransportError),
            *subclasses(elastic_transport.ApiError),
        },
        key=str,
    ),
    ids=lambda kind: kind.__name__,
)
def test_every_class_of_the_search_client_has_a_counterpart_without_its_text(kind):
    if issubclass(kind, elastic_transport.ApiError):
        made = elasticsearch_error(500, "x")
        error = kind("x", made.meta, made.body)
    else:
        error = kind("secret")
    with pytest.raises(StoreError) as caught, ELASTICSEARCH:
        raise error
    assert "secret" not in caught.value.message
