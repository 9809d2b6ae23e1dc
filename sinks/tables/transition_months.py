"""The partitions of `transitions` in Postgres, by name: which are there, which to make, which have had their time.

A month has a partition of its own. One by month keeps a search by message or by number at a dozen index look-ups;
a day each would be hundreds. Tables from before partitions hold all months until one in a single partition.
Pure; months are counted from the year 0, so that the next is one more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_NAME: Final = re.compile(r"transitions_(until_)?(\d{4})_(\d{2})")
_TIME: Final = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])-")


class Partition(NamedTuple):
    """One partition: the months from `first`, or from ever where it is `None`, to before `end`."""

    name: str
    first: int | None
    end: int


def partition_of(name: str) -> Partition | None:
    """What a table of that name holds; `None` where it is none of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    until, year, month = found.groups()
    number = _number(int(year), int(month))
    return Partition(name, None, number) if until else Partition(name, number, number + 1)


def month_of(time: object) -> int | None:
    """The month of a time of `schemas.times`; `None` for what is no time, or in no year that is to be expected.

    A row of such a time finds no partition and is set aside: from 2000 to 2099 there is one for every month.
    """
    found = _TIME.match(time) if isinstance(time, str) else None
    return None if found is None else _number(int(found[1]), int(found[2]))


def start_of(month: int) -> str:
    """`2020-08-01T00:00:00.000Z`."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}-01T00:00:00.000Z"


def missing(months: Iterable[int | None], names: Iterable[str]) -> list[int]:
    """Those of `months` that none of the partitions holds."""
    held = _partitions(names)
    return sorted(
        month
        for month in set(months)
        if month is not None and not any((one.first or 0) <= month < one.end for one in held)
    )


def expired(names: Iterable[str], before: str) -> list[str]:
    """The partitions of which every row was received before a time of `schemas.times`; the oldest first."""
    last = month_of(before)
    old = [one for one in _partitions(names) if last is not None and one.end <= last]
    return [one.name for one in sorted(old, key=lambda one: one.end)]


def _partitions(names: Iterable[str]) -> list[Partition]:
    return [found for name in names if (found := partition_of(name)) is not None]


def _number(year: int, month: int) -> int:
    return year * 12 + month - 1
