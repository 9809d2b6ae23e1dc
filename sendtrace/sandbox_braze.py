"""A stand-in Braze: what it posts about one transactional email, in the shape of its page's examples.

Pure: chance comes from the generator it is handed, time from the wall it is handed. Field order,
names and time format are those of seed 000; tests/unit/test_sandbox_shapes.py holds them to it.
"""

from __future__ import annotations

from random import Random
from typing import Final

import orjson

from sendtrace.sandbox_posting import Posting, Wall
from sendtrace.sandbox_texts import ABORTS, BOUNCES, CAMPAIGNS, UNKNOWN_BRAZE

JSON: Final = "application/json"
NAME: Final = "braze"

#: How a message ends, and how often in a thousand.
ENDINGS: Final = {
    "delivered": 770,
    "bounced": 90,
    "aborted": 60,
    "silent": 40,  # a soft bounce is tried for 72 hours: nothing more is heard
    "bounced late": 20,  # after it was delivered
    "unknown word": 15,
    "early delivery": 5,  # delivered_at before sent_at, as in the page's own example
}
_WITHOUT_SEND_ID: Final = 0.05
_WITHOUT_DISPATCH_ID: Final = 0.01
_HALF_AN_HOUR_S: Final = 1_800


class BrazeSender:
    """Makes the stories of one workspace; `first_order` numbers the sender's own references."""

    def __init__(self, random: Random, wall: Wall, *, first_order: int) -> None:
        self._random = random
        self._wall = wall
        self._order = first_order

    def story(self, start_s: float, ending: str | None = None) -> list[Posting]:
        """Everything Braze posts about one message requested at `start_s`, in the order it happens."""
        random = self._random
        chosen = ending or random.choices(list(ENDINGS), list(ENDINGS.values()))[0]
        names = self._names()
        if chosen == "aborted":
            at_s = start_s + random.uniform(0.3, 2)
            return [self._posting("aborted", at_s, names, reason=random.choice(ABORTS))]
        sent_s = start_s + random.uniform(0.3, 1.5)
        processed_s = sent_s + random.uniform(0.2, 1.5)
        told = [self._sent(start_s, sent_s, names), self._posting("processed", processed_s, names)]
        return [*told, *self._end(chosen, processed_s + random.uniform(0.5, 6), names)]

    def _end(self, ending: str, at_s: float, names: dict[str, str]) -> list[Posting]:
        random = self._random
        if ending == "bounced":
            return [self._posting("bounced", at_s, names, reason=random.choice(BOUNCES))]
        if ending == "bounced late":
            late_s = at_s + random.uniform(2, 10)
            bounce = self._posting("bounced", late_s, names, reason=random.choice(BOUNCES))
            return [self._posting("delivered", at_s, names), bounce]
        if ending == "unknown word":
            return [self._posting(random.choice(UNKNOWN_BRAZE), at_s, names)]
        if ending == "early delivery":
            return [self._posting("delivered", at_s, names, happened_s=at_s - _HALF_AN_HOUR_S)]
        return [] if ending == "silent" else [self._posting("delivered", at_s, names)]

    def _names(self) -> dict[str, str]:
        """The ids of a new message; `dispatch_id` is there unless Braze left it out."""
        random = self._random
        self._order += 1
        names = {"campaign_api_id": random.choice(CAMPAIGNS).api_id, "external_send_id": f"order-{self._order}"}
        if random.random() < _WITHOUT_SEND_ID:
            del names["external_send_id"]
        elif random.random() < _WITHOUT_DISPATCH_ID:
            return names
        return {"dispatch_id": f"{random.getrandbits(128):032x}", **names}

    def _sent(self, start_s: float, sent_s: float, names: dict[str, str]) -> Posting:
        requested = self._wall.braze(start_s)
        steps = {"received_at": requested, "enqueued_at": requested, "executed_at": requested}
        return self._put("sent", sent_s, names, {**steps, "sent_at": self._wall.braze(sent_s)})

    def _posting(
        self, status: str, at_s: float, names: dict[str, str], *, reason: str | None = None, happened_s: float = -1
    ) -> Posting:
        told = {f"{status}_at": self._wall.braze(happened_s if happened_s != -1 else at_s)}
        if reason is None:
            return self._put(status, at_s, names, told)
        # The page's own examples have the reason before the time in "aborted" and after it in "bounced".
        return self._put(
            status, at_s, names, {"reason": reason, **told} if status == "aborted" else {**told, "reason": reason}
        )

    def _put(self, status: str, at_s: float, names: dict[str, str], told: dict[str, str]) -> Posting:
        ids = dict(names)
        dispatch_id = ids.pop("dispatch_id", None)
        body: dict[str, object] = {} if dispatch_id is None else {"dispatch_id": dispatch_id}
        body |= {"status": status, "metadata": {**told, **ids}}
        heard_s = at_s + self._random.uniform(0.05, 0.9)
        return Posting(heard_s, NAME, JSON, orjson.dumps(body))


def broken(random: Random, start_s: float) -> Posting:
    """A body that arrives on the postback's URL and is no postback."""
    body = random.choice(
        (
            b"",
            b'{"dispatch_id": "acf471119f7449d579e8089032003ded", "status": "sent", "metad',
            "{ “dispatch_id”: “acf471119f7449d579e8089032003ded”, “status”: “sent”".encode(),
            b'[{"dispatch_id": "acf471119f7449d579e8089032003ded", "status": "sent"}]',
            b'{"events": [{"id": "1", "event_type": "users.messages.email.Delivery", "time": 1598900322}]}',
            b'{"status": "delivered", "metadata": {"delivered_at": "2020-08-31T18:27:32.000+00:00"}}',
        )
    )
    return Posting(start_s, NAME, JSON, body)
