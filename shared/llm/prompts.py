"""Prompts as files with versions: `prompts/NAME.vN.md` in the folder of the service that asks.

A prompt begins with what is the same each time, which providers cache, and has its {fields} behind
it. A version is never edited: what is asked otherwise is a new file.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.errors import ConfigError

_FIELD: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")  # braces around anything else are text
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt with its fields filled in: `prefix` is the stable part, `rest` what follows it.

    `version` is `name@N:<8 hex digits of its hash>`, for caches and the ledger.
    """

    prefix: str
    rest: str
    version: str

    @property
    def messages(self) -> list[Any]:
        """The stable part as the system's words, the rest as the user's."""
        system = {"role": "system", "content": self.prefix.strip()}
        user = {"role": "user", "content": self.rest.strip()}
        return [system, user] if user["content"] else [{**system, "role": "user"}]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One version of a prompt."""

    name: str
    number: int
    text: str

    @property
    def version(self) -> str:
        """What tells this text from any other."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        return f"{self.name}@{self.number}:{digest[:8]}"

    @property
    def fields(self) -> frozenset[str]:
        """The names of what has to be filled in."""
        return frozenset(_FIELD.findall(self.text))

    def render(self, **fields: str) -> Rendered:
        """The prompt with its fields; TypeError unless exactly these are given.

        What is filled in is taken as it is: braces in it name no fields.
        """
        if fields.keys() != self.fields:
            named = ", ".join(sorted(self.fields)) or "no fields"
            given = ", ".join(sorted(fields)) or "none"
            raise TypeError(f"The prompt {self.version} has {named}; given are {given}.")
        rest = _FIELD.sub(lambda match: fields[match[1]], self.text[self.stable :])
        return Rendered(self.text[: self.stable], rest, self.version)

    @property
    def stable(self) -> int:
        """How many characters are the same each time: all lines before the first with a field."""
        first = _FIELD.search(self.text)
        return self.text.rfind("\n", 0, first.start()) + 1 if first else len(self.text)


def read_prompt(folder: Path, name: str, number: int) -> Prompt:
    """The prompt in `folder/NAME.vN.md`; ConfigError for a file that holds none."""
    path = folder / f"{name}.v{number}.md"
    if not _NAME.fullmatch(name) or number < 1:
        raise ConfigError(
            f"{path}: a prompt is named by lower-case letters, digits, '-' and '_', and its versions "
            "are counted from 1."
        )
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: can't read the prompt: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the prompt is not UTF-8. Save it as UTF-8.") from error
    prompt = Prompt(name, number, text.replace("\r\n", "\n"))
    if not prompt.text[: prompt.stable].strip():
        raise ConfigError(
            f"{path}: a prompt begins with lines that are the same each time. Put the fields behind "
            "them."
        )
    return prompt
