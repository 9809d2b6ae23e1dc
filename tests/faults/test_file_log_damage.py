"""A thousand random damages to a log at rest (F19): every record whose own bytes are whole is read."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ingest.file_log_reader import FileLogReader
from ingest.segment_files import Disk, segment_base
from ingest.segment_recovery import recover
from ingest.segments import FrameEncoder
from schemas.postback import Postback
from tests.integration.file_log_rig import keep, postbacks, read_all, records, segments, write_log, writing

DAMAGES = 1000
SEED = int(os.environ.get("SENDTRACE_SEED", "20240817"))


class Spoilt(NamedTuple):
    """What a damage did: the file's new content, and the bytes [start, end) that are no longer whole.
    An insertion has start = end: it breaks only the record around it."""

    content: bytes
    start: int
    end: int


def bit_flip(content: bytes, dice: random.Random) -> Spoilt:
    at = dice.randrange(len(content))
    return Spoilt(content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :], at, at + 1)


def zeroing(content: bytes, dice: random.Random) -> Spoilt:
    start = dice.randrange(len(content))
    end = min(len(content), start + dice.choice([1, 40, 512, 4096]))
    while start < end and content[start] == 0:  # a zero that stays zero is no damage
        start += 1
    while start < end and content[end - 1] == 0:
        end -= 1
    return Spoilt(content[:start] + bytes(end - start) + content[end:], start, end)


def truncation(content: bytes, dice: random.Random) -> Spoilt:
    at = dice.randrange(len(content))
    return Spoilt(content[:at], at, len(content))


def insertion(content: bytes, dice: random.Random) -> Spoilt:
    at = dice.randrange(len(content) + 1)
    start = dice.randrange(len(content))
    stranger = dice.choice([dice.randbytes(dice.randrange(1, 900)), content[start : start + 900], bytes(77)])
    return Spoilt(content[:at] + stranger + content[at:], at, at)


def loss(content: bytes, dice: random.Random) -> Spoilt:
    start = dice.randrange(len(content))
    end = min(len(content), start + dice.randrange(1, 900))
    return Spoilt(content[:start] + content[end:], start, end)


KINDS: list[Callable[[bytes, random.Random], Spoilt]] = [bit_flip, zeroing, truncation, insertion, loss]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Postback]]:
    """Four segments of records of every size up to 600 bytes."""
    directory = tmp_path_factory.mktemp("pristine") / "raw"
    dice = random.Random(1)
    endings = [dice.randbytes(dice.choice([0, 9, 90, 600])) for _ in range(60)]
    sent = [one._replace(body=one.body + ending) for one, ending in zip(postbacks(60), endings, strict=True)]
    asyncio.run(write_log(directory, sent, segment_bytes=4000, at_once=5))
    assert len(segments(directory)) >= 4
    return directory, sent


def untouched(path: Path, sent: list[Postback], spoilt: Spoilt, size_bytes: int) -> set[int]:
    """The numbers of the records none of whose bytes a damage in the segment `path`, once of `size_bytes`, touched."""
    base = segment_base(path.name)
    assert base is not None
    kept, position, encoder = set(), 0, FrameEncoder()
    for number, postback in enumerate(sent):
        start, end = position - base, position - base + len(encoder.encode(postback, position))
        elsewhere = start < 0 or start >= size_bytes
        if elsewhere or end <= spoilt.start or start >= spoilt.end:
            kept.add(number)
        position = base + end
    return kept


class Scene(NamedTuple):
    """One damaged log: where it is, what must have survived, and a word for the report."""

    directory: Path
    untouched: set[int]
    last_cut_clean: bool
    story: tuple[object, ...]


def scenes(original: Path, sent: list[Postback], room: Path, count: int) -> Iterator[Scene]:
    print(f"SENDTRACE_SEED={SEED}")  # noqa: T201 (shown when a test fails: the seed repeats the damages)
    dice = random.Random(SEED)
    for number in range(count):
        directory = shutil.copytree(original, room / "raw")
        path = dice.choice(segments(directory))
        damage = dice.choice(KINDS)
        before = path.read_bytes()
        spoilt = damage(before, dice)
        path.write_bytes(spoilt.content)
        whole = untouched(path, sent, spoilt, len(before))
        # Nothing tells a log that ends early, with a whole record, from one that was written so far.
        quiet = path == segments(directory)[-1] and spoilt.end == len(before)
        yield Scene(directory, whole, quiet, (number, damage.__name__, path.name, spoilt.start, spoilt.end))
        shutil.rmtree(directory)


@pytest.mark.timeout(120)  # a thousand logs are copied, damaged, repaired and read
def test_of_a_thousand_random_damages_none_costs_a_record_it_did_not_touch(
    pristine: tuple[Path, list[Postback]], tmp_path: Path
) -> None:
    original, sent = pristine
    for scene in scenes(original, sent, tmp_path, DAMAGES):
        recover(scene.directory, Disk())

        found = [sent.index(postback) for postback in read_all(scene.directory)]
        assert found == sorted(set(found)), scene.story  # in order, none twice, none invented
        assert scene.untouched <= {*found}, scene.story


def test_a_lost_record_is_always_reported(pristine: tuple[Path, list[Postback]], tmp_path: Path) -> None:
    original, sent = pristine
    for scene in scenes(original, sent, tmp_path, DAMAGES // 5):
        recovered = recover(scene.directory, Disk())
        reader = FileLogReader(scene.directory)

        lost = len(sent) - len(list(records(reader)))
        reported = recovered.torn_bytes + recovered.damaged_bytes + reader.damaged_bytes
        assert reported or not lost or scene.last_cut_clean, scene.story
        reader.close()


async def test_a_damaged_log_goes_on_behind_the_damage(pristine: tuple[Path, list[Postback]], tmp_path: Path) -> None:
    original, sent = pristine
    (late,) = postbacks(1, source="late")
    for scene in scenes(original, sent, tmp_path, DAMAGES // 20):
        async with writing(scene.directory) as log:
            await keep(log, [late])
        found = read_all(scene.directory)
        assert found[-1] == late, scene.story
        assert {sent.index(postback) for postback in found[:-1]} >= scene.untouched, scene.story
