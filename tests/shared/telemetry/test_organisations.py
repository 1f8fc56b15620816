"""Which organisations have series of their own."""

from __future__ import annotations

import random
from collections import Counter
from uuid import UUID

from shared.telemetry.labels import OTHER
from shared.telemetry.organisations import OrganisationLabels


def test_a_few_organisations_have_labels_of_their_own() -> None:
    labels = OrganisationLabels(50)
    for _ in range(4):
        told = [labels.of(UUID(int=number)) for number in range(3)]
    assert told == [str(UUID(int=number)) for number in range(3)]


def test_however_many_there_are_labels_and_memory_are_bounded() -> None:
    labels = OrganisationLabels(5)
    told = Counter(labels.of(UUID(int=number % 7000)) for number in range(50_000))
    assert len(told) <= 6
    assert len(labels._waiting) <= 50
    kept = set(told) - {OTHER}
    for number in range(7000):  # whoever has a place keeps it
        assert labels.of(UUID(int=number)) in kept | {OTHER}


def test_places_go_to_the_busy_ones_although_others_come_first() -> None:
    labels = OrganisationLabels(20)
    for number in range(1000, 2000):  # each once, when the process has just started
        labels.of(UUID(int=number))
    chance = random.Random(7)
    busy = [UUID(int=number) for number in range(15)]
    for _ in range(3000):
        labels.of(chance.choice(busy))
        labels.of(UUID(int=chance.randrange(1000, 2000)))
    assert [labels.of(one) for one in busy] == [str(one) for one in busy]


def test_with_one_place_one_organisation_has_it() -> None:
    labels = OrganisationLabels(1)
    assert labels.of(UUID(int=1)) == str(UUID(int=1))
    assert {labels.of(UUID(int=number)) for number in range(2, 99)} == {OTHER}
