"""Endpoints of the monitor service, those of each room with its part of the state."""

from __future__ import annotations

from ai_services.monitor.jobs import routes as jobs
from ai_services.monitor.state import State, given
from ai_services.monitor.status import routes as status
from ai_services.monitor.webhooks import routes as webhooks
from shared.serving.service import Endpoint

endpoints: list[Endpoint[State]] = [
    *given(lambda state: state.relational, jobs.endpoints),
    *given(lambda state: state.survey, status.endpoints),
    *given(lambda state: state.webhooks, webhooks.endpoints),
]
