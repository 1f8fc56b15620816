"""The demo's dialogues, prepared so that a call costs microseconds: every line is rendered
with every set of slot values once, at the start, as the JSON that it becomes.
"""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

SLOT_SETS: Final = 64
_PAUSE_MS: Final = 700
_CHOICES: Final = 256
# How a customer's temper moves the weights of scenarios, by their mood.
TEMPERS: Final[Mapping[str, Mapping[str, float]]] = {
    "warm": {"positive": 1.6, "neutral": 0.9, "negative": 0.4},
    "even": {"positive": 1.0, "neutral": 1.0, "negative": 1.0},
    "cool": {"positive": 0.5, "neutral": 1.4, "negative": 1.0},
    "irritated": {"positive": 0.4, "neutral": 0.7, "negative": 4.0},
}


class Spoken(NamedTuple):
    """A rendered line: the JSON after its time, and how long it takes to say."""

    rest: str
    ms: int


class Step(NamedTuple):
    """One turn of a scenario: `lines[slot set]` are the ways to say it."""

    optional: bool
    before_time: str
    lines: Sequence[Sequence[Spoken]]


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    mood: str
    weight: float
    levels: str
    hangup: float
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Dialogues:
    """Per language and temper, scenarios in proportion to their weights: pick one evenly."""

    choices: Mapping[str, Mapping[str, Sequence[Scenario]]]


def load_dialogues() -> Dialogues:
    """Read and render the dialogues; the same every time."""
    path = Path(__file__).with_name("demo_dialogues.toml")
    languages = tomllib.loads(path.read_text(encoding="utf-8"))
    choices = {}
    for language, raw in languages.items():
        scenarios = _scenarios(raw)
        choices[language] = {
            temper: _in_proportion(scenarios, moods) for temper, moods in TEMPERS.items()
        }
    return Dialogues(choices)


def _scenarios(raw: Mapping[str, Any]) -> list[Scenario]:
    slot_sets = _slot_sets(raw["slots"])
    rendered = {
        name: [[_render(line, slots, raw["ms_per_char"]) for line in lines] for slots in slot_sets]
        for name, lines in raw["lines"].items()
    }
    return [
        Scenario(
            name=scenario["name"],
            mood=scenario["mood"],
            weight=scenario["weight"],
            levels=scenario["levels"],
            hangup=scenario["hangup"],
            steps=[_step(step, rendered) for step in scenario["steps"]],
        )
        for scenario in raw["scenario"]
    ]


def _step(step: str, rendered: Mapping[str, Sequence[Sequence[Spoken]]]) -> Step:
    name = step.removesuffix("?")
    role = name.partition("_")[0]
    return Step(step.endswith("?"), f'{{"role":"{role}","at_ms":', rendered[name])


def _slot_sets(slots: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    rng = random.Random(0)  # noqa: S311 - sample texts, no secrets
    return [{name: rng.choice(values) for name, values in slots.items()} for _ in range(SLOT_SETS)]


def _render(line: str, slots: Mapping[str, str], ms_per_char: int) -> Spoken:
    text = line.format_map(slots)
    spoken = text[0].upper() + text[1:]
    quoted = json.dumps(spoken, ensure_ascii=False)
    return Spoken(f',"text":{quoted}}}', _PAUSE_MS + len(spoken) * ms_per_char)


def _in_proportion(scenarios: Sequence[Scenario], moods: Mapping[str, float]) -> list[Scenario]:
    weights = [scenario.weight * moods[scenario.mood] for scenario in scenarios]
    total, reached, picked = sum(weights), 0.0, list[Scenario]()
    for scenario, weight in zip(scenarios, weights, strict=True):
        reached += weight
        picked += [scenario] * (round(reached / total * _CHOICES) - len(picked))
    return picked
