"""The broker in a container, as the Docker engine is asked for it; the engine is a stand-in that notes requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tests.kafka import docker_kafka
from tests.kafka.docker_kafka import IMAGE, DockerKafka, image_is_there
from tests.kafka.kafka_jars import KafkaError


class Engine(BaseHTTPRequestHandler):
    """Speaks as much of the engine's HTTP as is needed here; `images` is what it has, `asked` what it was asked."""

    images: ClassVar[list[str]] = []
    asked: ClassVar[list[tuple[str, bytes]]] = []

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((f"{self.command} {self.path.removeprefix('/v1.48')}", body))
        path = self.path.partition("?")[0]
        if path.endswith("/images/create"):
            self.images.append(IMAGE)
        found = {
            "version": {"ApiVersion": "1.48"},
            "create": {"Id": "c1", "status": "pulled"},
            "images": [{"Id": image} for image in self.images],
        }
        name = "images" if path.endswith("/images/json") else path.rpartition("/")[2]
        content = json.dumps(found.get(name, {"Id": "c1", "RepoTags": [], "State": {"Status": "running"}})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 (the names that the server looks for)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name for it)
        """Say nothing."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Engine]]:
    Engine.images, Engine.asked = [], []
    monkeypatch.delenv("SENDTRACE_KAFKA_IMAGE", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield Engine
        server.shutdown()
        serving.join()


def pulls(engine: type[Engine]) -> list[str]:
    return [line for line, _ in engine.asked if "/images/create" in line]


def test_an_image_that_is_there_is_not_pulled(engine: type[Engine]) -> None:
    engine.images.append(IMAGE)

    assert image_is_there()
    assert pulls(engine) == []


def test_an_image_that_is_missing_is_pulled(engine: type[Engine]) -> None:
    assert image_is_there()
    assert pulls(engine) == ["POST /images/create?tag=4.1.0&fromImage=apache%2Fkafka"]


def test_the_container_is_reached_from_this_machine_alone(
    engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_kafka, "wait_for_brokers", lambda *_, **__: True)
    kafka = DockerKafka()
    kafka.start()
    kafka.stop()

    (created,) = [json.loads(body) for line, body in engine.asked if line.startswith("POST /containers/create")]
    port = kafka.address.removeprefix("127.0.0.1:")
    assert created["HostConfig"]["PortBindings"] == {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}
    assert f"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://{kafka.address}" in created["Env"]
    assert engine.asked[-1][0].startswith("DELETE /containers/c1")


def test_a_container_whose_broker_does_not_answer_is_removed(
    engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_kafka, "wait_for_brokers", lambda *_, **__: False)

    with pytest.raises(KafkaError, match=r"^the broker of apache/kafka:4\.1\.0 did not answer within 45 s$"):
        DockerKafka().start()
    assert engine.asked[-1][0].startswith("DELETE /containers/c1")
