"""Every drill, by the kind of platform that it needs."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos import faults
from tests.chaos.crowd import crowd
from tests.chaos.drill import Drill
from tests.chaos.faults import of
from tests.chaos.hostile import attack


@dataclass(frozen=True, slots=True)
class Course:
    """Drills one after the other on one platform started with these settings."""

    name: str
    drills: tuple[Drill, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    pair: bool = False  # over a PostgreSQL elsewhere that has a standby


KILL_AUTH = Drill("auth killed", of(faults.kill_service, "auth"))
KILL_ENRICHMENT = Drill("enrichment killed", of(faults.kill_service, "enrichment"))
KILL_PORTRAIT = Drill("portrait killed", of(faults.kill_service, "portrait"))
KILL_GATEWAY = Drill("gateway killed", of(faults.kill_service, "gateway"), cuts=True)
KILL_POSTGRES = Drill("PostgreSQL killed", of(faults.end_postgres, signal.SIGKILL))
FLUSH_REDIS = Drill("Redis flushed", of(faults.flush_redis), forgets_keys=True)

SERVICES = (
    KILL_AUTH,
    KILL_ENRICHMENT,
    KILL_PORTRAIT,
    KILL_GATEWAY,
    Drill("auth stopped 10 s", of(faults.stop_service, "auth", 10.0)),
    Drill("enrichment stopped 10 s", of(faults.stop_service, "enrichment", 10.0)),
    Drill("portrait stopped 10 s", of(faults.stop_service, "portrait", 10.0)),
    Drill("gateway stopped 10 s", of(faults.stop_service, "gateway", 10.0), cuts=True),
)
STORES = (
    KILL_POSTGRES,
    Drill("PostgreSQL shut down at once", of(faults.end_postgres, signal.SIGQUIT)),
    Drill("PostgreSQL stopped 20 s", of(faults.stop_store, "postgres", 20.0)),
    Drill("a PostgreSQL backend killed", of(faults.kill_backend)),
    Drill("all pooled connections ended", of(faults.terminate_connections)),
    Drill("Redis killed", of(faults.kill_store, "redis"), forgets_keys=True),
    Drill("Redis stopped 10 s", of(faults.stop_store, "redis", 10.0), forgets_keys=True),
    FLUSH_REDIS,
    Drill("Redis connections dropped", of(faults.drop_redis_clients), forgets_keys=True),
    Drill("Redis read-only 10 s", of(faults.read_only_redis, 10.0), forgets_keys=True),
    Drill("graph store killed", of(faults.kill_store, "graph")),
    Drill("graph store stopped 10 s", of(faults.stop_store, "graph", 10.0)),
)
WORKERS = (
    Drill("a gateway worker of 2 killed", of(faults.kill_worker), cuts=True),
    Drill("a gateway worker of 2 stopped 10 s", of(faults.stop_worker, 10.0), cuts=True),
)
HOSTILE = Drill("a hostile neighbour, 15 s", of(attack, 15.0), unnoticed=True)
CROWDS = (
    HOSTILE,
    Drill(
        "200 clients return at once: PostgreSQL stopped 5 s",
        of(crowd, 200, of(faults.stop_store, "postgres", 5.0)),
    ),
    Drill(
        "200 clients return at once: enrichment killed",
        of(crowd, 200, of(faults.kill_service, "enrichment")),
    ),
)
ELSEWHERE = (
    Drill("an external PostgreSQL unreachable 5 s", of(faults.cut_network, 5.0)),
    Drill("an external PostgreSQL silent 10 s", of(faults.freeze_network, 10.0)),
    Drill("an external PostgreSQL fails over", of(faults.fail_over)),
)
COURSES = (
    Course("services", SERVICES),
    Course("stores", STORES),
    Course("crowds", CROWDS),
    Course("workers", WORKERS, {"GATEWAY_WORKERS": "2"}),
    Course("elsewhere", ELSEWHERE, pair=True),
)
# Half a minute's worth of them, for every run of the tests.
FAST = Course(
    "fast",
    (
        KILL_ENRICHMENT,
        KILL_POSTGRES,
    ),
)
