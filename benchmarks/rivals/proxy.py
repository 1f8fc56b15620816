"""A proxy that takes part: its process, its port, how one knows that it serves."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.edge.host import Child, Host, answers


@dataclass(frozen=True, slots=True)
class Proxy:
    child: Child
    port: int
    ready_path: str = "/ready"

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def wait(self, host: Host, within: float = 20.0) -> None:
        """Until it serves; NotMeasured if it does not within so many seconds."""
        host.wait(self.child, answers(self.url(self.ready_path)), within)
