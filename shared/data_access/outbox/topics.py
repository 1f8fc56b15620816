"""What is announced over the outbox, and which projections listen.

`calls`: calls that came in or were corrected; {"callids", "left", "left_days"}. `left` holds the
(user, customer) pairs and `left_days` the (user, local date) pairs that calls belonged to until
then; both are missing where no call moved.
`analyses`: calls whose analysis was saved; {"callids"}. Under the key of `calls`: whoever listens
to both gets them in one order.
`portraits`: snapshots of a period that changed; {"period_type", "period_key", "removed"}, the last
the users whose snapshots went away.

Nothing is written for a topic without listeners. A projection that begins to listen is rebuilt
once: what was announced before wasn't kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TOPICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "calls": ("search", "graph"),
        "analyses": (),
        "portraits": ("vectors",),
    }
)
