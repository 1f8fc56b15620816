"""docker/Dockerfile, instruction by instruction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.docker.compose import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for one, rest in self.instructions if one == word]

    def last(self, word: str) -> str:
        """As it stands there; of a HEALTHCHECK or CMD only the last counts."""
        return self.all(word)[-1]

    @property
    def environment(self) -> Mapping[str, str]:
        pairs = (pair for rest in self.all("ENV") for pair in re.findall(r"(\w+)=(\S+)", rest))
        return dict(pairs)


def stages() -> dict[str, Stage]:
    """Every stage by its name, in the order of the file; continued lines are joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = found[name] = Stage(name, base)
        elif word and stage is not None:
            stage.instructions.append((word, rest.strip()))
    return found
