"""Which projections hear of what is announced over the outbox, as the services' entries say.

Nothing is written for a topic without listeners. A projection that begins to listen is rebuilt
once: what was announced before wasn't kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from shared.services import SERVICES, Service


def listeners(services: Iterable[Service]) -> Mapping[str, tuple[str, ...]]:
    """Topic that a service tells → the projections that listen to it; none, if nobody does."""
    services = tuple(services)
    projections = [one for service in services for one in service.projections]
    return MappingProxyType(
        {
            topic: tuple(one.name for one in projections if topic in one.topics)
            for service in services
            for topic in service.topics
        }
    )


TOPICS = listeners(SERVICES)


def listening_to(topics: Mapping[str, Sequence[str]], topic: str) -> list[str]:
    """The projections that get what is emitted of `topic`; ValueError for a topic that is none."""
    if topic not in topics:
        raise ValueError(f"unknown topic {topic!r}: add it to its service in shared/services.py")
    return list(topics[topic])
