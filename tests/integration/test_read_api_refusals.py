"""Questions the read API does not answer, each refused in one shape that says what was expected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sinks.tables.pages import cursor_after
from tests.integration.read_api_rig import Client, asking
from tests.integration.read_rig import Plant, braze


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Plant(tmp_path_factory.mktemp("refusals")) as plant:
        plant.fold(braze("d1", "sent"))
        with asking(plant) as made:
            yield made


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/dead", "/v1/audit"])
@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1.5", "1e2", "1_0", " 1", "٣", "x", "9" * 5000])
def test_a_limit_out_of_range_is_refused(client: Client, path: str, limit: str) -> None:
    refused = client.get(path, {"limit": limit})

    assert refused.error == (400, "bad_parameter")
    assert "1 to 1000" in refused.json["error"]["message"]
    assert len(refused.body) < 300


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("/v1/messages?statsu=sent", "unknown_parameter", "'statsu' (did you mean status?)"),
        ("/v1/messages?dispatchid=1", "unknown_parameter", "did you mean dispatch_id?"),
        ("/v1/dead?zzz=1", "unknown_parameter", "takes reason, source, open, limit, cursor"),
        ("/v1/messages/abc?limit=1", "unknown_parameter", "takes no parameters"),
        ("/v1/audit?cursor=x", "unknown_parameter", "takes limit"),
        ("/v1/messages?status=bouncd", "bad_parameter", "'bouncd' (did you mean bounced?); expected one of requested,"),
        ("/v1/messages?outcome=ok", "bad_parameter", "expected one of pending, delivered, failed"),
        ("/v1/dead?open=yes", "bad_parameter", "expected one of true, false"),
        ("/v1/messages?q=a&q=b", "bad_parameter", "q is given twice"),
        ("/v1/messages?q=", "bad_parameter", "q is empty"),
        ("/v1/messages?q", "bad_parameter", "q is empty"),
        ("/v1/messages?" + "q=1&" * 60, "bad_parameter", "more than 50 parameters"),
        ("/v1/messages?cursor=abc", "bad_cursor", "no cursor of this list (messages)"),
        (f"/v1/messages?cursor={cursor_after('dead', 5)}", "bad_cursor", "no cursor of this list (messages)"),
        ("/v1/messages?%F0%9F%92%A9%00=1", "unknown_parameter", "'\\U0001f4a9\\x00'"),
    ],
)
def test_a_wrong_question_is_refused_with_what_was_expected(client: Client, path: str, code: str, said: str) -> None:
    refused = client.get(path)

    assert refused.error == (400, code)
    assert said in refused.json["error"]["message"]


@pytest.mark.parametrize("name", ["0" * 32, "x", "%00", "%ED%A0%80", "%FF", "..%2f", "a" * 3000])
def test_an_unknown_message_is_404(client: Client, name: str) -> None:
    assert client.get(f"/v1/messages/{name}").error == (404, "not_found")


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/messages/", "/v1/messages/a/b", "//", "/livez/", "/%00"])
def test_an_unknown_path_is_404_and_never_a_redirect(client: Client, path: str) -> None:
    assert client.get(path).error == (404, "not_found")


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/messages"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "PUT"])
def test_another_method_is_405_with_what_is_allowed(client: Client, path: str, method: str) -> None:
    refused = client.get(path, method=method)

    assert refused.error == (405, "method_not_allowed")
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/", "/v1/messages", "/metrics", "/readyz"])
def test_head_is_get_without_the_body(client: Client, path: str) -> None:
    answered = client.get(path, method="HEAD")

    assert (answered.status, answered.body) == (200, b"")
    assert answered.headers["content-type"] == client.get(path).headers["content-type"]
