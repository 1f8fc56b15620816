"""What a route file may say, and how it is told what it may not."""

import pytest

from gateway.routing.route import parse_life
from shared.errors import ConfigError


def test_times_are_read_or_refused_by_name() -> None:
    assert [parse_life(text, "x") for text in ("30s", "5m", "1h")] == [30.0, 300.0, 3600.0]
    for wrong in ("0s", "2h", "30", "30 s", "-1s", "1d", 30, None, True):
        with pytest.raises(ConfigError, match=r"^routes.toml: GET /x: cache must be a time"):
            parse_life(wrong, "routes.toml: GET /x")
