"""Endpoints of what an organisation decides about its requests to models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from ai_services.llm.organisation.settings import OrganisationSettings
from ai_services.llm.state import State
from shared.serving.service import Call, Endpoint


class SettingsOut(BaseModel):
    mask_personal_data: bool = Field(
        description="phone, id-card and bank-card numbers and e-mail addresses are replaced before "
        "a prompt leaves, and put back in the answer"
    )
    encrypt_answers: bool = Field(description="answers that are kept for a time are encrypted")


class SettingsIn(SettingsOut):
    model_config = ConfigDict(extra="forbid", strict=True)


async def get_settings(call: Call[State]) -> SettingsOut:
    return _shown(await call.state.settings.of(call.org_id))


async def put_settings(call: Call[State]) -> SettingsOut:
    body: SettingsIn = call.body
    wanted = OrganisationSettings(body.mask_personal_data, body.encrypt_answers)
    await call.state.settings.change(call.org_id, wanted)
    return _shown(wanted)


def _shown(settings: OrganisationSettings) -> SettingsOut:
    return SettingsOut(
        mask_personal_data=settings.mask_personal_data, encrypt_answers=settings.encrypt_answers
    )


endpoints: list[Endpoint[State]] = [
    Endpoint(
        "GET", "/api/v1/llm/settings", get_settings, "llm:read",
        "Whether personal data is masked for models and kept answers are encrypted",
        returns=SettingsOut, tags=("llm",),
    ),
    Endpoint(
        "PUT", "/api/v1/llm/settings", put_settings, "llm:admin",
        "Decide whether personal data is masked for models and kept answers are encrypted",
        body=SettingsIn, body_limit=16_384, returns=SettingsOut, tags=("llm",),
    ),
]  # fmt: skip
