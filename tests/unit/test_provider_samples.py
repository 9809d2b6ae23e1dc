"""Every provider's sample requests mean what its `.jsonl` says. A new provider needs no new test."""

from __future__ import annotations

import base64
import json
from typing import Final, cast

import pytest

from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.providers import discover, samples
from schemas.event import Event, Rejected
from schemas.postback import KIND_POSTBACK, Postback

#: 2020-09-01T00:00:00Z: every sample was received the night after the documented events.
RECEIVED_MS: Final = 1_598_918_400_000
KEYS: Final = {"name", "source", "content_type", "content_encoding", "body", "body_base64", "event", "rejected"}
SAMPLES: Final = [(name, sample) for name in discover() for sample in samples(name)]
IDS: Final = [f"{name}: {sample['name']}" for name, sample in SAMPLES]

normalize = Normalizer(Classifier.load(None))


def postback_of(provider: str, sample: dict[str, object]) -> Postback:
    """The request a sample stands for."""
    text = sample.get("body")
    body = text.encode() if isinstance(text, str) else base64.b64decode(str(sample["body_base64"]))
    content_type, encoding = str(sample["content_type"]), str(sample.get("content_encoding", ""))
    return Postback("here", provider, KIND_POSTBACK, "receipt", RECEIVED_MS, content_type, encoding, body)


def _told(event: Event) -> dict[str, object]:
    """What an event says, without what it leaves out. The horizon is the provider's, checked apart."""
    said = {name: value for name, value in event._asdict().items() if value is not None and value != ()}
    del said["retry_horizon_ms"]
    return cast(dict[str, object], json.loads(json.dumps(said)))  # tuples are arrays there


@pytest.mark.parametrize(("provider", "sample"), SAMPLES, ids=IDS)
def test_a_sample_means_what_it_says(provider: str, sample: dict[str, object]) -> None:
    found = normalize(postback_of(provider, sample))

    if isinstance(found, Rejected):
        assert sample.get("rejected") == {"reason": found.reason.value}, found.detail
    else:
        assert _told(found) == sample.get("event")
        assert found.retry_horizon_ms == discover()[provider].retry_horizon_ms


@pytest.mark.parametrize(("provider", "sample"), SAMPLES, ids=IDS)
def test_a_sample_line_is_complete_and_has_no_other_keys(provider: str, sample: dict[str, object]) -> None:
    assert sample.keys() <= KEYS
    assert {"name", "source", "content_type"} <= sample.keys()
    assert ("body" in sample) is not ("body_base64" in sample), provider
    assert ("event" in sample) is not ("rejected" in sample), provider


@pytest.mark.parametrize("provider", discover())
def test_sample_names_are_unique(provider: str) -> None:
    names = [sample["name"] for sample in samples(provider)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("provider", discover())
def test_every_documented_word_is_among_the_samples(provider: str) -> None:
    events = [cast(dict[str, object], sample["event"]) for sample in samples(provider) if "event" in sample]

    assert discover()[provider].statuses.keys() <= {event["provider_status"] for event in events}


def test_all_six_360nrs_channels_are_among_the_samples() -> None:
    events = [cast(dict[str, object], sample["event"]) for sample in samples("nrs360") if "event" in sample]

    assert set(discover()["nrs360"].channels) <= {event.get("channel") for event in events}


def test_the_documented_braze_examples_are_among_the_samples_in_both_translations() -> None:
    named = [sample["source"] for sample in samples("braze") if "as documented" in str(sample["name"])]

    assert named == ["seed 000"] * 5 + ["seed 001"] * 5
