"""LiteLLM's pass-through route, where somebody has installed it.

python -m venv $LOOMA_BENCH_HOME/litellm
$LOOMA_BENCH_HOME/litellm/bin/pip install 'litellm[proxy]'
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from benchmarks.gateway_host import Host, NotMeasured, free_port
from benchmarks.rivals.proxy import Proxy
from shared.config import process_environment


def start(host: Host, folder: Path, upstream: int, path: str) -> Proxy:
    """LiteLLM with one worker that passes `path` through, without authentication."""
    program = folder / "litellm" / "bin" / "litellm"
    if not program.is_file():
        raise NotMeasured(
            f"not installed: python -m venv {folder}/litellm && "
            f"{folder}/litellm/bin/pip install 'litellm[proxy]'"
        )
    port = free_port()
    config = host.folder / "litellm.yaml"  # JSON is YAML
    route = {
        "path": path,
        "target": f"http://127.0.0.1:{upstream}{path}",
        "headers": {},
        "auth": False,
    }
    # It doesn't start without a key; the route itself asks for none.
    settings = {"master_key": f"sk-{secrets.token_hex(32)}", "pass_through_endpoints": [route]}
    config.write_text(json.dumps({"general_settings": settings}))
    command = [
        str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
        "--num_workers", "1", "--telemetry", "False",
    ]  # fmt: skip
    environment = process_environment(
        LITELLM_LOCAL_MODEL_COST_MAP="True",  # else it is fetched from the network
        LITELLM_MODE="PRODUCTION",
        LITELLM_LOG="ERROR",
    )
    child = host.start("litellm", command, proxy=True, environment=environment)
    return Proxy(child, port, "/health/liveliness")
