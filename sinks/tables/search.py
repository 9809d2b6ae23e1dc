"""Which messages a search means: the union of arms, each led by columns that have an index. Pure; holds no SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.statuses import OUTCOME, STATUSES, Axis

#: The words a message's status can be; engagement lies beside it (design §5).
MESSAGE_STATUSES: Final = tuple(row.word for row in STATUSES if row.axis is not Axis.ENGAGEMENT)
_IDENTITY: Final = ("message_id", "dispatch_id", "external_send_id")
_OTHERWISE: Final = ("source", "campaign_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked for; `None` asks nothing. `q` is any identifier the provider gave, in full."""

    q: str | None = None
    dispatch_id: str | None = None
    external_send_id: str | None = None
    source: str | None = None
    status: str | None = None
    campaign_id: str | None = None
    outcome: str | None = None


class Arm(NamedTuple):
    """Messages found by the index on `led` and held to `asked` and, if given, to one of `statuses`.

    With `identifier` it is the further names of a message that are looked up, and `led` is empty.
    """

    led: Mapping[str, str]
    asked: Mapping[str, str]
    statuses: tuple[str, ...] | None = None
    identifier: str | None = None


def arms_of(search: Search) -> list[Arm]:
    """None where nothing can be meant; a message may be found by several."""
    asked = {name: value for name in (*_IDENTITY[1:], *_OTHERWISE) if (value := getattr(search, name)) is not None}
    if not all(map(is_text, (*asked.values(), search.q or ""))):
        return []
    statuses = _statuses(search)
    if search.q is not None:
        return [*_named(search.q, asked, statuses), *_of_campaign(search.q, asked, statuses)]
    for name in _IDENTITY[1:]:
        if name in asked:
            return [Arm({name: asked.pop(name)}, asked, statuses)]
    if "campaign_id" in asked:
        return _of_campaign(asked.pop("campaign_id"), asked, statuses)
    if statuses is not None:
        return [Arm({"status": status}, asked) for status in statuses]
    return [Arm(asked, {})]


def arms_of_name(identifier: str) -> list[Arm]:
    """The same for all messages of that name: their own id, one of the provider's, or a contact's."""
    return _named(identifier, {}, None) if is_text(identifier) else []


def is_text(value: str) -> bool:
    """Whether a text can be looked up: what UTF-8 cannot hold was never let in, and a database would raise over it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _statuses(search: Search) -> tuple[str, ...] | None:
    """An outcome is a set of statuses, and those have an index."""
    if search.status is None and search.outcome is None:
        return None
    return tuple(
        word for word in MESSAGE_STATUSES if search.status in {None, word} and search.outcome in {None, OUTCOME[word]}
    )


def _named(name: str, asked: Mapping[str, str], statuses: tuple[str, ...] | None) -> list[Arm]:
    return [*(Arm({column: name}, asked, statuses) for column in _IDENTITY), Arm({}, asked, statuses, name)]


def _of_campaign(campaign_id: str, asked: Mapping[str, str], statuses: Sequence[str] | None) -> list[Arm]:
    words = MESSAGE_STATUSES if statuses is None else statuses
    return [Arm({"campaign_id": campaign_id, "status": word}, asked) for word in words]
