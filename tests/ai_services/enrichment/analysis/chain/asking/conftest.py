from __future__ import annotations

from tests.shared.llm.conftest import asking, models

__all__ = ["asking", "models"]
