"""kubernetes/base as what it makes: plain objects, found by kind and name."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.sources import ROOT

Object = dict[str, Any]

BASE = ROOT / "kubernetes" / "base"
SMALL = ROOT / "kubernetes" / "overlays" / "small"
NAMESPACE = "looma"
KUBECTL = shutil.which("kubectl")
_READ_HERE = {"apiVersion", "kind", "namespace", "resources", "configMapGenerator"}


def kustomization(folder: Path) -> Object:
    loaded: Object = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return loaded


def base() -> list[Object]:
    """The base as kustomize makes it, without the hash behind the name of a generated ConfigMap.

    It is so plain that no program is needed for that: a list of files, one namespace, and settings
    from a file. What else a kustomization may say is refused, so that nothing is left out unseen.
    """
    told = kustomization(BASE)
    assert told.keys() <= _READ_HERE, f"not read here: {told.keys() - _READ_HERE}"
    objects = [one for name in told["resources"] for one in documents(BASE / name)]
    objects += [_settings(made) for made in told["configMapGenerator"]]
    for one in objects:
        if one["kind"] != "Namespace":
            one["metadata"]["namespace"] = told["namespace"]
    return objects


def documents(path: Path) -> Iterator[Object]:
    yield from yaml.safe_load_all(path.read_text())


def _settings(made: Object) -> Object:
    lines = [line for name in made["envs"] for line in (BASE / name).read_text().splitlines()]
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": made["name"], **made.get("options", {})},
        "data": {name: value for name, _, value in pairs},
    }


def kustomize(folder: Path) -> list[Object]:
    """What kubectl's own kustomize makes; the hash behind a generated ConfigMap's name is taken off."""
    assert KUBECTL is not None
    done = subprocess.run(
        [KUBECTL, "kustomize", folder],
        capture_output=True, text=True, check=False, timeout=60,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "KUBECONFIG": "/dev/null"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    objects: list[Object] = list(yaml.safe_load_all(done.stdout))
    (settings,) = (one for one in objects if one["kind"] == "ConfigMap")
    hashed = settings["metadata"]["name"]
    text = json.dumps(objects).replace(hashed, hashed.rpartition("-")[0])
    found: list[Object] = json.loads(text)
    return found


def find(objects: Iterable[Object], kind: str, name: str) -> Object:
    """The one of this kind and name; without it one that says nothing, which keeps no law."""
    for one in objects:
        if (one["kind"], one["metadata"]["name"]) == (kind, name):
            return one
    return {"kind": kind, "metadata": {"name": name}}


def at(one: Any, path: str) -> Any:
    """What stands at 'spec.template.spec'; None where there is nothing. A number is a place."""
    for part in path.split("."):
        if isinstance(one, list):
            one = one[int(part)] if int(part) < len(one) else None
        else:
            one = one.get(part) if isinstance(one, dict) else None
    return one


def pod_of(objects: Iterable[Object], name: str) -> Object:
    """What a pod of this deployment is made of; {} if there is none."""
    found: Object = at(find(objects, "Deployment", name), "spec.template.spec") or {}
    return found


def container_of(objects: Iterable[Object], name: str) -> Object:
    found: Object = at(pod_of(objects, name), "containers.0") or {}
    return found


def pod_labels(objects: Iterable[Object], name: str) -> dict[str, str]:
    found: dict[str, str] = (
        at(find(objects, "Deployment", name), "spec.template.metadata.labels") or {}
    )
    return found


def settings_of(objects: Iterable[Object]) -> dict[str, str]:
    found: dict[str, str] = find(objects, "ConfigMap", "settings").get("data", {})
    return found
