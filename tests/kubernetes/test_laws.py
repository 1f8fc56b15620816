"""kubernetes/: what holds of every manifest, and that each law finds what breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from shared.services import PROCESSES, Service
from tests.kubernetes import laws
from tests.kubernetes.manifests import (
    KUBECTL,
    SMALL,
    Object,
    at,
    base,
    container_of,
    find,
    kustomize,
    pod_of,
    settings_of,
)

BASE = base()


@pytest.fixture(scope="module")
def small() -> list[Object]:
    if KUBECTL is None:
        pytest.skip("no kubectl here, whose kustomize puts overlays together")
    return kustomize(SMALL)


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda one: one.__name__)
def test_the_base_keeps_every_law(law: laws.Law) -> None:
    assert list(law(BASE)) == []


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda one: one.__name__)
def test_the_small_overlay_keeps_every_law(law: laws.Law, small: list[Object]) -> None:
    assert list(law(small)) == []


def test_the_small_overlay_is_small(small: list[Object]) -> None:
    kinds = [one["kind"] for one in small]
    assert "HorizontalPodAutoscaler" not in kinds
    assert [at(one, "spec.replicas") for one in small if one["kind"] == "Deployment"] == [1] * len(
        PROCESSES
    )
    read = {laws.secret_paths(small, name).values() for name in ("enrichment", "portrait")}
    assert not {"search_url", "vector_url"} & {key for keys in read for key in keys}


Break = Callable[[list[Object]], Any]


def put(kind: str, name: str, path: str, value: Any) -> Break:
    """Something else at `path`; None takes it away."""

    def change(objects: list[Object]) -> None:
        before, _, last = path.rpartition(".")
        one = find(objects, kind, name)
        place = at(one, before) if before else one
        if value is None:
            del place[int(last) if isinstance(place, list) else last]
        else:
            place[int(last) if isinstance(place, list) else last] = value

    return change


def pod(name: str, path: str, value: Any) -> Break:
    return put("Deployment", name, f"spec.template.spec.{path}", value)


def container(name: str, path: str, value: Any) -> Break:
    return pod(name, f"containers.0.{path}", value)


def without(kind: str, name: str) -> Break:
    return lambda objects: objects.remove(find(objects, kind, name))


def setting(name: str, value: str) -> Break:
    return lambda objects: settings_of(objects).__setitem__(name, value)


def told(name: str, variable: Object) -> Break:
    return lambda objects: container_of(objects, name)["env"].append(variable)


def drop_secret(name: str, key: str) -> Break:
    def change(objects: list[Object]) -> None:
        items = at(pod_of(objects, name), "volumes.2.secret.items")
        items.remove({"key": key, "path": key})

    return change


BREAKS: list[tuple[laws.Law, Break, str]] = [
    (
        laws.everything_is_there,
        without("PodDisruptionBudget", "auth"),
        "auth: a PodDisruptionBudget",
    ),
    (
        laws.everything_is_there,
        without("HorizontalPodAutoscaler", "portrait"),
        "portrait: a HorizontalPodAutoscaler",
    ),
    (
        laws.everything_lies_in_the_namespace,
        put("Service", "auth", "metadata.namespace", "default"),
        "Service auth: in namespace default",
    ),
    (
        laws.selectors_find_their_pods,
        put("Service", "auth", "spec.selector", {"app.kubernetes.io/part-of": "looma"}),
        "auth: its Service selects gateway, auth, enrichment, portrait",
    ),
    (
        laws.selectors_find_their_pods,
        put("NetworkPolicy", "auth", "spec.podSelector", {"matchLabels": {"app": "auth"}}),
        "auth: its NetworkPolicy selects nothing",
    ),
    (
        laws.autoscalers_scale,
        put("HorizontalPodAutoscaler", "auth", "spec.scaleTargetRef.name", "gateway"),
        "auth: its autoscaler scales Deployment gateway",
    ),
    (
        laws.autoscalers_scale,
        put("Deployment", "auth", "spec.replicas", 3),
        "auth: `replicas` and the autoscaler",
    ),
    (laws.autoscalers_scale, setting("GATEWAY_REPLICAS", "1"), "GATEWAY_REPLICAS is not 2"),
    (
        laws.autoscalers_scale,
        put("HorizontalPodAutoscaler", "auth", "spec.minReplicas", 1),
        "auth: scales from 1",
    ),
    (
        laws.ports_are_those_of_the_processes,
        put("Service", "auth", "spec.ports.0.port", 80),
        "auth: its Service has 80, not 8211",
    ),
    (
        laws.ports_are_those_of_the_processes,
        container("auth", "livenessProbe.httpGet.port", "web"),
        "auth: livenessProbe asks port web",
    ),
    (laws.pods_have_no_rights, pod("auth", "enableServiceLinks", None), "enableServiceLinks"),
    (laws.pods_have_no_rights, pod("auth", "automountServiceAccountToken", True), "automount"),
    (
        laws.pods_have_no_rights,
        container("auth", "securityContext.capabilities", {"drop": ["NET_RAW"]}),
        "auth: containers.0.securityContext.capabilities",
    ),
    (
        laws.pods_have_no_rights,
        container("auth", "securityContext.readOnlyRootFilesystem", False),
        "readOnlyRootFilesystem is False",
    ),
    (
        laws.pods_have_no_rights,
        put("Namespace", "looma", "metadata.labels", {}),
        "Namespace looma: enforces None",
    ),
    (
        laws.pods_write_where_they_must,
        container("auth", "volumeMounts.1.mountPath", "/home"),
        "auth: /var/lib/looma is no emptyDir",
    ),
    (
        laws.pods_write_where_they_must,
        pod("auth", "volumes.2.secret.defaultMode", None),
        "auth: all users may read",
    ),
    (
        laws.pods_write_where_they_must,
        pod("auth", "volumes.0", {"name": "tmp", "hostPath": {"path": "/tmp"}}),
        "auth: tmp is neither",
    ),
    (laws.settings_are_settings, setting("LOG_LEVLE", "info"), "there is no setting LOG_LEVLE"),
    (laws.settings_are_settings, setting("REDIS_URL", "redis://:x@y"), "REDIS_URL is a secret"),
    (
        laws.settings_are_settings,
        told("auth", {"name": "DATA_KEY", "value": "0" * 64}),
        "auth: DATA_KEY is written down",
    ),
    (
        laws.settings_are_settings,
        drop_secret("auth", "data_key"),
        "auth: no secret is mounted at /run/secrets/looma/data_key",
    ),
    (
        laws.settings_are_settings,
        container("auth", "env.0.valueFrom.fieldRef.fieldPath", "status.hostIP"),
        "auth: ADVERTISE_HOST",
    ),
    (
        laws.probes_ask_what_they_should,
        container("auth", "livenessProbe.httpGet.path", "/ready"),
        "auth: its livenessProbe asks /ready",
    ),
    (
        laws.probes_ask_what_they_should,
        container("auth", "readinessProbe.timeoutSeconds", 1),
        "auth: its readinessProbe gives up",
    ),
    (
        laws.probes_ask_what_they_should,
        container("auth", "startupProbe.failureThreshold", 3),
        "auth: has less than a minute",
    ),
    (laws.pods_have_time_to_stop, setting("SHUTDOWN_SECONDS", "60"), "auth: is killed 45 s after"),
    (laws.pods_have_time_to_stop, setting("DRAIN_DELAY_SECONDS", "0"), "DRAIN_DELAY_SECONDS"),
    (
        laws.containers_are_bounded,
        container("auth", "resources.limits", {"cpu": "1"}),
        "auth: limits no memory",
    ),
    (
        laws.containers_are_bounded,
        container("auth", "resources.requests.cpu", "1500m"),
        "auth: requests more cpu",
    ),
    (
        laws.updates_and_drains_leave_somebody,
        put("Deployment", "auth", "spec.strategy.rollingUpdate.maxUnavailable", "25%"),
        "auth: an update",
    ),
    (
        laws.updates_and_drains_leave_somebody,
        put("PodDisruptionBudget", "auth", "spec.maxUnavailable", "100%"),
        "auth: its budget",
    ),
    (
        laws.images_are_of_this_version,
        container("auth", "image", "looma/auth:latest"),
        "auth: runs looma/auth:latest",
    ),
    (
        laws.only_those_meet_who_must,
        without("NetworkPolicy", "default-deny"),
        "NetworkPolicy default-deny: missing",
    ),
    (
        laws.only_those_meet_who_must,
        put("NetworkPolicy", "portrait", "spec.ingress.0.from", None),
        "portrait: the outside may reach it",
    ),
    (
        laws.only_those_meet_who_must,
        put("NetworkPolicy", "portrait", "spec.ingress.0.from.2.namespaceSelector", {}),
        "portrait: a prometheus elsewhere may reach it",
    ),
    (
        laws.only_those_meet_who_must,
        put("NetworkPolicy", "gateway", "spec.egress.1.ports.0.port", 8212),
        "auth: gateway may not reach it",
    ),
    (
        laws.only_those_meet_who_must,
        put("NetworkPolicy", "portrait", "spec.egress.0.to", None),
        "portrait: may reach the outside on 5432",
    ),
    (
        laws.only_those_meet_who_must,
        put("NetworkPolicy", "portrait", "spec.egress.0.ports.2", None),
        "portrait: may reach ports [5432, 6379, 50051] of stores",
    ),
    (laws.only_those_meet_who_must, without("NetworkPolicy", "dns"), "auth: may not ask DNS"),
]


@pytest.mark.parametrize(
    ("law", "change", "complaint"),
    BREAKS,
    ids=[f"{law.__name__}-{said}" for law, _, said in BREAKS],
)
def test_a_law_finds_what_breaks_it(law: laws.Law, change: Break, complaint: str) -> None:
    objects = copy.deepcopy(BASE)
    change(objects)
    assert any(complaint in said for said in law(objects)), list(law(objects))


def test_every_law_has_been_broken() -> None:
    assert {law for law, _, _ in BREAKS} == set(laws.LAWS)


def test_a_process_without_manifests_is_named() -> None:
    said = list(laws.lacking(BASE, [Service("assistant", 8299, "ai_services.assistant")]))
    assert said == [
        f"assistant: a {kind} in kubernetes/base/assistant.yaml"
        for kind in (*laws.KINDS, "HorizontalPodAutoscaler")
    ]
