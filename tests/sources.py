"""The sources of the product, parsed once, for the tests of how they are laid out."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("gateway", "ai_services", "shared", "looma_cli")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(), str(path)) for path in SOURCES}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that `path` imports, wherever in the file, with the line."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base]).rstrip(".")
            yield base, node.lineno
            # `from ai_services import auth` imports ai_services.auth.
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def owner(module: str) -> str:
    """'ai_services.auth' for anything in that service, else the top package."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "ai_services" and len(parts) > 1 else parts[0]


def offences(found: Iterator[tuple[Path, int, str]]) -> list[str]:
    return [f"{name_of(path)}:{line}: {what}" for path, line, what in found]


def all_imports() -> Iterator[tuple[Path, str, int]]:
    for path in SOURCES:
        for module, line in imports(path):
            yield path, module, line
