"""Settings of organisations: what each decides about its requests to models."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ai_services.llm.organisation import store
from shared.data_access.ports import Relational

KEPT_S: Final = 5.0
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class OrganisationSettings:
    """`mask_personal_data` before a prompt leaves; `encrypt_answers` that are kept for a time."""

    mask_personal_data: bool = True
    encrypt_answers: bool = False


class Settings:
    """`of` an organisation, up to 5 s old where another replica has changed them."""

    def __init__(self, relational: Relational) -> None:
        self._relational = relational
        self._known: OrderedDict[UUID, tuple[float, OrganisationSettings]] = OrderedDict()

    async def of(self, org_id: UUID) -> OrganisationSettings:
        known = self._known.get(org_id)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        async with self._relational.tenant(org_id, readonly=True) as tx:
            row = await store.read(tx, org_id)
        found = OrganisationSettings() if row is None else OrganisationSettings(**row)
        self._keep(org_id, found)
        return found

    async def change(self, org_id: UUID, wanted: OrganisationSettings) -> None:
        async with self._relational.tenant(org_id) as tx:
            await store.write(tx, org_id, wanted.mask_personal_data, wanted.encrypt_answers)
        self._keep(org_id, wanted)

    def _keep(self, org_id: UUID, found: OrganisationSettings) -> None:
        self._known[org_id] = time.monotonic() + KEPT_S, found
        self._known.move_to_end(org_id)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
