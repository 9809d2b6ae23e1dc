"""`sendtrace init` and `sendtrace token`: the settings file and the URLs providers are given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sendtrace import tokens
from sendtrace.commands.common import Config, settings_of
from sendtrace.init_config import write_initial
from sendtrace.settings import DEFAULT_FILE, SettingsError
from sendtrace.settings_model import GatewaySettings
from sendtrace.terminal import complain, say

SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="The source's name, such as braze.")]

token_app = typer.Typer(help="Make, exchange and end the tokens in postback URLs.", no_args_is_help=True)


def init(*, config: Config = None) -> None:
    """Write sendtrace.toml with a Braze and a 360NRS source, and print each one's postback URL.

    Asks nothing and never overwrites. The URLs are shown this once: only digests are kept.

    Example: sendtrace init
    """
    path = config or DEFAULT_FILE
    for source, url in write_initial(path):
        say(f"{source}  {url}")
    say()
    say(f"{path} is written. The URLs hold secret tokens and are shown this once.")
    say("Next: run `sendtrace up`, put a TLS proxy before port 8080, and give each provider its URL with your host:")
    say("  Braze   Settings > Email Preferences > Transactional Event Status Postback")
    say("  360NRS  the notification URL of the account, or notificationUrl of a send")


@token_app.command("new")
def new(source: SourceName, *, config: Config = None) -> None:
    """Make another token valid for SOURCE and print its URL.

    Example: sendtrace token new braze
    """
    _print_url(source, tokens.new_token(config or DEFAULT_FILE, source), config or DEFAULT_FILE)


@token_app.command("rotate")
def rotate(source: SourceName, *, config: Config = None) -> None:
    """Make the token that is to replace the one in use and print its URL; both hold until `token retire`.

    Example: sendtrace token rotate braze
    """
    _print_url(source, tokens.rotate(config or DEFAULT_FILE, source), config or DEFAULT_FILE)


@token_app.command("retire")
def retire(source: SourceName, *, config: Config = None) -> None:
    """End the oldest token of SOURCE. Refuses to end the last one.

    Example: sendtrace token retire braze
    """
    left = tokens.retire(config or DEFAULT_FILE, source)
    say(f"The oldest token of {source} is ended, {left} left. In force once the gateway starts again.")


def _print_url(source: str, token: str, path: Path) -> None:
    say(tokens.postback_url(source, token, port=_port(path)))
    complain("the URL is shown this once; it is in force once the gateway, so `sendtrace up`, starts again")


def _port(path: Path) -> int:
    """The gateway's port, also while other settings are still wrong: the token is made and must be shown."""
    try:
        return settings_of(path).gateway.port
    except SettingsError:
        return GatewaySettings().port
