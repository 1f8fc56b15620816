"""What a request is known by."""

import pytest

from gateway.http.headers import Headers
from gateway.http.request import Client, GatewayRequest

TRACE = "0123456789abcdef0123456789abcdef"


def request(**headers: str) -> GatewayRequest:
    return GatewayRequest("GET", b"/x", "1.1", Headers.of(headers.items()), Client())


@pytest.mark.parametrize(
    ("headers", "sent", "found"),
    [
        ({}, "", ""),
        ({"traceparent": f"00-{TRACE}-0123456789abcdef-01"}, "", TRACE),
        ({"traceparent": "nonsense"}, "", ""),
        ({}, f"traceparent: 00-{TRACE}-0123456789abcdef-01\r\n", TRACE),
        ({"traceparent": "nonsense"}, f"traceparent: 00-{TRACE}-0123456789abcdef-01\r\n", TRACE),
    ],
)
def test_its_trace_is_the_one_that_goes_on_or_the_clients(
    headers: dict[str, str], sent: str, found: str
) -> None:
    one = request(**headers)
    one.trace_lines = sent
    assert one.trace_id == found
