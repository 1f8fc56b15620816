"""Who may talk to whom by the NetworkPolicies of some objects, as Kubernetes reads them.

https://kubernetes.io/docs/concepts/services-networking/network-policies/: a pod that no policy
selects is open; policies that select it add up; a connection needs the leave of both its ends.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.kubernetes.manifests import NAMESPACE, Object

Direction = Literal["ingress", "egress"]


@dataclass(frozen=True, slots=True)
class End:
    """A pod, or, with an address only, what is outside of the cluster."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = NAMESPACE
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


def allowed(policies: Iterable[Object], source: End, target: End, port: int) -> bool:
    policies = list(policies)
    return _lets(policies, "egress", source, target, port) and _lets(
        policies, "ingress", target, source, port
    )


def _lets(policies: list[Object], way: Direction, own: End, other: End, port: int) -> bool:
    if own.address or own.namespace != NAMESPACE:
        return True  # theirs to say
    rules = [
        rule
        for one in policies
        if way.title() in one["spec"]["policyTypes"]
        and matches(one["spec"]["podSelector"], own.labels)
        for rule in [*one["spec"].get(way, [])] or [None]
    ]
    return not rules or any(_rule_lets(rule, way, other, port) for rule in rules if rule)


def _rule_lets(rule: Mapping[str, Any], way: Direction, other: End, port: int) -> bool:
    ports = rule.get("ports")
    if ports and not any(one["port"] == port for one in ports):
        return False
    peers = rule.get("from" if way == "ingress" else "to")
    return not peers or any(_is_peer(peer, other) for peer in peers)


def _is_peer(peer: Mapping[str, Any], other: End) -> bool:
    if "ipBlock" in peer:
        network = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return bool(other.address) and ipaddress.ip_address(other.address) in network
    if other.address:
        return False
    if "namespaceSelector" in peer:
        named = {"kubernetes.io/metadata.name": other.namespace, **other.namespace_labels}
        if not matches(peer["namespaceSelector"], named):
            return False
    elif other.namespace != NAMESPACE:
        return False
    return matches(peer.get("podSelector", {}), other.labels)


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """By `matchLabels`; an empty selector is all. Whatever else it may say is refused."""
    assert selector.keys() <= {"matchLabels"}, f"not read here: {selector}"
    return selector.get("matchLabels", {}).items() <= labels.items()


def ports_to(policies: Iterable[Object], source: End, target: End) -> Iterator[int]:
    """Which of the ports that any policy names `source` may use at `target`."""
    policies = list(policies)
    named = {
        port["port"]
        for one in policies
        for way in ("ingress", "egress")
        for rule in one["spec"].get(way, [])
        for port in rule.get("ports", [])
    }
    yield from (port for port in sorted(named) if allowed(policies, source, target, port))
