"""What holds of the manifests: each law yields what breaks it, in words that name it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from shared.config import SETTINGS
from shared.services import GATEWAY, PROCESSES, SERVICES, Service
from tests.docker.dockerfile import stages
from tests.kubernetes.manifests import (
    NAMESPACE,
    Object,
    at,
    container_of,
    find,
    pod_labels,
    pod_of,
    settings_of,
)
from tests.kubernetes.traffic import End, allowed, matches, ports_to
from tests.sources import ROOT

Law = Callable[[Sequence[Object]], Iterator[str]]

KINDS: Final = (
    "Deployment",
    "Service",
    "ServiceAccount",
    "PodDisruptionBudget",
    "NetworkPolicy",
)
SECRETS: Final = {one.name for one in SETTINGS if one.secret}
_KNOWN: Final = {one.name for one in SETTINGS} | {f"{name}_FILE" for name in SECRETS}
_IMAGE: Final = stages()["runtime"].environment
_VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
STORE_PORTS: Final = {
    "relational": {5432},
    "cache": {6379},
    "graph": {7687},
    "search": {9200},
    "vectors": {8080, 50051},
}
_READY_CHECKS_S: Final = 2.0  # what /ready gives a store, and an image's health check the process


def lacking(
    objects: Sequence[Object],
    processes: Sequence[Service] = PROCESSES,
    kinds: Sequence[str] = (*KINDS, "HorizontalPodAutoscaler"),
) -> Iterator[str]:
    """What a process has not been given."""
    there = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for process in processes:
        for kind in kinds:
            if (kind, process.name) not in there:
                yield f"{process.name}: a {kind} in kubernetes/base/{process.name}.yaml"


def everything_is_there(objects: Sequence[Object]) -> Iterator[str]:
    scaled = any(one["kind"] == "HorizontalPodAutoscaler" for one in objects)
    yield from lacking(objects, kinds=(*KINDS, *(["HorizontalPodAutoscaler"] if scaled else [])))


def everything_lies_in_the_namespace(objects: Sequence[Object]) -> Iterator[str]:
    for one in objects:
        name = one["metadata"]["name"]
        where = name if one["kind"] == "Namespace" else one["metadata"].get("namespace")
        if where != NAMESPACE:
            yield f"{one['kind']} {name}: in namespace {where}"
    if at(find(objects, "Namespace", NAMESPACE), "metadata.labels") is None:
        yield f"Namespace {NAMESPACE}: missing"


def selectors_find_their_pods(objects: Sequence[Object]) -> Iterator[str]:
    """Each selects the pods of its own process, and those of no other."""
    labels = {process.name: pod_labels(objects, process.name) for process in PROCESSES}
    for process in PROCESSES:
        name = process.name
        spreads = at(pod_of(objects, name), "topologySpreadConstraints") or []
        selectors = {
            "Deployment": at(find(objects, "Deployment", name), "spec.selector"),
            "Service": {"matchLabels": at(find(objects, "Service", name), "spec.selector") or {}},
            "PodDisruptionBudget": at(find(objects, "PodDisruptionBudget", name), "spec.selector"),
            "NetworkPolicy": at(find(objects, "NetworkPolicy", name), "spec.podSelector"),
            **{f"spread over {one['topologyKey']}": one.get("labelSelector") for one in spreads},
        }
        for what, selector in selectors.items():
            found = [one for one, has in labels.items() if has and matches(selector or {}, has)]
            if found != [name]:
                yield f"{name}: its {what} selects {', '.join(found) or 'nothing'}"


def autoscalers_scale(objects: Sequence[Object]) -> Iterator[str]:
    """By processor time, from two up; how many there are is theirs alone to say."""
    for process in PROCESSES:
        name = process.name
        scaler = find(objects, "HorizontalPodAutoscaler", name).get("spec")
        replicas = at(find(objects, "Deployment", name), "spec.replicas")
        if scaler is None:
            least = replicas
            if replicas is None:
                yield f"{name}: neither an autoscaler nor a number of replicas"
        else:
            least = scaler["minReplicas"]
            target = scaler["scaleTargetRef"]
            if (target["apiVersion"], target["kind"], target["name"]) != (
                "apps/v1",
                "Deployment",
                name,
            ):
                yield f"{name}: its autoscaler scales {target['kind']} {target['name']}"
            if replicas is not None:
                yield f"{name}: `replicas` and the autoscaler contradict each other"
            if not 2 <= least < scaler["maxReplicas"]:
                yield f"{name}: scales from {least} to {scaler['maxReplicas']}"
            if [at(one, "resource.name") for one in scaler["metrics"]] != ["cpu"]:
                yield f"{name}: does not scale by processor time"
        if process is GATEWAY and settings_of(objects).get("GATEWAY_REPLICAS") != str(least):
            yield f"{name}: GATEWAY_REPLICAS is not {least}"


def ports_are_those_of_the_processes(objects: Sequence[Object]) -> Iterator[str]:
    for process in PROCESSES:
        name, container = process.name, container_of(objects, process.name)
        given = {
            "its container listens on": at(container, "ports.0.containerPort"),
            "its Service has": at(find(objects, "Service", name), "spec.ports.0.port"),
            "prometheus.io/port is": int(
                at(find(objects, "Deployment", name), "spec.template.metadata.annotations")[
                    "prometheus.io/port"
                ]
            ),
        }
        yield from (
            f"{name}: {what} {port}, not {process.port}"
            for what, port in given.items()
            if port != process.port
        )
        named = at(container, "ports.0.name")
        asked = {
            "its Service": at(find(objects, "Service", name), "spec.ports.0.targetPort"),
            **{
                probe: at(container, f"{probe}.httpGet.port")
                for probe in ("startupProbe", "livenessProbe", "readinessProbe")
            },
        }
        yield from (
            f"{name}: {what} asks port {port}, and the container has {named}"
            for what, port in asked.items()
            if port != named
        )


def pods_have_no_rights(objects: Sequence[Object]) -> Iterator[str]:
    """The `restricted` profile of the Pod Security Standards, a root that can't be written, no token."""
    wanted = {
        "automountServiceAccountToken": False,
        # Else Kubernetes sets GATEWAY_PORT to 'tcp://10.0.0.1:8206', which is no port.
        "enableServiceLinks": False,
        "securityContext.runAsNonRoot": True,
        "securityContext.runAsUser": 10001,
        "securityContext.runAsGroup": 10001,
        "securityContext.seccompProfile.type": "RuntimeDefault",
        "containers.0.securityContext.allowPrivilegeEscalation": False,
        "containers.0.securityContext.readOnlyRootFilesystem": True,
        "containers.0.securityContext.capabilities": {"drop": ["ALL"]},
        "containers.1": None,
        "initContainers": None,
        "hostNetwork": None,
        "hostPID": None,
    }
    for process in PROCESSES:
        pod = pod_of(objects, process.name)
        for path, value in wanted.items():
            if at(pod, path) != value:
                yield f"{process.name}: {path} is {at(pod, path)}, not {value}"
        if pod.get("serviceAccountName") != process.name:
            yield f"{process.name}: runs as {pod.get('serviceAccountName')}"
        account = find(objects, "ServiceAccount", process.name)
        if account.get("automountServiceAccountToken") is not False:
            yield f"{process.name}: its ServiceAccount mounts its token"
    (level,) = {
        at(find(objects, "Namespace", NAMESPACE), "metadata.labels").get(
            "pod-security.kubernetes.io/enforce"
        )
    }
    if level != "restricted":
        yield f"Namespace {NAMESPACE}: enforces {level}"


def pods_write_where_they_must(objects: Sequence[Object]) -> Iterator[str]:
    """To /tmp and LOOMA_HOME, which are bounded; the secrets are the pod's own to read."""
    for process in PROCESSES:
        pod = pod_of(objects, process.name)
        volumes = {one["name"]: one for one in pod.get("volumes", [])}
        mounts = {
            one["mountPath"]: one for one in container_of(objects, process.name)["volumeMounts"]
        }
        for path in ("/tmp", _IMAGE["LOOMA_HOME"]):
            volume = volumes.get(mounts.get(path, {}).get("name", ""), {})
            if not at(volume, "emptyDir.sizeLimit"):
                yield f"{process.name}: {path} is no emptyDir with a limit"
        for one in volumes.values():
            if "secret" in one and one["secret"].get("defaultMode", 0o644) & 0o007:
                yield f"{process.name}: all users may read the files of {one['name']}"
            if not one.keys() & {"secret", "emptyDir"}:
                yield f"{process.name}: {one['name']} is neither a secret nor empty"
        if at(pod, "securityContext.fsGroup") != 10001:
            yield f"{process.name}: may not read its secrets: fsGroup is not 10001"


def settings_are_settings(objects: Sequence[Object]) -> Iterator[str]:
    """Every variable is in env.example; secrets are files of the Secret, never written down."""
    told = settings_of(objects)
    yield from (f"settings: there is no setting {name}" for name in told.keys() - _KNOWN)
    yield from (f"settings: {name} is a secret" for name in told.keys() & SECRETS)
    yield from (
        f"Secret {one['metadata']['name']}: stands in the manifests"
        for one in objects
        if one["kind"] == "Secret"
    )
    for process in PROCESSES:
        container = container_of(objects, process.name)
        if at(container, "envFrom.0.configMapRef.name") != "settings":
            yield f"{process.name}: is not given the settings"
        env = {one["name"]: one for one in container.get("env", [])}
        yield from (f"{process.name}: there is no setting {name}" for name in env.keys() - _KNOWN)
        yield from (f"{process.name}: {name} is written down" for name in env.keys() & SECRETS)
        if at(env, "ADVERTISE_HOST.valueFrom.fieldRef.fieldPath") != "status.podIP":
            yield f"{process.name}: ADVERTISE_HOST is not the address of its pod"
        yield from _secret_files(process, env, objects)


def _secret_files(
    process: Service, env: dict[str, Object], objects: Sequence[Object]
) -> Iterator[str]:
    files = secret_paths(objects, process.name)
    named = {one["value"] for name, one in env.items() if name.endswith("_FILE")}
    yield from (f"{process.name}: no secret is mounted at {path}" for path in named - files.keys())
    yield from (f"{process.name}: nobody reads {path}" for path in files.keys() - named)


def secret_paths(objects: Sequence[Object], name: str) -> dict[str, str]:
    """Where the keys of the Secret are in a container: path → key."""
    volumes = {one["name"]: one for one in pod_of(objects, name).get("volumes", [])}
    return {
        f"{mount['mountPath']}/{item['path']}": item["key"]
        for mount in container_of(objects, name).get("volumeMounts", [])
        for item in at(volumes.get(mount["name"]), "secret.items") or []
    }


def probes_ask_what_they_should(objects: Sequence[Object]) -> Iterator[str]:
    """Whether it lives, of a page that asks no store; whether it can work, of /ready."""
    wanted = {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}
    for process in PROCESSES:
        container = container_of(objects, process.name)
        for probe, path in wanted.items():
            asked = at(container, f"{probe}.httpGet.path")
            if asked != path:
                yield f"{process.name}: its {probe} asks {asked}, not {path}"
            if (at(container, f"{probe}.timeoutSeconds") or 1) <= _READY_CHECKS_S:
                yield f"{process.name}: its {probe} gives up before {path} does"
        start = container.get("startupProbe", {})
        if start.get("periodSeconds", 10) * start.get("failureThreshold", 3) < 60:
            yield f"{process.name}: has less than a minute to start"


def pods_have_time_to_stop(objects: Sequence[Object]) -> Iterator[str]:
    told = settings_of(objects)
    drain, work = (float(told.get(f"{name}_SECONDS", 0)) for name in ("DRAIN_DELAY", "SHUTDOWN"))
    if drain < 3:
        yield "settings: DRAIN_DELAY_SECONDS is shorter than gateways need to read the registry"
    for process in PROCESSES:
        given = pod_of(objects, process.name).get("terminationGracePeriodSeconds", 30)
        if given < drain + work + 5:
            yield f"{process.name}: is killed {given} s after SIGTERM, and may need {drain + work}"


def containers_are_bounded(objects: Sequence[Object]) -> Iterator[str]:
    for process in PROCESSES:
        resources = container_of(objects, process.name).get("resources", {})
        for kind in ("requests", "limits"):
            missing = {"cpu", "memory"} - resources.get(kind, {}).keys()
            yield from (f"{process.name}: {kind} no {what}" for what in sorted(missing))
        for what in ("cpu", "memory"):
            least, most = (at(resources, f"{kind}.{what}") for kind in ("requests", "limits"))
            if least and most and _amount(least) > _amount(most):
                yield f"{process.name}: requests more {what} than its limit"


def _amount(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * {"m": 1e-3, "": 1, "Mi": 2.0**20, "Gi": 2.0**30}[unit]


def updates_and_drains_leave_somebody(objects: Sequence[Object]) -> Iterator[str]:
    for process in PROCESSES:
        name = process.name
        rolling = at(find(objects, "Deployment", name), "spec.strategy.rollingUpdate") or {}
        if (rolling.get("maxUnavailable"), rolling.get("maxSurge")) != (0, 1):
            yield f"{name}: an update takes pods away before others are ready"
        budget = find(objects, "PodDisruptionBudget", name).get("spec", {})
        if budget.get("maxUnavailable") != 1 or "minAvailable" in budget:
            yield f"{name}: its budget is not one pod at a time"
        spreads = at(pod_of(objects, name), "topologySpreadConstraints") or []
        over = {one["topologyKey"] for one in spreads}
        if over != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            yield f"{name}: is not spread over zones and nodes"


def images_are_of_this_version(objects: Sequence[Object]) -> Iterator[str]:
    for process in PROCESSES:
        image = container_of(objects, process.name).get("image")
        if image != f"looma/{process.name}:{_VERSION}":
            yield f"{process.name}: runs {image}"


# Who asks somebody outside the cluster: (process, whom, port).
# Providers of language models; where webhooks lead.
OUTWARD: Final = frozenset(
    {
        ("llm", "the outside", 443),
        ("monitor", "the outside", 443),
        ("monitor", "the outside", 8443),
    }
)
ASKS_ALL: Final = "monitor"  # whether they are ready
# Who else asks a service: which models judge calls, and whose a number is.
ASKS: Final = {"llm": {"enrichment"}, "enrichment": {"portrait"}}


def only_those_meet_who_must(objects: Sequence[Object]) -> Iterator[str]:
    """The gateway is open to all; services to it, to ASKS_ALL, to those in ASKS and to scrapers.

    Out go stores' ports, DNS, OUTWARD.
    """
    policies = [one for one in objects if one["kind"] == "NetworkPolicy"]
    if not any(one["metadata"]["name"] == "default-deny" for one in policies):
        yield "NetworkPolicy default-deny: missing"
    labels = {process.name: pod_labels(objects, process.name) for process in PROCESSES}
    strangers = {
        "a pod beside": End(),
        "a pod elsewhere": End(namespace="elsewhere"),
        "a prometheus elsewhere": End(
            {"app.kubernetes.io/name": "prometheus"}, namespace="elsewhere"
        ),
        "the outside": End(address="203.0.113.7"),
    }
    scraper = End(
        {"app.kubernetes.io/name": "prometheus"}, "monitoring", {"looma/scrapers": "true"}
    )
    stores = End(namespace="databases", namespace_labels={"looma/stores": "true"})
    dns = End({"k8s-app": "kube-dns"}, "kube-system")
    for process in PROCESSES:
        own = End(labels[process.name])
        coming = {**strangers, "a scraper": scraper} | {
            one.name: End(labels[one.name]) for one in PROCESSES if one is not process
        }
        may = {GATEWAY.name, ASKS_ALL, "a scraper", *ASKS.get(process.name, ())} & coming.keys()
        if process is GATEWAY:  # but from this namespace, out of which nothing leads
            may = coming.keys() - {"a pod beside", *(one.name for one in SERVICES)} | {ASKS_ALL}
        for who, end in coming.items():
            if allowed(policies, end, own, process.port) != (who in may):
                yield f"{process.name}: {who} {'may not' if who in may else 'may'} reach it"
        for who, end in strangers.items():
            yield from (
                f"{process.name}: may reach {who} on {port}"
                for port in ports_to(policies, own, end)
                if (process.name, who, port) not in OUTWARD
            )
        needed = set[int]().union(*(STORE_PORTS[store] for store in process.stores))
        reached = set(ports_to(policies, own, stores))
        if reached != needed:
            yield f"{process.name}: may reach ports {sorted(reached)} of stores, not {sorted(needed)}"
        if not allowed(policies, own, dns, 53):
            yield f"{process.name}: may not ask DNS"


LAWS: Final[tuple[Law, ...]] = (
    everything_is_there,
    everything_lies_in_the_namespace,
    selectors_find_their_pods,
    autoscalers_scale,
    ports_are_those_of_the_processes,
    pods_have_no_rights,
    pods_write_where_they_must,
    settings_are_settings,
    probes_ask_what_they_should,
    pods_have_time_to_stop,
    containers_are_bounded,
    updates_and_drains_leave_somebody,
    images_are_of_this_version,
    only_those_meet_who_must,
)
