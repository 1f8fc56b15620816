"""What the monitor service makes of what others tell over the outbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ai_services.monitor.webhooks.listening import WebhookMessages
from shared.data_access.access import UnifiedDataAccess
from shared.data_access.outbox.relay import Projection

PROJECTIONS: Final[Mapping[str, Callable[[UnifiedDataAccess], Projection]]] = {
    WebhookMessages.name: lambda data: WebhookMessages(data.relational)
}
