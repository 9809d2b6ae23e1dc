"""Why a body became a dead letter: a closed catalogue, each word with what a person can do about it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class RejectReason(StrEnum):
    """The words of a dead letter's `reason`."""

    EMPTY_BODY = "empty_body"
    INVALID_JSON = "invalid_json"
    DUPLICATE_KEYS = "duplicate_keys"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    INVALID_FORM = "invalid_form"
    TOO_MANY_FIELDS = "too_many_fields"
    WRONG_TYPE = "wrong_type"
    NO_STATUS = "no_status"
    NO_IDENTITY = "no_identity"
    OTHER_FEED = "other_feed"
    BAD_ENCODING = "bad_encoding"
    INFLATED_TOO_LARGE = "inflated_too_large"
    UNKNOWN_PROVIDER = "unknown_provider"
    PROCESSING_ERROR = "processing_error"
    PROCESS_KILLED = "process_killed"


ADVICE: Final[dict[RejectReason, str]] = {
    RejectReason.EMPTY_BODY: "The request had no body; ask the sender for its payload, there is nothing to repair.",
    RejectReason.INVALID_JSON: "The body is not JSON (RFC 8259); look at the bytes and at what the sender changed.",
    RejectReason.DUPLICATE_KEYS: "A name occurs twice with different values; which one holds is the sender's to say.",
    RejectReason.TOO_DEEP: "The JSON is nested deeper than any postback is; look at what sends here.",
    RejectReason.NOT_AN_OBJECT: "One postback is one object; an array or a bare value is not split by guess.",
    RejectReason.INVALID_FORM: "The form could not be read; look at its content type and boundary.",
    RejectReason.TOO_MANY_FIELDS: "The form has more fields than any notification; look at what sends here.",
    RejectReason.WRONG_TYPE: "A field has a type its provider does not document; retry once the reader knows it.",
    RejectReason.NO_STATUS: "The body says no status or event, so it tells nothing about a message.",
    RejectReason.NO_IDENTITY: "The body names no message: no dispatch id, send id, campaign or contact.",
    RejectReason.OTHER_FEED: "Another feed of the provider is posted to this URL; give it a URL of its own.",
    RejectReason.BAD_ENCODING: "The body could not be decompressed as its Content-Encoding says.",
    RejectReason.INFLATED_TOO_LARGE: "The body inflates beyond the limit; no postback is that large.",
    RejectReason.UNKNOWN_PROVIDER: "The source's provider has no file under processors/providers; check the settings.",
    RejectReason.PROCESSING_ERROR: "A fault of ours, not of the sender; report it, then retry after the upgrade.",
    RejectReason.PROCESS_KILLED: "Handling this body ended the process; report it, then retry after the upgrade.",
}
