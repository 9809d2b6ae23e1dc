"""Each kind of target against a stand-in that holds what comes to its documented shape, and targets that misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from schemas.incidents import Incident, IncidentChange
from schemas.times import epoch_ms, iso_ms
from sendtrace.clock import SystemClock
from sinks.notifications.guard import Policy
from sinks.notifications.guarded_http import MOST_ANSWER_BYTES, Answer, Request, Transport
from sinks.notifications.planning import plan
from sinks.notifications.records import Digest, Message, Notice, People, Word
from sinks.notifications.targets.alertmanager import FIRES_FOR_MS, Alertmanager
from sinks.notifications.targets.apprise_service import AppriseTarget
from sinks.notifications.targets.pagerduty import PagerDuty
from sinks.notifications.targets.webhook import SHAPE, Webhook
from sinks.notifications.throttle import REFRESH_MS
from sinks.notifications.words import Links
from tests.integration.notify_tables_rig import Answering, StandIn, answering, certificate, standing_in
from tests.unit.notify_rig import LINKS_URL, NOW_MS, change, incident, pending

LINKS = Links(LINKS_URL)
HERE = Policy(("http", "https"), (ip_network("127.0.0.1/32"),))
SECRETS = ["whsec_" + "A" * 43 + "=", "whsec_" + "B" * 43 + "="]
KEY = "0123456789abcdef0123456789abcdef"


def message(
    *changes: IncidentChange,
    firing: Sequence[Incident] = (),
    digest: Digest | None = None,
    more: dict[Word, int] | None = None,
) -> Message:
    made = plan(SHAPE, pending(*changes), told={"i1": False}, people=People({}, ()), now_ms=NOW_MS, slots=5)
    assert made.notice is not None
    notice: Notice = {**made.notice, "firing": list(firing), "digest": digest, "more": more or {}}
    return Message("msg_1", "ops", notice, NOW_MS, 0, NOW_MS)


OPENED = message(change("reopened"))
OVER = message(change("resolved", resolved_at=iso_ms(NOW_MS)))


def transport(*, timeout_s: float = 5.0, policy: Policy = HERE, ca_file: Path | None = None) -> Transport:
    return Transport(policy, timeout_s=timeout_s, ca_file=None if ca_file is None else str(ca_file))


def webhook(
    url: str, *, secrets: list[str] = SECRETS, sent_by: Transport | None = None, token: str | None = None
) -> Webhook:
    return Webhook(url=url, secrets=secrets, bearer_token=token, transport=sent_by or transport(), links=LINKS)


def pager(url: str, sent_by: Transport | None = None) -> PagerDuty:
    return PagerDuty(name="ops", url=url, routing_key=KEY, transport=sent_by or transport(), links=LINKS)


async def test_a_webhook_is_signed_with_every_secret_and_its_id_is_the_messages() -> None:
    async with standing_in() as stand_in:
        outcome = await webhook(stand_in.url).send(OPENED, SystemClock().now_ms())

    (asked,) = stand_in.asked
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert (outcome.state, outcome.answer) == ("delivered", "200 taken")
    assert headers["webhook-id"] == "msg_1"
    for secret in SECRETS:
        data = Verifier(secret).verify(asked.body, headers)["data"]
        assert data["changes"][0]["incident_url"] == "https://sendtrace.example.com/incidents/i1"
    with pytest.raises(WebhookVerificationError):
        Verifier("whsec_" + "C" * 43 + "=").verify(asked.body, headers)
    assert b"jane" not in asked.body


async def test_alertmanager_gets_alerts_of_its_form() -> None:
    fires = message(change("reopened"), firing=[incident("i2")])
    async with standing_in() as stand_in:
        am = Alertmanager(url=stand_in.url + "/am/", bearer_token="t", transport=transport(), links=LINKS)
        for each in (fires, OVER):
            await am.send(each, NOW_MS + 10_000)

    begun, ended = stand_in.asked
    assert (begun.path, begun.headers["Authorization"]) == ("/am/api/v2/alerts", "Bearer t")
    alerts: Any = begun.json
    assert [alert["labels"]["incident_id"] for alert in alerts] == ["i1", "i2"]
    assert alerts[0]["labels"].keys() <= {
        *("alertname", "severity", "source", "provider", "campaign", "class", "domain", "incident_id")
    }
    assert all(epoch_ms(alert["endsAt"]) == NOW_MS + 10_000 + FIRES_FOR_MS for alert in alerts)
    assert alerts[0]["generatorURL"] == "https://sendtrace.example.com/incidents/i1"
    over: Any = ended.json
    assert over[0]["labels"] == alerts[0]["labels"]
    assert all(alert["startsAt"] < alert["endsAt"] <= iso_ms(NOW_MS + 10_000) for alert in over)
    assert {alert["labels"]["severity"] for alert in over} == {"info", "warning", "error"}


def test_alertmanager_hears_of_it_again_long_before_it_would_forget() -> None:
    assert FIRES_FOR_MS >= 4 * REFRESH_MS


async def test_pagerduty_gets_events_of_its_form_under_one_key() -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/v2/enqueue"] = answering(202, text='{"status": "success"}')
        outcomes = [await pager(stand_in.url + "/v2/enqueue").send(each, NOW_MS) for each in (OPENED, OVER)]

    begun: Any = stand_in.asked[0].json
    ended: Any = stand_in.asked[1].json
    assert [outcome.state for outcome in outcomes] == ["delivered"] * 2
    assert (begun["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert begun["dedup_key"] == ended["dedup_key"] == "i1"
    assert begun["routing_key"] == ended["routing_key"] == KEY
    assert begun["payload"]["severity"] == "error"
    assert begun["payload"].keys() >= {"summary", "source", "timestamp", "class", "custom_details"}
    assert [link["href"].rpartition("/")[2] for link in begun["links"]] == ["i1", "m1"]


async def test_pagerduty_gets_one_alert_for_all_that_were_only_counted() -> None:
    many = message(
        change("opened", "i2"), change("opened", "i3", severity="critical"), digest="trigger", more={"opened": 7}
    )
    async with standing_in() as stand_in:
        for each in (many, message(change("resolved"), digest="resolve")):
            await pager(stand_in.url).send(each, NOW_MS)

    begun: Any = stand_in.asked[0].json
    ended: Any = stand_in.asked[1].json
    assert begun["dedup_key"] == ended["dedup_key"] == "sendtrace-ops-more"
    assert begun["payload"]["summary"].startswith("9 more incidents")
    assert begun["payload"]["severity"] == "critical"
    assert ended["event_action"] == "resolve"


async def test_apprise_sends_title_and_text() -> None:
    async with standing_in() as stand_in:
        url = stand_in.url.replace("http://", "json://") + "/hook"
        outcome = await AppriseTarget(url=url, policy=HERE, timeout_s=10, links=LINKS).send(OPENED, NOW_MS)

    got: Any = stand_in.asked[0].json
    assert outcome.state == "delivered"
    assert (got["title"], got["type"]) == ("ERROR again: block_list bounces at example.net", "failure")
    assert "What to do: Ask the list to remove you." in got["message"]


@pytest.mark.parametrize(
    ("url", "schemes", "told"),
    [
        ("json://hook.example.com/x", ("https",), "json:// is not encrypted, expected jsons://"),
        ("jsons://localhost/x", ("https",), "is not an address for everybody (this machine)"),
        ("syslog://", ("https", "http"), "syslog:// tells nobody but this machine"),
        ("nosuch://x", ("https",), "apprise does not know such a url"),
    ],
)
async def test_apprise_is_guarded_too(url: str, schemes: tuple[str, ...], told: str) -> None:
    outcome = await AppriseTarget(url=url, policy=Policy(schemes), timeout_s=10, links=LINKS).send(OPENED, NOW_MS)

    assert outcome.state == "refused"
    assert told in outcome.answer


async def test_a_redirect_inside_apprise_is_guarded_and_told_without_the_url() -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/geheim"] = answering(307, headers={"Location": "http://169.254.169.254/latest/"})
        url = stand_in.url.replace("http://", "json://") + "/geheim"
        outcome = await AppriseTarget(url=url, policy=HERE, timeout_s=10, links=LINKS).send(OPENED, NOW_MS)

    assert outcome.state == "refused"
    assert "169.254.169.254 is not an address for everybody" in outcome.answer
    assert "geheim" not in outcome.answer


async def test_apprise_that_gets_no_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.notifications.targets.apprise_service._START_S", 0.2)
    target = AppriseTarget(url="jsons://hook.example.com/x", policy=Policy(), timeout_s=0.0, links=LINKS)

    assert (await target.send(OPENED, NOW_MS)).state == "again"


async def _never(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(2 << 30)})
    await response.prepare(request)
    for _ in range(2 << 10):
        await response.write(b"x" * (1 << 20))
    return response


async def _dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.05)


async def _post(stand_in: StandIn, path: str, *, timeout_s: float = 5.0, ca_file: Path | None = None) -> Answer:
    request = Request(stand_in.url + path, b"{}", {}, {"Authorization": "Bearer secret"}, body_is_secret=False)
    return await transport(timeout_s=timeout_s, ca_file=ca_file).post(request)


async def test_who_never_answers_is_left() -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/x"] = _never
        answer = await _post(stand_in, "/x", timeout_s=0.3)

    assert (answer.status, answer.trouble) == (0, "no answer within 0.3 s")


@pytest.mark.parametrize("body", [_endless, _dripping])
async def test_an_answer_without_end_is_cut_off_and_its_status_counts(body: Answering) -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/x"] = body
        answer = await _post(stand_in, "/x")

    assert answer.status == 200
    assert 0 < len(answer.body) <= MOST_ANSWER_BYTES
    assert answer.seconds < 4


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_leads_inside(status: int) -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/x"] = answering(status, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
        answer = await _post(stand_in, "/x")

    assert answer.guarded
    assert answer.trouble.startswith("redirected to where nothing must go: 169.254.169.254 is not")


async def test_a_redirect_is_posted_again_and_the_token_stays_at_home() -> None:
    async with standing_in() as home, standing_in() as away:
        home.answers["/x"] = answering(307, headers={"Location": "/y"})
        home.answers["/y"] = answering(308, headers={"Location": f"{away.url}/z"})
        answer = await _post(home, "/x")

    assert answer.status == 200
    assert [asked.headers.get("Authorization") for asked in (*home.asked, *away.asked)] == ["Bearer secret"] * 2 + [
        None
    ]
    assert [asked.body for asked in away.asked] == [b"{}"]


async def test_a_key_in_the_body_goes_to_no_other_host() -> None:
    async with standing_in() as home, standing_in() as away:
        home.answers["/x"] = answering(307, headers={"Location": f"{away.url}/z"})
        outcome = await pager(f"{home.url}/x").send(OPENED, NOW_MS)

    assert outcome.state == "refused"
    assert "must not get the key" in outcome.answer
    assert away.asked == []


async def test_a_circle_of_redirects_is_left() -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/x"] = answering(307, headers={"Location": "/x"})
        answer = await _post(stand_in, "/x")

    assert (answer.trouble, len(stand_in.asked)) == ("redirected more than 3 times", 4)


@pytest.mark.parametrize(("expired", "told"), [(True, "certificate has expired"), (False, "self-signed certificate")])
async def test_a_certificate_that_does_not_hold_is_told_in_words(tmp_path: Path, *, expired: bool, told: str) -> None:
    trusted, tls = certificate(tmp_path, expired=expired)
    async with standing_in(tls=tls) as stand_in:
        answer = await _post(stand_in, "/x", ca_file=trusted if expired else None)

    assert answer.trouble == f"its certificate does not hold: {told}"
    assert stand_in.asked == []


async def test_a_certificate_of_ones_own_can_be_trusted(tmp_path: Path) -> None:
    trusted, tls = certificate(tmp_path)
    async with standing_in(tls=tls) as stand_in:
        answer = await _post(stand_in, "/x", ca_file=trusted)

    assert answer.status == 200


async def test_a_name_is_judged_by_the_address_it_has_when_it_is_connected_to() -> None:
    async with standing_in() as stand_in:
        port = stand_in.url.rpartition(":")[2]
        request = Request(f"http://localhost:{port}/", b"", {}, {}, body_is_secret=False)
        refused = await transport(policy=Policy(("http",))).post(request)

    assert refused.guarded
    assert stand_in.asked == []


async def test_what_is_no_http_is_told_in_words() -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp ready\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    answer = await transport().post(Request(url, b"", {}, {}, body_is_secret=False))
    server.close()

    assert answer.trouble in {"what it answers is not HTTP", "it closed the connection before it had answered"}


async def test_a_name_that_changes_its_mind_is_judged_again_where_the_socket_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if the resolver had answered with an address for everybody when it was judged."""

    async def lying(_self: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        del family
        made = ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        return [made]

    monkeypatch.setattr("sinks.notifications.guarded_http._Resolver.resolve", lying)
    async with standing_in() as stand_in:
        port = stand_in.url.rpartition(":")[2]
        request = Request(f"http://rebound.example.com:{port}/", b"", {}, {}, body_is_secret=False)
        answer = await transport(policy=Policy(("http",))).post(request)

    assert answer.guarded
    assert answer.trouble.startswith("127.0.0.1 is not an address for everybody")
    assert stand_in.asked == []
