"""Whose server refused, as far as the text of a refusal says: postbacks have no recipient's address.

Three things are believed: a host or page of a large receiver anywhere in the text, the host that "said" it, and the
recipient's address if there is no other. The sender's own domain, block lists and addresses of networks are
named in refusals too, so where it is not sure there is none. The answer is a domain, never an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

EXAMINED_MAX_CHARS: Final = 1024
_CACHE_ENTRIES: Final = 4096

#: The large receivers, by the domain people know them by, and where their hosts, pages and addresses are.
_KNOWN: Final[dict[str, tuple[str, ...]]] = {
    "gmail.com": ("gmail.com", "googlemail.com", "google.com", "gsmtp"),
    "outlook.com": (
        "outlook.com",
        "hotmail.com",
        "live.com",
        "msn.com",
        "office365.com",
        "office.com",
        "microsoft.com",
    ),
    "yahoo.com": ("yahoo.com", "yahoodns.net", "yahooinc.com", "aol.com", "ymail.com"),
    "icloud.com": ("icloud.com", "apple.com", "me.com", "mac.com"),
    "gmx.net": ("gmx.net", "gmx.com", "gmx.de", "web.de", "kundenserver.de", "ionos.com"),
    "t-online.de": ("t-online.de", "telekom.de"),
    "mail.ru": ("mail.ru", "inbox.ru", "list.ru", "bk.ru"),
    "yandex.ru": ("yandex.ru", "yandex.com", "yandex.net"),
    "orange.fr": ("orange.fr", "wanadoo.fr"),
    "free.fr": ("free.fr",),
    "laposte.net": ("laposte.net",),
    "libero.it": ("libero.it",),
    "comcast.net": ("comcast.net",),
    "qq.com": ("qq.com",),
    "163.com": ("163.com", "126.com", "netease.com"),
    "naver.com": ("naver.com",),
    "daum.net": ("daum.net", "hanmail.net", "kakao.com"),
    "docomo.ne.jp": ("docomo.ne.jp",),
    "ezweb.ne.jp": ("ezweb.ne.jp", "au.com"),
    "softbank.ne.jp": ("softbank.ne.jp", "softbank.jp"),
    "proton.me": ("proton.me", "protonmail.com", "protonmail.ch"),
    "zoho.com": ("zoho.com",),
}
_BY_SUFFIX: Final = {suffix: name for name, suffixes in _KNOWN.items() for suffix in suffixes}
RECEIVERS: Final = frozenset(_KNOWN)

_LABEL: Final = r"[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?"
_HOST: Final = rf"{_LABEL}(?:\.{_LABEL}){{1,8}}"
#: The look ahead costs little and leaves most words out.
_HOSTS: Final = re.compile(
    rf"(?<![\w.\-])(?=[a-z0-9\-]{{1,63}}\.[a-z0-9]|gsmtp)(?:{_HOST}|gsmtp)(?![\w\-])",
)
#: "host mx.example.org[192.0.2.1] said", "mx.example.org (192.0.2.1) rejected", "from remote server mx.example.org:"
_SAID: Final = re.compile(
    rf"(?:\bhost ({_HOST})(?: ?[\[(][0-9a-f.:]{{2,45}}[\])])?,? {{0,2}}"
    r"(?:said|says|replied|refused|rejected|returned)\b"
    rf"|\b(?:remote|receiving|recipient'?s?) (?:mail )?(?:server|host|mta) \[?({_HOST}))"
)
_ADDRESS: Final = re.compile(rf"(?<![\w.+\-])[^\s<>@,;:\"'()\[\]]{{1,64}}@({_HOST})(?![\w\-])")
#: Words before an address or a host that make it the sender's; "sender" behind an address does as well.
_SENDERS: Final = re.compile(
    r"(?:\bfrom|\bsender|return[ -]path|\benvelope|\bhelo|\behlo|\bby sending domain|\bdomain)\W"
)
_LOOK_CHARS: Final = 30
#: Second levels under which names are given out in many countries: example.co.uk, example.com.br.
_SECOND_LEVELS: Final = frozenset(
    {"ac", "co", "com", "edu", "go", "gob", "gov", "gouv", "gv", "ne", "net", "or", "org"}
)
_COUNTRY_CHARS: Final = 2


def receiving_domain(reason: str | None) -> str | None:
    """`550 … support.google.com/mail/…` → `gmail.com`; `None` when not sure. Reads `EXAMINED_MAX_CHARS`."""
    return _found(reason[:EXAMINED_MAX_CHARS]) if reason else None


@lru_cache(_CACHE_ENTRIES)
def _found(reason: str) -> str | None:
    text = " ".join(reason.lower().split())
    said = _one(_registrable(match[1] or match[2]) for match in _SAID.finditer(text))
    if said is not None:
        return said
    hosts = ((_known(match[0]), match.start()) for match in _HOSTS.finditer(text))
    known = _one(name for name, start in hosts if name is not None and not _is_senders(text, start))
    if known is not None:
        return known
    return _one(
        _registrable(match[1])
        for match in _ADDRESS.finditer(text)
        if not (_is_senders(text, match.start()) or text.find("sender", match.end(), match.end() + _LOOK_CHARS) >= 0)
    )


def _one(found: Iterator[str | None]) -> str | None:
    """The only one there is."""
    names = {name for name in found if name is not None}
    return names.pop() if len(names) == 1 else None


def _is_senders(text: str, start: int) -> bool:
    return _SENDERS.search(text, max(0, start - _LOOK_CHARS), start) is not None


def _known(host: str) -> str | None:
    labels = host.split(".")
    return next((name for at in range(len(labels)) if (name := _BY_SUFFIX.get(".".join(labels[at:])))), None)


def _registrable(host: str) -> str | None:
    """The part of a host's name that somebody registered, near enough; a large receiver's own name."""
    known = _known(host)
    labels = host.split(".")
    if known is not None or labels[-1].isdigit():
        return known
    has_second = len(labels) > _COUNTRY_CHARS and len(labels[-1]) == _COUNTRY_CHARS and labels[-2] in _SECOND_LEVELS
    return ".".join(labels[-3:] if has_second else labels[-2:])
