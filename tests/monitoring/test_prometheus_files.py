"""What is read of an expression."""

from __future__ import annotations

import pytest

from tests.monitoring.prometheus_files import metrics_of


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up", {"up"}),
        ("1 - up == bool 0", {"up"}),
        ('sum by (service) (rate(a_total{job="x",le="b_total"}[5m])) > 1e3', {"a_total"}),
        ("a{x='}'} / on (instance) group_left (role) b offset 5m", {"a", "b"}),
        ("gateway:errors:ratio1h > 14.4 * 0.001 and c", {"gateway:errors:ratio1h", "c"}),
        ("max_over_time(rate(d[5m])[1h:1m]) unless e or vector(1)", {"d", "e"}),
        ("histogram_quantile(0.95, sum without (x) (f_bucket)) # g", {"f_bucket"}),
    ],
)
def test_an_expression_reads_these_metrics(expression: str, names: set[str]) -> None:
    assert metrics_of(expression) == names
