"""The documents say what there is: settings, errors, routes, decisions, and what they point to."""

import re
from collections.abc import Iterator

from gateway.routing.packaged import packaged_routes
from shared import errors
from shared.config import SETTINGS, env_example
from shared.services import SERVICES
from tests.sources import ROOT, SOURCES, name_of


def test_the_example_environment_is_current() -> None:
    assert (ROOT / "env.example").read_text() == env_example(), (
        "write it anew: .venv/bin/python -m shared.config > env.example"
    )


def test_every_setting_is_explained_to_operators() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text("utf-8")
    ports = {one.port_setting for one in SERVICES}  # explained together, as `NAME_PORT`
    names = {one.name for one in SETTINGS} - ports | {"NAME_PORT"}
    missing = sorted(name for name in names if f"`{name}`" not in manual)
    assert not missing, f"docs/operations.md doesn't explain {', '.join(missing)}"


def error_classes(
    base: type[errors.LoomaError] = errors.LoomaError,
) -> Iterator[type[errors.LoomaError]]:
    yield base
    for child in base.__subclasses__():
        yield from error_classes(child)


def test_error_codes_are_documented_and_never_shared() -> None:
    documented = {
        (int(code), name, int(status))
        for code, name, status in re.findall(
            r"^\| (\d+) \| `(\w+)` \| (\d+) \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE
        )
    }
    # InternalError is LoomaError's own code: what a client sees of a defect.
    defined = {(kind.code, kind.name, kind.status) for kind in error_classes()}
    assert documented == defined
    assert len({code for code, _, _ in defined}) == len(defined)
    assert len({name for _, name, _ in defined}) == len(defined)


OWN_PATHS = ("/api/v1/gateway/", "/api/v1/batch")


def test_every_route_is_documented_with_its_scope() -> None:
    routed = {(route.method, route.path, route.scope) for route in packaged_routes()}
    documented = set(
        re.findall(
            r"^\| ([A-Z]+) \| `(/[^`]+)` \| `([a-z:]+)` \|",
            (ROOT / "docs/api.md").read_text(),
            re.MULTILINE,
        )
    )
    assert routed <= documented
    # The rest is what the gateway answers itself.
    assert all(path.startswith(OWN_PATHS) for _, path, _ in documented - routed)


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted({path.name for path in (ROOT / "docs/decisions").iterdir()} - {"README.md"})
    numbers = [re.fullmatch(r"(\d{4})-[a-z0-9-]+\.md", name) for name in names]
    assert all(numbers), f"name them NNNN-what-was-decided.md: {names}"
    assert [int(match[1]) for match in numbers if match] == list(range(1, len(names) + 1))


def test_every_decision_is_listed_by_its_title() -> None:
    folder = ROOT / "docs/decisions"
    listed = re.findall(
        r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \|$", (folder / "README.md").read_text(), re.MULTILINE
    )
    assert listed == [
        (path.name[:4], path.name, path.read_text().partition("\n")[0].removeprefix("# "))
        for path in sorted(folder.glob("0*.md"))
    ]


def test_documents_that_are_pointed_to_exist() -> None:
    texts = [*SOURCES, ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = re.compile(r"\]\((?!https?:|#)([^)#]+)|\b(docs/[\w/.-]+\.md)")

    def missing() -> Iterator[str]:
        for path in texts:
            for relative, absolute in links.findall(path.read_text()):
                target = ROOT / absolute if absolute else path.parent / relative
                if (path.suffix == ".md" or absolute) and not target.exists():
                    yield f"{name_of(path)}: {relative or absolute}"

    assert list(missing()) == []
