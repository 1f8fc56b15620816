"""What the endpoints of the portrait service find opened."""

from __future__ import annotations

from dataclasses import dataclass

from ai_services.portrait.answers import Answers
from shared.data_access.ports import Relational
from shared.serving.peers import Peers


@dataclass(frozen=True, slots=True)
class Stores:
    relational: Relational
    answers: Answers
    peers: Peers
