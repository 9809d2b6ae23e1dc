"""How many receiving domains may have groups of their own: a text from outside must not make a million of them.

The large receivers always have. Of others, `MOST_DOMAINS` a rule, source and hour of event time; what is beyond them
counts for one group with the domain `other`, so nothing is lost but the name. Within one hour and beyond that number
it depends on the order of records who has a name.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import orjson

from processors.incidents.collecting import GroupKey
from processors.incidents.news import News
from processors.incidents.receiving_domain import RECEIVERS
from schemas.incidents import GroupState, GroupStore

MOST_DOMAINS: Final = 200
OTHER: Final = "other"
_HOUR_MS: Final = 3_600_000
#: No group's state begins so: how these are known among what is due.
_MARK: Final = b'{"domains":'


def is_domain_list(state: GroupState) -> bool:
    """Whether it is what this module remembers, and no group. When due, it is to be forgotten."""
    return state.state.startswith(_MARK)


def fold_domains(found: dict[GroupKey, News], store: GroupStore) -> list[GroupState]:
    """Move news of domains beyond the bound to `other`; what is to be remembered of it."""
    named = [key for key in found if key[1].domain is not None and key[1].domain not in RECEIVERS]
    if not named:
        return []
    by_list: dict[tuple[str, int], list[GroupKey]] = {}
    for key in sorted(named, key=_order):
        by_list.setdefault((_list_id(key), _hour(found[key])), []).append(key)
    known = store.groups({list_id for list_id, _ in by_list})
    lists = {list_id: orjson.loads(state.state)["domains"] for list_id, state in known.items()}
    for (list_id, hour), keys in by_list.items():
        names = lists.setdefault(list_id, {}).setdefault(str(hour), [])
        seen = set(names)
        for key in keys:
            short = _short(key[1].domain or "")
            if short not in seen and len(seen) >= MOST_DOMAINS:
                _move(found, key)
            elif short not in seen:
                seen.add(short)
                names.append(short)
    return [_state(list_id, hours) for list_id, hours in lists.items()]


def _order(key: GroupKey) -> tuple[str, tuple[str, ...]]:
    return key[0], tuple(label or "" for label in key[1])


def _list_id(key: GroupKey) -> str:
    return blake2b(orjson.dumps(["domains", key[0], key[1].source]), digest_size=16).hexdigest()


def _hour(news: News) -> int:
    return min((*news.times_ms, *news.tallied), default=0) // _HOUR_MS


def _short(domain: str) -> str:
    return blake2b(domain.encode(), digest_size=4).hexdigest()


def _move(found: dict[GroupKey, News], key: GroupKey) -> None:
    news, labels = found.pop(key), key[1]._replace(domain=OTHER)
    into = found.setdefault((key[0], labels), News(labels))
    into.times_ms += news.times_ms
    into.samples += news.samples
    for at_ms, (matched, total) in news.tallied.items():
        into.tally(at_ms, matched, total)


def _state(list_id: str, hours: dict[str, list[str]]) -> GroupState:
    """The two latest hours; due when the last is over."""
    kept = dict(sorted(hours.items(), key=lambda pair: int(pair[0]))[-2:])
    last = max(int(hour) for hour in kept)
    return GroupState(list_id, (last + 2) * _HOUR_MS, _MARK + orjson.dumps(kept) + b"}")
