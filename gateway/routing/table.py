"""The route table: finds the route of a path; whole paths by dictionary, templates by a trie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.routing.route import Route
from shared.errors import MethodNotAllowed, NotFound

_NO_PATH: Final = "There is no such path. GET /openapi.json lists those there are."


def allowed(methods: Iterable[str]) -> list[str]:
    """The Allow of a path with routes for these methods: HEAD beside GET, and OPTIONS."""
    found = {*methods, "OPTIONS"}
    return sorted(found | {"HEAD"} if "GET" in found else found)


def not_allowed(methods: Sequence[str]) -> MethodNotAllowed:
    """The 405 of a path that takes `methods`."""
    return MethodNotAllowed(
        f"This path doesn't take that method. It takes {', '.join(methods)}.", allowed=methods
    )


@dataclass(slots=True)
class _Node:
    words: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    methods: dict[str, int] = field(default_factory=dict)


class RouteTable:
    """Routes by method and path; immutable, a new table replaces an old one as a whole.

    `look_up` answers with the index of a route in `routes`: a plan keeps what else there is of each
    in a list beside this one.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._whole: dict[str, dict[str, int]] = {}
        self._root = _Node()
        for index, route in enumerate(self.routes):
            if route.parameters:
                self._grow(route)[route.method] = index
            else:
                self._whole.setdefault(route.path, {})[route.method] = index

    def look_up(self, method: str, path: str) -> int:
        """The index of the route for a normalised path, or -1. HEAD finds the route of GET."""
        methods = self._at(path)
        if methods is None:
            return -1
        index = methods.get(method, -1)
        return methods.get("GET", -1) if index < 0 and method == "HEAD" else index

    def methods(self, path: str) -> list[str]:
        """The methods that a normalised path takes; NotFound if it has no route."""
        methods = self._at(path)
        if methods is None:
            raise NotFound(_NO_PATH)
        return allowed(methods)

    def _at(self, path: str) -> dict[str, int] | None:
        methods = self._whole.get(path)
        return _descend(self._root, path.split("/"), 1) if methods is None else methods

    def _grow(self, route: Route) -> dict[str, int]:
        node = self._root
        for segment in route.segments:
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.words.setdefault(segment, _Node())
        return node.methods


def _descend(node: _Node, segments: list[str], at: int) -> dict[str, int] | None:
    """Match segments from `at` on: a word before a parameter; a parameter is never empty."""
    if at == len(segments):
        return node.methods or None
    segment = segments[at]
    word = node.words.get(segment)
    if word is not None:
        found = _descend(word, segments, at + 1)
        if found is not None:
            return found
    if node.parameter is not None and segment:
        return _descend(node.parameter, segments, at + 1)
    return None
