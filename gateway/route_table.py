"""Routes compiled for matching: whole paths by dictionary, templates by a trie of segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.route import Route
from shared.errors import MethodNotAllowed, NotFound


@dataclass(slots=True)
class _Node:
    words: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    methods: dict[str, int] = field(default_factory=dict)


class RouteTable:
    """Immutable once built: a new table replaces an old one as a whole.

    `find` answers with the index of a route in `routes`, so that whatever else is kept per route
    (its counters, later its limits) is a list beside this one.
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

    def find(self, method: str, path: str) -> int:
        """The index of the route for a normalised path; NotFound or MethodNotAllowed."""
        methods = self._whole.get(path)
        if methods is None:
            methods = _descend(self._root, path.split("/"), 1)
        if methods is None:
            raise NotFound("There is no such path. GET /openapi.json lists those there are.")
        index = methods.get(method)
        if index is None:
            allowed = sorted(methods)
            raise MethodNotAllowed(
                f"This path doesn't take that method. It takes {', '.join(allowed)}.",
                allowed=allowed,
            )
        return index

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
    """A word before a parameter, at every level; a parameter is never empty."""
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
