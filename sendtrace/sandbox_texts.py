"""The words the stand-in providers use: campaigns, reasons, replies. Data only, all made up.

Written so that every kind of failure an operator meets occurs, several lines and odd codes included.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Campaign(NamedTuple):
    """One campaign; Braze knows it by `api_id`, 360NRS by `number` and `name`."""

    api_id: str
    number: int
    name: str


CAMPAIGNS: Final = (
    Campaign("5b6f1c2e-90a4-4c1d-8f37-2a6c0e9d4b11", 1207, "Pedido confirmado"),
    Campaign("c3a2d7f4-1b58-4e0a-9d6c-77e1f0b2a934", 1208, "Pedido enviado"),
    Campaign("0f94e8a1-6d2b-4a7c-b5e3-d81c4f6a2075", 1209, "Nueva contraseña"),
)

BOUNCES: Final = (
    "550 5.1.1 The email account that you tried to reach does not exist",
    "550 5.1.1 <someone@example.org>: Recipient address rejected: User unknown",
    "552 5.2.2 The mailbox has no room for this message",
    "550-5.7.26 This mail was refused because its sender did not authenticate.\n550 5.7.26 Set up SPF or DKIM.",
    "554 5.7.1 Refused: 192.0.2.25 is on a block list",
    "550 #5.1.0 Address rejected",
    "Bounced Address",
    "5.4.1 No such domain here",
    "451 4.4.2 The connection to the receiving server was lost too often",
)

DEFERRALS: Final = (
    "421 4.7.0 Too many messages from your address, slow down",
    "450 4.2.0 Greylisted, please come back in five minutes",
    "452 4.2.2 The mailbox is full for now",
)

ACCEPTED: Final = ("250 2.0.0 OK", "250 2.1.5 Queued as 4Xy7Q2", "250 OK")

ABORTS: Final = (
    "User not emailable",
    "User has unsubscribed",
    "order was cancelled before the mail went out",
    "liquid_abort_message",
)

#: Words no document has: providers add some with little notice.
UNKNOWN_BRAZE: Final = ("delayed", "suppressed")
UNKNOWN_NRS: Final = ("read", "forwarded")
