"""The first sendtrace.toml: two sources with fresh tokens, and what a newcomer wants to know beside each key.

Refuses to overwrite a file: the tokens in it may be in use.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sendtrace.settings import SettingsError
from sendtrace.settings_model import GatewaySettings
from sendtrace.tokens import digest_of, make_token, postback_url, sync_directory

#: Source name → provider: one for each provider the product came with.
SOURCES: Final = {"braze": "braze", "nrs360": "nrs360"}

_HEAD: Final = """\
# Settings of sendtrace. What is left out keeps its default; deploy/sendtrace.example.toml shows every key.
# Each key can also come from the environment, which goes before this file: SENDTRACE_GATEWAY__PORT=8080.
# `sendtrace config show` prints what is in force, `sendtrace check` tells what is wrong.

[gateway]
# Where postbacks arrive. Providers must reach it, so put a TLS proxy before it and list that proxy below;
# host = "0.0.0.0" listens on every address of this machine.
host = "127.0.0.1"
port = 8080
# trusted_proxies = ["10.0.0.0/8"]

[admin]
# Health, metrics, read API and page. Any host but loopback needs a token.
host = "127.0.0.1"
port = 8081
# token = "a long random text"

[storage]
# Everything sendtrace keeps, relative to where it is started.
directory = "sendtrace-data"
raw_retention_days = 30
dead_retention_days = 90

# One table for each sender: the path of its postback URL is /in/NAME/TOKEN. Only digests of the tokens are
# here; `sendtrace token rotate NAME` makes another one valid beside the first, `sendtrace token retire NAME`
# ends the older one.
"""

_SOURCE: Final = """
[sources.{name}]
provider = "{provider}"
token_sha256 = ["{digest}"]
"""


def write_initial(path: Path) -> list[tuple[str, str]]:
    """Write the file with mode 0600 and return (source, postback URL) for each source, to be shown this once.

    Raises `SettingsError` when the file exists or cannot be written.
    """
    tokens = {name: make_token() for name in SOURCES}
    tables = [
        _SOURCE.format(name=name, provider=provider, digest=digest_of(tokens[name]))
        for name, provider in SOURCES.items()
    ]
    _create(path, _HEAD + "".join(tables))
    port = int(GatewaySettings().port)
    return [(name, postback_url(name, token, port=port)) for name, token in tokens.items()]


def _create(path: Path, text: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsError(
            f"{path}: exists already and holds tokens that may be in use; move it away, or run"
            " `sendtrace token new SOURCE` for another token"
        ) from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}; expected a writable directory") from None
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.resolve().parent)
