"""What is known about the servers of a home: process, ports and which of them are wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.embedded.errors import EmbeddedStoreError
from shared.embedded.process import ProcessId


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """`process` is None for a server that was stopped; its ports are kept for the next start."""

    process: ProcessId | None = None
    ports: tuple[int, ...] = ()
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class State:
    servers: Mapping[str, ServerRecord] = field(default_factory=dict)

    def server(self, name: str) -> ServerRecord:
        return self.servers.get(name, ServerRecord())

    def with_server(self, name: str, record: ServerRecord) -> State:
        return State({**self.servers, name: record})


def read_state(path: Path) -> State:
    """The recorded state; empty if there is none or it is damaged.

    The servers can be found without it: by their directory in the process table.
    """
    try:
        document = json.loads(path.read_bytes())
        return State({name: _record(entry) for name, entry in document["servers"].items()})
    except FileNotFoundError:
        return State()
    except PermissionError as error:
        raise EmbeddedStoreError(
            f"{path} belongs to another user: run looma as that user, or choose another home "
            "(LOOMA_HOME)"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        return State()


def _record(entry: dict[str, Any]) -> ServerRecord:
    process = ProcessId(int(entry["pid"]), float(entry["created"])) if entry["pid"] else None
    ports = tuple(int(port) for port in entry["ports"])
    return ServerRecord(process, ports, bool(entry["wanted"]))


def write_state(path: Path, state: State) -> None:
    """Replace the state file in one step, readable by the owner only."""
    document = {
        "servers": {
            name: {
                "pid": record.process.pid if record.process else None,
                "created": record.process.created if record.process else None,
                "ports": record.ports,
                "wanted": record.wanted,
            }
            for name, record in state.servers.items()
        }
    }
    fresh = path.with_suffix(".new")
    try:
        write_private(fresh, json.dumps(document, indent=1).encode())
        fresh.replace(path)
    except OSError as error:
        raise EmbeddedStoreError(
            f"{path} could not be written ({error.strerror}): free disk space, or choose another "
            "home (LOOMA_HOME)"
        ) from error


def write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody but its owner may ever have read."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
