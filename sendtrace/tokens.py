"""Tokens of sources: made, and written into sendtrace.toml as digests without touching the rest of the file.

A token is 32 random bytes as URL-safe text; only the SHA-256 of that text is stored, so a token can
be shown once and never again. The file is replaced whole or not at all, and is readable by its
owner only. Refuses to leave a source without a token: that would lock its sender out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import Final, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError

from sendtrace.settings import SettingsError
from sendtrace.settings_faults import unknown_word

TOKEN_BYTES: Final = 32
MOST_TOKENS: Final = 10  # as sendtrace.settings_model reads them
MOST_WHILE_ROTATING: Final = 2
_FILE_MODE: Final = 0o600


def make_token() -> str:
    """43 characters that need no escape in a URL."""
    return token_urlsafe(TOKEN_BYTES)


def digest_of(token: str) -> str:
    """What the settings hold of a token: 64 hex digits, SHA-256 of its text."""
    return sha256(token.encode()).hexdigest()


def postback_url(source: str, token: str, *, host: str = "127.0.0.1", port: int = 8080) -> str:
    """The address a provider is given."""
    authority = f"[{host}]" if ":" in host else host
    return f"http://{authority}:{port}/in/{source}/{token}"


def new_token(config_path: Path, source: str) -> str:
    """Add a token to `source`, which may have none yet, and return it. The others stay valid.

    Raises `SettingsError` when the file or the source is not there, or the source has 10 already.
    """
    return _add(config_path, source, most=MOST_TOKENS)


def rotate(config_path: Path, source: str) -> str:
    """Add the token that is to replace the one in use, and return it. Both are valid until `retire`.

    Raises `SettingsError` like `new_token`, and when a rotation is under way already.
    """
    return _add(config_path, source, most=MOST_WHILE_ROTATING)


def retire(config_path: Path, source: str) -> int:
    """Remove the oldest token of `source` and return how many are left. Raises `SettingsError` if it is the last."""
    document = _read(config_path)
    digests = _digests(config_path, document, source)
    if len(digests) < MOST_WHILE_ROTATING:
        raise SettingsError(
            f"{config_path}: sources.{source}.token_sha256: has {len(digests)} token, expected another one to go"
            f" on with; run `sendtrace token rotate {source}` first"
        )
    del digests[0]
    write_private(config_path, tomlkit.dumps(document))
    return len(digests)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, durably, readable by its owner only. A symbolic link stays one."""
    path = path.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_FILE_MODE)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make a name in a directory as durable as its file."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _add(config_path: Path, source: str, *, most: int) -> str:
    document = _read(config_path)
    digests = _digests(config_path, document, source)
    if len(digests) >= most:
        raise SettingsError(
            f"{config_path}: sources.{source}.token_sha256: has {len(digests)} tokens, expected fewer than {most};"
            f" run `sendtrace token retire {source}` first"
        )
    token = make_token()
    digests.append(digest_of(token))
    write_private(config_path, tomlkit.dumps(document))
    return token


def _read(path: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; run `sendtrace init` to make one") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}; expected a readable file") from None
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}; correct the TOML there") from None


def _digests(path: Path, document: tomlkit.TOMLDocument, source: str) -> tomlkit.items.Array:
    """The list of the source's digests inside `document`, to be changed in place; made when missing."""
    sources = document.get("sources")
    table = sources.get(source) if isinstance(sources, MutableMapping) else None
    if not isinstance(table, MutableMapping):
        known = [str(name) for name in sources] if isinstance(sources, MutableMapping) else []
        hint = unknown_word(source, known) if known else f"add a table [sources.{source}] with its provider"
        raise SettingsError(f"{path}: sources.{source}: there is no such source; {hint}")
    digests = cast(object, table.setdefault("token_sha256", tomlkit.array()))
    if not isinstance(digests, tomlkit.items.Array):
        raise SettingsError(f"{path}: sources.{source}.token_sha256: expected a list; put the value in brackets")
    return digests
