"""Who may see the admin surface: the token where there is one, names of this machine where there is none."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

import pytest

from sendtrace.web_api import ENDPOINTS
from tests.integration.read_api_rig import Answered, Client, asking
from tests.integration.read_rig import Plant

TOKEN = "canary-Tökén-0123456789"  # not ASCII: it is compared as bytes
CLOSED = ["/", "/metrics", "/docs", "/openapi.json", "/nothing", *(endpoint.path for endpoint in ENDPOINTS)]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with Plant(tmp_path_factory.mktemp("guard")) as made:
        yield made


@pytest.fixture(scope="module")
def closed(plant: Plant) -> Iterator[Client]:
    with asking(plant, token=TOKEN, host="0.0.0.0") as made:  # noqa: S104  the setting, not a socket
        yield made


@pytest.fixture(scope="module")
def local(plant: Plant) -> Iterator[Client]:
    with asking(plant, host="box.internal") as made:
        yield made


def authorized(client: Client, path: str, value: str) -> Answered:
    return client.get(path, headers={"Authorization": value.encode().decode("latin-1")})


def _basic(credentials: str) -> str:
    return f"Basic {b64encode(credentials.encode()).decode()}"


@pytest.mark.parametrize("path", CLOSED)
def test_every_address_needs_the_token(closed: Client, path: str) -> None:
    refused = closed.get(path)

    assert refused.error == (401, "unauthorized")
    assert refused.headers["www-authenticate"].startswith("Basic ")  # so that a browser asks
    assert 'Bearer realm="sendtrace"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_need_no_token(closed: Client, path: str) -> None:
    assert closed.get(path).status == 200


@pytest.mark.parametrize("path", ["/livez/", "/livez/../metrics", "//livez", "/livez/x"])
def test_what_only_looks_like_a_probe_needs_the_token(closed: Client, path: str) -> None:
    assert closed.get(path).error == (401, "unauthorized")


@pytest.mark.parametrize("path", ["/", "/metrics", "/docs", "/openapi.json", "/v1/messages", "/v1/audit"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_token_opens_every_address(closed: Client, path: str, scheme: str) -> None:
    assert authorized(closed, path, f"{scheme} {TOKEN}").status == 200


@pytest.mark.parametrize("user", ["", "anybody"])
def test_a_browser_sends_it_as_a_password(closed: Client, user: str) -> None:
    assert authorized(closed, "/", _basic(f"{user}:{TOKEN}")).status == 200


@pytest.mark.parametrize(
    "value",
    [
        *(_basic(TOKEN), _basic(f"{TOKEN}:"), _basic(f"me:{TOKEN}x"), _basic(":"), "Basic %%%", "Basic ", "Basic w=="),
        *("", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}"),
        *(f"Basic {TOKEN}", f"Bearer {TOKEN}, Bearer {TOKEN}", "Bearer None"),
    ],
)
def test_anything_else_does_not(closed: Client, value: str) -> None:
    assert authorized(closed, "/v1/audit", value).error == (401, "unauthorized")


def test_two_tokens_are_none(closed: Client) -> None:
    field = b"Authorization: Bearer %b\r\n" % TOKEN.encode()
    head = b"GET /docs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b\r\n"

    assert closed.raw(head % field).startswith(b"HTTP/1.1 200 ")
    assert closed.raw(head % (field * 2)).startswith(b"HTTP/1.1 401 ")


def test_with_a_token_any_host_will_do(closed: Client) -> None:
    found = closed.get(
        "/docs", headers={"Host": "evil.example", "Authorization": f"Bearer {TOKEN}".encode().decode("latin-1")}
    )

    assert found.status == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "LOCALHOST:8081",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:8081",
            "127.8.9.1",
            "[::1]",
            "[::1]:8081",
        ),
        *("box.internal", "Box.Internal:1"),
    ],
)
def test_without_a_token_names_of_this_machine_are_answered(local: Client, host: str) -> None:
    assert local.get("/v1/audit", headers={"Host": host}).status == 200


@pytest.mark.parametrize("path", ["/", "/livez", "/metrics", "/v1/messages", "/nothing"])
@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example\t"),
        *("10.0.0.1", "0.0.0.0", "2130706433", "[::2]", "", "local\xa0host"),  # noqa: S104  names, not sockets
    ],
)
def test_without_a_token_other_names_are_refused(local: Client, path: str, host: str) -> None:
    assert local.get(path, headers={"Host": host}).error == (403, "foreign_host")


def test_two_hosts_are_refused(local: Client) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    assert local.raw(head).split(b" ", 2)[1] in {b"400", b"403"}


def test_a_client_that_names_no_host_is_no_browser(local: Client) -> None:
    assert local.raw(b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", ["/", "/livez", "/metrics", "/v1/audit", "/nothing", "/v1/messages?x=1"])
def test_every_answer_tells_browsers_to_keep_and_run_nothing(local: Client, path: str) -> None:
    headers = local.get(path).headers

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
