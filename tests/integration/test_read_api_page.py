"""The page for people and the two documents about the API."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest

from sendtrace.web import admin_app
from sendtrace.web_api import ENDPOINTS
from sendtrace.web_html import text
from tests.integration.read_api_rig import Client, asking, serving, side_of
from tests.integration.read_rig import Plant, Sent, braze, documented
from tests.postgres.incident_rows_rig import incident, put_in_sqlite

ONE = incident("a")

EVIL = "<script>alert(1)</script>\"'&\0\u202e\r\n two"


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


@pytest.fixture
def client(plant: Plant) -> Iterator[Client]:
    with asking(plant) as made:
        yield made


def seen(html: str) -> str:
    """What a person reads."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def test_an_empty_page_says_what_to_do(client: Client) -> None:
    page = client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "No postback has come yet. sendtrace init prints the URLs to post them to." in seen(page.body.decode())


def test_the_page_shows_counts_failures_with_reasons_and_the_audit(plant: Plant, client: Client) -> None:
    plant.fold(braze("d1", "bounced", reason="550 5.1.1 no such user"), braze("d2", "delivered"), Sent(b"no json"))
    plant.keep(braze("d3", "sent"))

    page = seen(client.get("/").body.decode())

    assert "What became of 2 messages" in page
    assert re.search(r"bounced refused by the inbox provider 1 50% 550 5.1.1 no such user", page)
    assert re.search(r"delivered accepted by the inbox provider or operator 1 50%", page)
    assert re.search(r"d1 braze email bounced 550 5.1.1 no such user unknown_recipient", page)
    assert "adds up 4 accepted = 2 applied + 0 repeats + 1 dead + 1 pending" in page
    assert re.search(r"invalid_json 1 The body is not JSON", page)


def test_every_documented_body_leaves_the_page_whole(plant: Plant, client: Client) -> None:
    plant.fold(*documented())

    page = client.get("/")

    assert (page.status, page.body.count(b"<tr>"), page.body.count(b"</tr>")) == (200, *[page.body.count(b"<tr>")] * 2)
    assert page.body.endswith(b"</html>\n")


def test_nothing_from_outside_is_markup(plant: Plant, client: Client) -> None:
    plant.fold(braze(EVIL, "bounced", reason=EVIL))

    page = client.get("/").body.decode()

    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;\ufffd\ufffd two") == 3
    assert "\u202e" not in page
    assert "\0" not in page


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert text("&" * 11, most_chars=10) == f"<bdi>{'&amp;' * 10}…</bdi>"
    assert text("&" * 10, most_chars=10) == f"<bdi>{'&amp;' * 10}</bdi>"


def test_the_page_loads_and_runs_nothing_and_its_style_is_named_by_digest(client: Client) -> None:
    page = client.get("/")
    html = page.body.decode()
    (style,) = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)

    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert re.findall(r"""\b(?:src|style|on\w+)=|https?:|url\(|@import""", html) == []
    assert '<meta http-equiv="refresh" content="5">' in html
    assert "color-scheme: light dark" in style


def test_every_link_of_the_page_leads_somewhere(plant: Plant, client: Client) -> None:
    plant.fold(*documented())
    links = {unescape(link) for link in re.findall(r'href="([^"]+)"', client.get("/").body.decode())}

    assert len(links) > 15
    assert {link: client.get(link).status for link in links} == dict.fromkeys(links, 200)


def test_the_page_says_when_something_is_wrong(plant: Plant) -> None:
    side = side_of(plant, can_keep=lambda: False, processor_alive=lambda: False, processor_restarts=lambda: 3)
    with serving(admin_app(side, token=None, host="127.0.0.1")) as client:
        page = seen(client.get("/").body.decode())

    assert "Postbacks cannot be kept senders are told to come again" in page
    assert "Processor not running 3 restarts" in page


def test_the_list_for_people_names_every_address_and_parameter(client: Client) -> None:
    page = client.get("/docs")
    html = page.body.decode()

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for endpoint in ENDPOINTS:
        assert f"<code>{endpoint.path}</code>" in html
        assert [name for name in endpoint.parameters if f"<code>{name.name}</code>" not in html] == []


def refs(value: object) -> Iterator[str]:
    """Every reference inside a document."""
    if isinstance(value, dict):
        yield from (inner for key, inner in value.items() if key == "$ref")
        for inner in value.values():
            yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


def test_the_openapi_document_is_whole(client: Client) -> None:
    document = client.get("/openapi.json").json

    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {endpoint.path for endpoint in ENDPOINTS}
    assert {ref.rpartition("/")[2] for ref in refs(document)} <= set(document["components"]["schemas"])
    assert {ref.rpartition("/")[0] for ref in refs(document)} == {"#/components/schemas"}
    assert "$defs" not in str(document)
    assert {"Fact", "MessageStatus", "MessageDetail", "Transition", "PostbackView", "Audit"} <= set(
        document["components"]["schemas"]
    )


def test_the_openapi_document_says_what_the_api_takes_and_answers(plant: Plant, client: Client) -> None:
    plant.fold(*documented())
    put_in_sqlite(plant.paths.tables, ONE)
    paths = client.get("/openapi.json").json["paths"]
    message_id = client.get("/v1/messages").json["messages"][0]["message_id"]

    for path, item in paths.items():
        responses = item["get"]["responses"]
        path = path.replace("{message_id}", message_id).replace("{incident_id}", ONE["incident_id"])  # noqa: PLW2901  one of each
        assert client.get(path).status == 200
        assert {"200", "400", "401", "403", "503"} <= set(responses)
        for parameter in item["get"]["parameters"]:
            for value in parameter["schema"].get("enum", []):
                assert client.get(path, {parameter["name"]: value}).status == 200
