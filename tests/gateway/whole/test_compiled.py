"""What was compiled is what the sources say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gateway.compiled import check_sources, is_compiled
from shared.errors import ConfigError


def test_the_machine_code_that_these_tests_run_is_that_of_the_sources() -> None:
    if is_compiled():
        check_sources()


def test_a_source_that_has_changed_since_is_named_with_the_way_out(tmp_path: Path) -> None:
    package = tmp_path / "gateway"
    source = package / "resilience" / "breaker.py"
    source.parent.mkdir(parents=True)
    source.write_text("OLD = 1\n")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    (package / "compiled_sources.txt").write_text(f"{digest} gateway/resilience/breaker.py\n")
    check_sources(package)
    source.write_text("NEW = 1\n")
    with pytest.raises(
        ConfigError, match=r"gateway/resilience/breaker.py has changed.*make compile"
    ):
        check_sources(package)


def test_machine_code_of_unknown_sources_is_refused(tmp_path: Path) -> None:
    (tmp_path / "resilience").mkdir()
    (tmp_path / "resilience" / "breaker.cpython-311.so").write_bytes(b"")
    with pytest.raises(ConfigError, match="nothing tells from which sources"):
        check_sources(tmp_path)


def test_sources_that_were_never_compiled_are_fine(tmp_path: Path) -> None:
    check_sources(tmp_path)
