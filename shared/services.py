"""Every process of the platform as data: what the others need to know of it.

Who starts it and where it listens, which stores it opens, which scopes its routes ask for, what it
tells and hears over the outbox. The settings, roles, gateway, command line, migrations and outbox
read it here; a new service is a folder and an entry in `SERVICES`. Nothing is imported for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Store = Literal["relational", "graph", "vectors", "search", "cache"]  # ports of data access
Rank = Literal["agent", "analyst", "admin"]  # each may all that those before it may

_NO_SCOPES: Final[Mapping[str, Rank]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Projection:
    """Something that a service keeps up to date in `store`, computed from PostgreSQL.

    It hears of `topics`, whichever services tell them. The service's `projections.PROJECTIONS`
    makes it by its name. What is not `rebuilt` can't be computed again: it was made of events.
    """

    name: str
    topics: tuple[str, ...]
    store: Store = "relational"
    rebuilt: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """One process: `python -m <module>`, listening on `port` unless a setting says otherwise.

    `scopes` are those that its routes ask for, each with the least role that has it. `topics` are
    what it tells over the outbox, `projections` what it makes of what it hears there.
    """

    name: str
    port: int
    module: str
    stores: frozenset[Store] = frozenset()
    scopes: Mapping[str, Rank] = field(default_factory=lambda: _NO_SCOPES)
    topics: tuple[str, ...] = ()
    projections: tuple[Projection, ...] = ()

    @property
    def port_setting(self) -> str:
        """The setting that names its port."""
        return f"{self.name.upper()}_PORT"


GATEWAY: Final = Service(
    "gateway", 8206, "gateway", frozenset({"cache"}), {"gateway:admin": "admin"}
)
SERVICES: Final = (
    Service(
        "auth",
        8211,
        "ai_services.auth",
        frozenset({"relational", "cache"}),
        {"users:admin": "admin", "keys:admin": "admin", "audit:read": "admin"},
    ),
    Service(
        "enrichment",
        8214,
        "ai_services.enrichment",
        frozenset({"relational", "search", "graph", "cache"}),
        {
            "calls:read": "agent",
            "calls:search": "analyst",
            "calls:write": "analyst",
            "customers:write": "analyst",
            "customers:erase": "admin",
            "analysis:read": "analyst",
            "analysis:write": "admin",
        },
        topics=("calls", "analyses"),  # what they hold: ai_services/enrichment/events.py
        projections=(
            Projection("search", ("calls",), "search"),
            Projection("graph", ("calls",), "graph"),
        ),
    ),
    Service(
        "portrait",
        8215,
        "ai_services.portrait",
        frozenset({"relational", "vectors", "cache"}),
        {
            "portrait:read": "agent",
            "portrait:summary": "analyst",
            "portrait:compute": "analyst",
            "segments:read": "analyst",
            "segments:write": "analyst",
        },
        # What they hold: ai_services/portrait/periods/announcing.py, …/segments/refreshing.py
        topics=("portraits", "segments"),
        projections=(Projection("vectors", ("portraits",), "vectors"),),
    ),
    Service(
        "llm",
        8218,
        "ai_services.llm",
        frozenset({"relational", "cache"}),
        {"llm:use": "agent", "llm:read": "analyst", "llm:admin": "admin"},
        topics=("budgets",),  # what they hold: ai_services/llm/spend/ledger_store.py
    ),
    Service(
        "monitor",
        8212,
        "ai_services.monitor",
        frozenset({"relational", "graph", "vectors", "search", "cache"}),  # to tell how they are
        {
            "jobs:read": "analyst",
            "jobs:write": "admin",
            "projections:write": "admin",
            "status:read": "admin",
            "webhooks:read": "admin",
            "webhooks:write": "admin",
        },
        topics=("jobs",),  # told by all who run jobs: shared/jobs/store/announcing.py
        projections=(
            Projection("webhooks", ("jobs", "budgets", "portraits", "segments"), rebuilt=False),
        ),
    ),
)
PROCESSES: Final = (GATEWAY, *SERVICES)
SERVICE_NAMES: Final = tuple(service.name for service in SERVICES)


def service_named(name: str) -> Service:
    """The entry of a service; KeyError for a name that is none."""
    return {service.name: service for service in SERVICES}[name]
