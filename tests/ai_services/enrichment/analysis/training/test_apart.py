"""Training stands apart: no service needs what it needs."""

from __future__ import annotations

from tests.sources import all_imports, module_of, offences, within

TRAINING = "ai_services.enrichment.analysis.training"


def test_only_training_imports_what_trains() -> None:
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in all_imports()
        if module.split(".")[0] in ("sklearn", "scipy", "matplotlib")
        and not within(module_of(path), TRAINING)
    )


def test_no_service_imports_training() -> None:
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in all_imports()
        if within(module, TRAINING)
        and not within(module_of(path), TRAINING)
        and not within(module_of(path), "looma_cli")
        and not within(module_of(path), "benchmarks")
    )
