"""Whatever is asked, in whatever bytes: an answer or a refusal, never a fault and never silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtrace.web_api import ENDPOINTS
from tests.integration.read_api_rig import Client, asking
from tests.integration.read_rig import Plant, documented

NAMES = sorted({parameter.name for endpoint in ENDPOINTS for parameter in endpoint.parameters})
WORDS = sorted({word for endpoint in ENDPOINTS for parameter in endpoint.parameters for word in parameter.words})
PATHS = st.sampled_from(["/v1/messages", "/v1/dead", "/v1/audit", "/v1/messages/x", "/", "/docs", "/readyz"])

ODD = st.sampled_from([b"\x00", b"\xed\xa0\x80", b"\xff\xfe", b"8842", b"%", b"99999999999999999999", b"' OR 1=1 --"])
VALUES = st.one_of(st.binary(max_size=40), ODD, st.sampled_from(WORDS).map(str.encode))
PAIRS = st.lists(
    st.tuples(st.one_of(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=8)), VALUES), max_size=5
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory: Path = tmp_path_factory.mktemp("fuzz")
    with Plant(directory) as plant:
        plant.fold(*documented())
        with asking(plant) as made:
            yield made


@given(path=PATHS, pairs=PAIRS)
def test_no_question_is_a_fault(client: Client, path: str, pairs: list[tuple[bytes, bytes]]) -> None:
    query = "&".join(f"{quote_from_bytes(name)}={quote_from_bytes(value)}" for name, value in pairs)

    answered = client.get(f"{path}?{query}")

    assert answered.status in {200, 400, 404}
    if answered.status != 200:
        assert answered.error[1] in {"unknown_parameter", "bad_parameter", "bad_cursor", "not_found"}


@given(path=PATHS, mark=st.sampled_from([b"?", b"/", b""]), rest=st.binary(max_size=60))
def test_no_bytes_are_a_fault(client: Client, path: str, mark: bytes, rest: bytes) -> None:
    target = b"%b%b%b" % (path.encode(), mark, rest)
    head = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target

    status = int(client.raw(head).split(b" ", 2)[1])

    assert status < 500, head


@given(name=st.binary(min_size=1, max_size=40))
def test_no_path_is_a_fault(client: Client, name: bytes) -> None:
    answered = client.get(f"/v1/messages/{quote_from_bytes(name, safe='')}")

    assert answered.status == 404
    assert orjson.loads(answered.body)["error"]["code"] == "not_found"


@given(accept=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=60))
def test_no_accept_header_is_a_fault(client: Client, accept: str) -> None:
    assert client.get("/metrics", headers={"Accept": accept}).status == 200
