"""Where webhooks may not lead, however it is written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.monitor.webhooks.delivery.address import check_address, is_public, target_of
from shared.errors import InvalidInput

NOT_PUBLIC = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1",
    "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
)  # fmt: skip
PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "100.63.255.255",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
)

NO_ADDRESS = (
    "", "crm.example.com", "ftp://crm.example.com/", "file:///etc/passwd", "gopher://a.example/",
    "https://", "https:///hook", "https:/crm.example.com", "https:\\\\crm.example.com", "//a.example/",
    "https://user:pass@crm.example.com/", "https://user@crm.example.com/", "https://@a.example/",
    "https://a.example@127.0.0.1/", "https://127.0.0.1\\@a.example/", "https://a.example\\.b.example/",
    "https://a.example#@127.0.0.1/", "https://a.example/#part", "https://a.example/ b",
    "https://a.example/\r\nX-Header: 1", "https://a.example/\x00", "https://a.example\t/", " https://a.example/",
    "https://a.example:0/", "https://a.example:65536/", "https://a.example:/", "https://a.example:4 43/",
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/",
    "https://127.0.1/", "https://1.2.3.256/", "https://1.2.3.4.5/", "https://127.0.0.1./", "https://a.0x1/",
    "https://localhost./", "https://a..example/", "https://.a.example/", "https://-a.example/",
    "https://a-.example/", "https://a_b.example/", "https://[::1", "https://::1/", "https://[::1%25eth0]/",
    "https://[127.0.0.1]:/", "https://[a.example]/", "https://①②⑦.⓪.⓪.①/", "https://１２７.0.0.1/",
    "https://bücher.example/", "https://a。example/", "https://%31%32%37.0.0.1/", "https://a.example%2f@b/",
    "https://" + "a" * 64 + ".example/", "https://" + "a." * 130 + "example/", "https://a.example/" + "x" * 2000,
)  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_address_of_somebodys_own_network_is_public(address: str) -> None:
    assert not is_public(ip_address(address))
    bracketed = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidInput):
        check_address(target_of(f"https://{bracketed}/"), ip_address(address), ())


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("url", NO_ADDRESS)
def test_what_could_be_read_in_two_ways_is_refused_with_a_fix(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        target_of(url)
    (detail,) = refused.value.details
    assert detail.field == "url"
    assert detail.fix


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://crm.example.com/hook?key=1&b=%20", "crm.example.com", 443),
        ("HTTPS://CRM.Example.com", "crm.example.com", 443),
        ("https://crm.example.com:8443?a=@b", "crm.example.com", 8443),
        ("http://a/", "a", 80),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
        ("https://[2606:4700:4700::1111]:443/", "2606:4700:4700::1111", 443),
        ("https://8.8.8.8/", "8.8.8.8", 443),
    ],
)
def test_a_usual_url_is_read_as_it_is_written(url: str, host: str, port: int) -> None:
    target = target_of(url)
    assert (target.url, target.host, target.port) == (url, host, port)


@given(st.text(max_size=60))
def test_no_text_of_another_host_comes_through(text: str) -> None:
    """What is read has the characters of a name and nothing else, whatever was around it."""
    try:
        target = target_of(f"https://{text}")
    except InvalidInput:
        return
    assert target.host.isascii()
    assert set(target.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-:")
    assert text.lower().startswith((target.host, f"[{target.host}]"))


@given(st.integers(0, 2**32 - 1))
def test_a_mapped_address_is_public_where_the_address_in_it_is(number: int) -> None:
    inner = IPv4Address(number)
    assert is_public(IPv6Address(f"::ffff:{inner}")) == is_public(inner)
    assert not is_public(inner) or inner.is_global


@given(st.integers(0, 2**128 - 1))
def test_nothing_outside_of_the_unicast_internet_is_public(number: int) -> None:
    address = IPv6Address(number)
    if address not in ip_network("2000::/3") and address.ipv4_mapped is None:
        assert not is_public(address)


@pytest.mark.parametrize(
    "url", ["https://a.example:22/", "https://a.example:6379/", "http://a.example/"]
)
def test_the_public_internet_is_reached_by_https_on_its_ports_only(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_address(target_of(url), ip_address("8.8.8.8"), ())
    check_address(target_of("https://a.example/"), ip_address("8.8.8.8"), ())


def test_a_named_network_is_reached_on_any_port_and_others_beside_it_are_not() -> None:
    private = (ip_network("10.20.0.0/24"),)
    check_address(target_of("http://crm:8080/"), ip_address("10.20.0.9"), private)
    check_address(target_of("http://crm:8080/"), ip_address("::ffff:10.20.0.9"), private)
    with pytest.raises(InvalidInput):
        check_address(target_of("http://crm:8080/"), ip_address("10.20.1.9"), private)
    with pytest.raises(InvalidInput):
        check_address(target_of("https://crm/"), ip_address("169.254.169.254"), private)
