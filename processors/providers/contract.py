"""What a provider file must offer, and the few helpers every one of them needs.

A provider file is data (words, identity, clock, reply) and one pure function `read`. It does no I/O,
keeps no state and reads no clock. It refuses what it does not understand by raising `RefusedError`
or returning a `Rejected`; it never guesses a status or an identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from processors.bodies import Fields, NumberText, kind_of
from schemas.event import Event, Rejected
from schemas.personal import NAMES, PersonalKind
from schemas.postback import Postback
from schemas.rejections import RejectReason
from schemas.statuses import STATUS

#: A state keeps up to a hundred facts, so their texts are bounded; the raw body keeps every byte.
REASON_MAX_CHARS: Final = 4096
WORD_MAX_CHARS: Final = 256

NUMBER_AS_TEXT: Final = "number_as_text"
REASON_CUT: Final = "reason_cut"
STATUS_CUT: Final = "status_cut"


class Format(StrEnum):
    """How a body may be written."""

    JSON = "json"
    FORM = "form"
    MULTIPART = "multipart"


class ClockRule(StrEnum):
    """Whose clock says when something happened."""

    PROVIDER = "provider"  # the event carries its own time
    RECEIPT = "receipt"  # it carries none: the time we received it is the only one


class AuthOption(StrEnum):
    """What this provider can be asked to prove itself with (design §7)."""

    PATH_TOKEN = "path_token"  # noqa: S105 - a word, not a token
    ALLOW_ADDRESSES = "allow_addresses"
    BASIC = "basic"


class Classify(Protocol):
    """`Classifier.classify`, as a provider file sees it."""

    def __call__(self, status: str, provider_status: str, reason: str | None, /) -> str | None:
        """(status word of ours, provider's word, reason) → bounce class, or `None` where none applies."""
        ...


class Read(Protocol):
    """The one function of a provider file. Pure, and it returns for every body a sender can send."""

    def __call__(
        self, postback: Postback, fields: Fields, flags: tuple[str, ...], classify: Classify, /
    ) -> Event | Rejected:
        """One body → one event. `fields` may be changed by nobody; `flags` are those found on the way here.

        Numbers are `int` or `float`; where a text is due, `text` asks for them again as `NumberText`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider, as data.

    `statuses` maps its words, in lower case, to ours (checked here). `identity` names the fields that
    say which message a body is about, best first, `a.b` for `b` inside `a`. `retry_horizon_ms` is how
    long after the first try the provider may still repeat a body that carries neither id nor time, 0
    where its events carry times. `reply_code` is the only answer it takes for success. `documents` are
    the pages all this was read from, and `notes` what they leave open. `personal` names the fields that
    hold personal data, documented or not.
    """

    name: str
    title: str
    channels: tuple[str, ...]
    statuses: Mapping[str, str]
    formats: tuple[Format, ...]
    identity: tuple[str, ...]
    clock: ClockRule
    reply_code: int
    retry_horizon_ms: int
    auth: tuple[AuthOption, ...]
    documents: tuple[str, ...]
    notes: tuple[str, ...]
    read: Read
    personal: Mapping[str, PersonalKind] = field(default_factory=lambda: NAMES)

    def __post_init__(self) -> None:
        """Raises `TypeError`: a wrong word stops the start, not the first postback that says it."""
        for word, status in self.statuses.items():
            if status not in STATUS:
                raise TypeError(f"provider {self.name}: '{word}' maps to '{status}', which is no status word")
            if word != word.strip().lower():
                raise TypeError(f"provider {self.name}: '{word}' must be in lower case without blanks around it")


class RefusedError(Exception):
    """Carries the `Rejected` out of a helper to the caller of `read`."""

    def __init__(self, rejected: Rejected) -> None:
        super().__init__(rejected.detail)
        self.rejected = rejected


class NumberFoundError(Exception):
    """A number stands where a text is due: the body is to be read again with numbers as written."""


def text(value: object, field: str) -> str | None:
    """A text field: `None` for null and `""`, a number as it was written.

    Raises `RefusedError` for anything else, naming `field`, and `NumberFoundError` for a number
    whose writing is not known (1.0 and 1 are both 1 by then).
    """
    if type(value) is str:
        return value or None
    if value is None:
        return None
    if type(value) is NumberText:
        return value.text
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise NumberFoundError
    raise RefusedError(wrong_type(field, "a text", value))


def whole(value: object, field: str) -> str | None:
    """A field documented as an integer, as text: `None` for null, `""` and zero, which mean "none"."""
    found = str(value) if type(value) is int else text(value, field)
    return found if found and found.strip(" +-0.") else None


def section(value: object, field: str) -> Fields:
    """An object inside the body; absent and null are an empty one. Raises `RefusedError`."""
    if value is None:
        return {}
    if type(value) is dict:
        return value
    raise RefusedError(wrong_type(field, "an object", value))


def wrong_type(field: str, expected: str, value: object) -> Rejected:
    """The refusal of a value that is not what `field` is documented to hold."""
    return Rejected(RejectReason.WRONG_TYPE, f"The field {field} must be {expected}, but it is {kind_of(value)}.")


def bounded(word: str, reason: str | None, flags: tuple[str, ...]) -> tuple[str, str | None, tuple[str, ...]]:
    """The texts a fact keeps, cut to `WORD_MAX_CHARS` and `REASON_MAX_CHARS`, with a flag for each cut."""
    if len(word) > WORD_MAX_CHARS:
        word, flags = word[:WORD_MAX_CHARS], (*flags, STATUS_CUT)
    if reason and len(reason) > REASON_MAX_CHARS:
        reason, flags = reason[:REASON_MAX_CHARS], (*flags, REASON_CUT)
    return word, reason, flags
