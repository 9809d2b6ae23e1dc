"""Where no message may go, in every form it may be written in."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from sinks.notifications.guard import GuardError, Policy, check_address, check_url

EVERYWHERE = Policy(("https", "http"))

#: Refused as they stand, before any name is looked up.
REFUSED = [
    *(
        "http://127.0.0.1/",
        "http://127.0.0.1:8081/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0/",
        "http://0.0.0.0/",
    ),
    *("http://2130706433/", "http://017700000001/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/"),
    *("http://0x7F.1/", "http://127.0.0.1./", "http://00000177.0.0.1/", "http://127.000.000.001/"),
    *(
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://0xA9FEA9FE/",
        "http://0251.254.169.254/",
    ),
    *("http://100.100.100.200/", "http://192.0.0.192/", "http://168.63.129.16/", "http://100.64.0.1/"),
    *("http://10.0.0.1/", "http://10.1/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.1.1/"),
    *("http://192.168.257/", "http://198.18.0.1/", "http://192.0.2.1/", "http://198.51.100.7/", "http://203.0.113.7/"),
    *("http://224.0.0.1/", "http://239.255.255.250:1900/", "http://240.0.0.1/", "http://255.255.255.255/"),
    *(
        "http://192.88.99.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::ffff:127.0.0.1]/",
    ),
    *("http://[::ffff:7f00:1]/", "http://[::ffff:a9fe:a9fe]/", "http://[::127.0.0.1]/", "http://[::8.8.8.8]/"),
    *("http://[64:ff9b::7f00:1]/", "http://[64:ff9b::a00:1]/", "http://[64:ff9b:1::a00:1]/", "http://[2002:7f00:1::]/"),
    *("http://[2001:0:1::1]/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/"),
    *(
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://[2001:db8::1]/",
    ),
    *("http://[3fff::1]/", "http://[2001:2::1]/", "http://[2a00:1450::5efe:a00:1]/", "http://[5f00::1]/"),
    *("http://[fe80::5efe:808:808]/", "http://[100::1]/"),
    *("http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://127.0.0.1/", "http://%31%32%37.0.0.1/"),
    *("http://example.com@127.0.0.1/", "http://user:word@example.com/", "http://127.0.0.1\\@example.com/"),
    *(
        "http://example.com;@127.0.0.1/",
        "http://127.0.0.1 .example.com/",
        "http://example.com\r\nHost:x/",
        "http:///x",
    ),
    *(
        "http://256.1.1.1/",
        "http://0x100000000/",
        "http://1.2.3.4.5/",
        "http://example.com:0/",
        "http://example.com:99999/",
    ),
    *(
        "http://[::1",
        "http://[v1.x]/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "ftp://example.com/",
        "//example.com/",
    ),
    *("example.com", "", "http://", "http://" + "a" * 3000 + "/"),
]

ALLOWED = {
    "https://example.com/a?b=c#d": ("example.com", 443),
    "https://EXAMPLE.com.:8443/": ("example.com", 8443),
    "https://bücher.example/": ("xn--bcher-kva.example", 443),
    "https://8.8.8.8/": ("8.8.8.8", 443),
    "https://[2a00:1450:4001::200e]/": ("2a00:1450:4001::200e", 443),
    "http://1.1.1.1/": ("1.1.1.1", 80),
    "https://[64:ff9b::808:808]/": ("64:ff9b::808:808", 443),
    "https://hooks.example.com/services/T0/B0/x@y": ("hooks.example.com", 443),
}


@pytest.mark.parametrize("url", REFUSED)
def test_nothing_goes_inside(url: str) -> None:
    with pytest.raises(GuardError) as caught:
        check_url(url, EVERYWHERE)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ALLOWED)
def test_everything_else_is_where_it_says(url: str) -> None:
    place = check_url(url, EVERYWHERE)

    assert (place.host, place.port) == ALLOWED[url]


def test_there_are_enough_of_them() -> None:
    assert len(set(REFUSED)) >= 80


def test_plain_http_has_to_be_allowed() -> None:
    with pytest.raises(GuardError, match=r"http://, which its schemes \(https\) do not allow"):
        check_url("http://example.com/", Policy())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "::1",
        "fe80::1%2",
        "169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "10.9.9.9",
        "no address",
    ],
)
def test_an_address_is_judged_whatever_name_it_came_from(address: str) -> None:
    with pytest.raises(GuardError):
        check_address(address, EVERYWHERE)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_a_network_that_is_allowed_is_allowed_in_every_form(address: str) -> None:
    check_address(address, Policy(networks=(ip_network("10.1.2.0/24"),)))


def test_and_nothing_beside_it_is() -> None:
    with pytest.raises(GuardError, match=r"private\); allow_networks can allow it"):
        check_address("10.1.3.1", Policy(networks=(ip_network("10.1.2.0/24"),)))
