"""LiteLLM's proxy, its pass-through route or its models, where somebody has installed it.

python -m venv $LOOMA_BENCH_HOME/litellm
$LOOMA_BENCH_HOME/litellm/bin/pip install 'litellm[proxy]'
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from benchmarks.edge.host import Host, NotMeasured, free_port
from benchmarks.rivals.proxy import Proxy
from shared.config import process_environment


def start(host: Host, folder: Path, upstream: int, path: str) -> Proxy:
    """LiteLLM with one worker that passes `path` through, without authentication."""
    route = {
        "path": path,
        "target": f"http://127.0.0.1:{upstream}{path}",
        "headers": {},
        "auth": False,
    }
    # It doesn't start without a key; the route itself asks for none.
    settings = {"master_key": f"sk-{secrets.token_hex(32)}", "pass_through_endpoints": [route]}
    return _start(host, folder, {"general_settings": settings})


def start_models(host: Host, folder: Path, models: Mapping[str, tuple[str, str]]) -> Proxy:
    """LiteLLM with one worker and no database before `models`: name → (base URL, name there).

    Without a key of its own it asks for none.
    """
    known = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{there}", "api_base": url, "api_key": "none"},
        }
        for name, (url, there) in models.items()
    ]
    settings = {"dangerously_permit_weak_or_unset_master_key": True}  # reached by nobody else
    return _start(host, folder, {"model_list": known, "general_settings": settings})


def _start(host: Host, folder: Path, settings: Mapping[str, object]) -> Proxy:
    program = folder / "litellm" / "bin" / "litellm"
    if not program.is_file():
        raise NotMeasured(
            f"not installed: python -m venv {folder}/litellm && "
            f"{folder}/litellm/bin/pip install 'litellm[proxy]'"
        )
    port = free_port()
    config = host.folder / "litellm.yaml"  # JSON is YAML
    config.write_text(json.dumps(settings))
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
