"""Braze-like postbacks by the thousand, the same for the same seed, and the requests that carry them.

Written here: field names and layout follow the pages' examples (pretty-printed, times to the
second), with fields added that Braze does not document, so that bodies are of realistic size and
unknown fields are met. No ids, times or addresses of anybody's real traffic.
"""

from __future__ import annotations

import random
import time
from typing import Final, NamedTuple

from schemas.times import iso_ms

SMALLEST_BODY_BYTES: Final = 500
LARGEST_BODY_BYTES: Final = 776
POSTBACKS_PER_MESSAGE: Final = 4
REPEATS: Final = 0.05
#: How many messages begin between two postbacks of one; each may come half as much again later, so some overtake.
STEP_MESSAGES: Final = 400
#: One last word in ten comes much later: most of these messages have left the processor's cache.
LATE: Final = 0.1
LATE_MESSAGES: Final = (5_000, 40_000)
#: The pace the times in the bodies tell of. How fast they are sent is the load's business.
MESSAGES_PER_S: Final = 3_750

_CAMPAIGNS: Final = 20
_FILL: Final = "segment b, variant 2, préparé: " + "abcdefghij" * 40
_STEPS: Final = ("received_at", "enqueued_at", "executed_at", "sent_at")
_VARIED: Final = {"sent": 30, "processed": 30, "delivered": 34, "bounced": 4, "aborted": 2}
_REASONS: Final = {
    "bounced": "550 5.1.1 <reader{n}@example.com>: no mailbox of this name here, says mx{m}.example.net; ask its owner",
    "aborted": "User not emailable: reader{n}@example.com is on the list of addresses not to write to since day {m}",
}


class Names(NamedTuple):
    """Who one message is."""

    dispatch_id: str
    external_send_id: str
    campaign_api_id: str


class Maker:
    """Makes bodies; `start_ms` is when the first message was requested."""

    def __init__(self, seed: int | str, start_ms: int) -> None:
        self._random = random.Random(seed)
        self._start_ms = start_ms
        self._campaigns = [_uuid(self._random) for _ in range(_CAMPAIGNS)]

    def names(self) -> Names:
        """A new message."""
        bits = self._random.getrandbits
        return Names(f"{bits(128):032x}", f"{bits(128):032x}", self._campaigns[bits(16) % _CAMPAIGNS])

    def body(self, names: Names, status: str, at_s: float) -> bytes:
        """One postback, `at_s` seconds after the start, of a size between the two bounds."""
        told_at = f"{iso_ms(self._start_ms + int(at_s) * 1000)[:23]}+00:00"
        fields = dict.fromkeys(_STEPS if status == "sent" else (f"{status}_at",), told_at)
        if status in _REASONS:
            number = self._random.getrandbits(20)
            fields["reason"] = _REASONS[status].format(n=number, m=number % 28)
        fields["campaign_api_id"] = names.campaign_api_id
        fields["external_send_id"] = names.external_send_id
        fields["message_variation_id"] = names.campaign_api_id
        lines = ",\n".join(f'        "{name}": "{value}"' for name, value in fields.items())
        head = f'{{\n    "dispatch_id": "{names.dispatch_id}",\n    "status": "{status}",\n    "metadata": {{\n{lines}'
        return self._filled(head)

    def _filled(self, head: str) -> bytes:
        """The body closed, with as much text in a field of its own as its size needs."""
        frame = len(head) + len(',\n        "note": ""\n    }\n}') + 2  # two characters of the fill take two bytes
        least, most = max(0, SMALLEST_BODY_BYTES - frame), LARGEST_BODY_BYTES - frame
        fill = _FILL[: self._random.randint(least, most)]
        return f'{head},\n        "note": "{fill}"\n    }}\n}}'.encode()


def varied(count: int, *, seed: int) -> list[bytes]:
    """Bodies of as many messages, statuses mixed as in ordinary traffic."""
    maker, chance = Maker(seed, _an_hour_ago_ms()), random.Random(f"{seed}-status")
    statuses = chance.choices(list(_VARIED), list(_VARIED.values()), k=count)
    return [maker.body(maker.names(), status, index / MESSAGES_PER_S) for index, status in enumerate(statuses)]


def traffic(count: int, *, seed: int | str) -> list[bytes]:
    """`count` postbacks of messages with four each, in slight disorder, one in twenty sent twice.

    sent, processed, processed once more (the ESP tried again), then delivered, or in one of ten
    messages bounced.
    """
    messages = -(-count // POSTBACKS_PER_MESSAGE)  # enough without a single repeat; what is over is cut off
    maker, chance = Maker(seed, _an_hour_ago_ms()), random.Random(f"{seed}-order")
    arrivals: list[tuple[float, bytes]] = []
    for number in range(messages):
        names = maker.names()
        last = "bounced" if chance.random() < 0.1 else "delivered"
        for step, status in enumerate(("sent", "processed", "processed", last)):
            at = number + STEP_MESSAGES * (step + 1.5 * chance.random())
            if step == POSTBACKS_PER_MESSAGE - 1 and chance.random() < LATE:
                at += chance.uniform(*LATE_MESSAGES)
            body = maker.body(names, status, number / MESSAGES_PER_S + 2 * step)
            arrivals.append((at, body))
            if chance.random() < REPEATS:
                arrivals.append((at + STEP_MESSAGES * 2 * chance.random(), body))
    arrivals.sort(key=_when)
    return [body for _, body in arrivals[:count]]


def requests(bodies: list[bytes], path: str, *, own_heads: bool = False) -> list[bytes]:
    """Complete HTTP requests. `own_heads`: each with an id in its head, as many proxies add one."""
    chance = random.Random(path)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: postbacks.example.com\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"
        "Content-Type: application/json\r\n"
    )
    made: list[bytes] = []
    for body in bodies:
        own = f"X-Request-Id: {_uuid(chance)}\r\n" if own_heads else ""
        made.append(f"{head}{own}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return made


def _when(arrival: tuple[float, bytes]) -> float:
    return arrival[0]


def _an_hour_ago_ms() -> int:
    """Times in the bodies must not lie ahead of the receipt, which would be odd and cost more."""
    return (time.time_ns() // 3_600_000_000_000 - 1) * 3_600_000


def _uuid(chance: random.Random) -> str:
    text = f"{chance.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
