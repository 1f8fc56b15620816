"""A models file that changes is read again, without a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from ai_services.llm.models.catalogue import Catalogue
from ai_services.llm.models.opening import open_catalogue
from shared.config import Config
from shared.errors import ConfigError

_POLL_S: Final = 5.0
log = structlog.get_logger()


class Models:
    """The catalogue in force. ConfigError at first if it can't be read; later the last good one
    stays, and `problem` says what is wrong with the new one ('' while nothing is).

    Changes are found by what the file holds: times of files have no more than their clock's steps,
    and mounted files change by links. Keys are those that the process has had since its start.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._seen = _content(config.llm_models)
        self.catalogue: Catalogue = open_catalogue(config)
        self.problem = ""

    def look(self) -> bool:
        """Read the file again if it has changed; whether another catalogue is in force since."""
        content = _content(self._config.llm_models)
        if content == self._seen:
            return False
        self._seen = content
        try:
            self.catalogue = open_catalogue(self._config)
        except ConfigError as error:
            self.problem = error.message
            log.warning("models not reloaded, the former ones stay", reason=error.message)
            return False
        self.problem = ""
        log.info("models reloaded", models=len(self.catalogue.models))
        return True

    async def watch_forever(self, every_s: float = _POLL_S) -> None:
        """Look at the file every few seconds."""
        while True:
            await asyncio.sleep(every_s)
            self.look()


def _content(path: Path | None) -> bytes | None:
    """None for a file that can't be read; why it can't is found out by who reads it whole."""
    try:
        return path.read_bytes() if path is not None else None
    except OSError:
        return None
