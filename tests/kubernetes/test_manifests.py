"""kubernetes/ as Kubernetes and kustomize read it: schemas, and files that are all named once."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from shared.services import PROCESSES
from tests.kubernetes.laws import secret_paths
from tests.kubernetes.manifests import (
    BASE,
    KUBECTL,
    SMALL,
    Object,
    base,
    container_of,
    find,
    kustomization,
    kustomize,
    settings_of,
)
from tests.sources import ROOT, name_of

# The oldest in which all that is used has left alpha, and the newest that the schemas know.
VERSIONS = ("1.27", kubernetes_validate.latest_version())
FOLDERS = sorted(path.parent for path in (ROOT / "kubernetes").rglob("kustomization.yaml"))

needs_kubectl = pytest.mark.skipif(
    KUBECTL is None, reason="no kubectl here, whose kustomize would put the files together"
)


def identity(one: Object) -> str:
    return f"{one['apiVersion']} {one['kind']} {one['metadata'].get('namespace')}/{one['metadata']['name']}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("one", base(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_a_manifest_fits_its_schema(one: Object, version: str) -> None:
    kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize(
    ("path", "wrong", "complaint"),
    [
        (("spec", "replicas"), "two", "'two' is not of type 'integer'"),
        (("spec", "replica"), 2, "'replica' was unexpected"),
        (("spec", "template", "spec", "containers", 0, "livenessprobe"), {}, "livenessprobe"),
        (("spec", "strategy", "rollingUpdate", "maxUnavailable"), [0], "[0] is not"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    path: tuple[str | int, ...], wrong: object, complaint: str
) -> None:
    """So that the test above says something."""
    (changed,) = (one for one in base() if identity(one) == "apps/v1 Deployment looma/auth")
    *before, last = path
    place = changed
    for part in before:
        place = place[part]  # type: ignore[index]
    place[last] = wrong  # type: ignore[index]
    with pytest.raises(kubernetes_validate.ValidationError) as refused:
        kubernetes_validate.validate(changed, VERSIONS[-1], strict=True)
    assert complaint in refused.value.message


def files_named(folder: Path) -> list[Path]:
    """What its kustomization has put together, with the folders that it builds on."""
    told = kustomization(folder)
    names = [
        *told["resources"],
        *(name for one in told.get("configMapGenerator", []) for name in one.get("envs", [])),
        *(one["path"] for one in told.get("patches", []) if "path" in one),
    ]
    return [(folder / name).resolve() for name in names]


def unresolved(folder: Path) -> list[str]:
    named = files_named(folder)
    there = {path for path in folder.iterdir() if path.name != "kustomization.yaml"}
    return [
        *(f"{name_of(path)}: is named, and is not there" for path in named if not path.exists()),
        *(f"{name_of(path)}: is named by nobody" for path in sorted(there - set(named))),
        *(
            f"{name_of(path)}: is named twice"
            for path, count in Counter(named).items()
            if count > 1
        ),
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_file_is_named_once(folder: Path) -> None:
    assert unresolved(folder) == []


def test_a_file_that_is_not_named_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.kubernetes.test_manifests.name_of", lambda path: path.name)
    (tmp_path / "kustomization.yaml").write_text("resources: [gone.yaml, own.yaml, own.yaml]\n")
    (tmp_path / "own.yaml").touch()
    (tmp_path / "forgotten.yaml").touch()
    assert unresolved(tmp_path) == [
        "gone.yaml: is named, and is not there",
        "forgotten.yaml: is named by nobody",
        "own.yaml: is named twice",
    ]


def test_no_object_stands_twice() -> None:
    counted = Counter(identity(one) for one in base())
    assert [one for one, count in counted.items() if count > 1] == []


@needs_kubectl
def test_kustomize_makes_what_these_tests_read() -> None:
    def comparable(objects: list[Object]) -> list[str]:
        return sorted(json.dumps(one, sort_keys=True) for one in objects)

    assert comparable(kustomize(BASE)) == comparable(base())


@needs_kubectl
def test_what_the_small_overlay_changes_fits_the_schemas() -> None:
    known = base()
    changed = [one for one in kustomize(SMALL) if one not in known]
    assert {one["kind"] for one in changed} == {"Deployment", "ConfigMap"}
    for one in changed:
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


def test_prometheus_finds_the_services_by_the_names_that_it_has() -> None:
    """With the namespace behind them, from where it is."""
    jobs = yaml.safe_load((ROOT / "monitoring/prometheus/prometheus.yml").read_text())
    (named,) = (
        {target for group in job["static_configs"] for target in group["targets"]}
        for job in jobs["scrape_configs"]
        if job["job_name"] == "services"
    )
    offered = {
        f"{one['metadata']['name']}:{one['spec']['ports'][0]['port']}"
        for one in base()
        if one["kind"] == "Service"
    }
    assert named == offered


@needs_kubectl
def test_the_overlay_of_the_manual_is_one(tmp_path: Path) -> None:
    manual = (ROOT / "docs/operations.md").read_text("utf-8")
    (overlay,) = re.findall(r"^```yaml\n(resources:.*?)^```", manual, re.DOTALL | re.MULTILINE)
    shutil.copytree(ROOT / "kubernetes", tmp_path / "kubernetes")
    mine = tmp_path / "kubernetes" / "overlays" / "mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(overlay)
    made = kustomize(mine)
    for process in PROCESSES:
        image = container_of(made, process.name)["image"]
        assert image.startswith(f"registry.example.com/looma/{process.name}:")
        (store, *_) = find(made, "NetworkPolicy", process.name)["spec"]["egress"]
        assert store["to"][-1] == {"ipBlock": {"cidr": "10.20.0.0/24"}}
    told = settings_of(made)
    known = settings_of(base())
    assert told["TRUSTED_PROXIES"] == "10.244.0.0/16"
    assert told.keys() == known.keys()


def test_the_manual_hands_over_every_secret_that_a_pod_reads() -> None:
    manual = (ROOT / "docs/operations.md").read_text("utf-8")
    (names,) = re.findall(r"secret generic looma .*?\$\(for name in (.*?);", manual, re.DOTALL)
    read = {key for one in PROCESSES for key in secret_paths(base(), one.name).values()}
    assert set(names.replace("\\", "").split()) == read
