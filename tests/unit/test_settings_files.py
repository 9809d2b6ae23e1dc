"""The files we hand out load, and show every key there is."""

from __future__ import annotations

import re
import stat
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest

from processors.providers import discover
from sendtrace.init_config import write_initial
from sendtrace.settings import SettingsError, load
from sendtrace.settings_model import leaf_keys

EXAMPLE = Path(__file__).parents[2] / "deploy" / "sendtrace.example.toml"
_COMMENTED_OUT = re.compile(r"^# ([a-z_0-9]+ = |\[[a-z_0-9.]+\]$)", re.MULTILINE)


def _uncommented() -> str:
    return _COMMENTED_OUT.sub(r"\1", EXAMPLE.read_text(encoding="utf-8"))


def test_the_example_loads() -> None:
    settings = load(EXAMPLE, providers=discover().keys())

    assert list(settings.sources) == ["braze", "nrs360"]


def test_the_example_states_the_defaults() -> None:
    source = {"sources": {"a": {"provider": "braze", "token_sha256": ["0" * 64]}}}

    given, default = load(EXAMPLE), load(None, overrides=source)

    assert given.model_dump(exclude={"sources"}) == default.model_dump(exclude={"sources"})


def test_what_the_example_comments_out_is_right_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bounce_rules.toml").touch()
    Path("ca.pem").touch()
    Path("all.toml").write_text(_uncommented(), encoding="utf-8")

    assert load(Path("all.toml")).admin.token is not None


@pytest.mark.parametrize("keys", list(leaf_keys()), ids=".".join)
def test_the_example_shows_every_key(keys: tuple[str, ...]) -> None:
    nodes: list[object] = [tomllib.loads(_uncommented())]

    for key in keys:
        tables = [node for node in nodes if isinstance(node, dict)]
        nodes = [value for table in tables for name, value in table.items() if key in {name, "NAME"}]
        assert nodes


def test_init_writes_settings_that_load(tmp_path: Path) -> None:
    path = tmp_path / "sendtrace.toml"

    urls = write_initial(path)

    settings = load(path, providers=discover().keys())
    assert [(name, source.provider) for name, source in settings.sources.items()] == [
        ("braze", "braze"),
        ("nrs360", "nrs360"),
    ]
    for name, url in urls:
        base, _, token = url.rpartition("/")
        assert base == f"http://127.0.0.1:{settings.gateway.port}/in/{name}"
        assert settings.sources[name].token_sha256 == (sha256(token.encode()).hexdigest(),)


def test_init_writes_no_token_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "sendtrace.toml"

    urls = write_initial(path)

    text = path.read_text(encoding="utf-8")
    assert all(url.rpartition("/")[2] not in text for _, url in urls)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sendtrace.toml"
    path.write_text("mine")

    with pytest.raises(SettingsError, match="exists already") as caught:
        write_initial(path)

    assert len(caught.value.faults) == 1
    assert path.read_text() == "mine"


def test_init_tells_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written: No such file or directory"):
        write_initial(tmp_path / "missing" / "sendtrace.toml")


def test_every_init_makes_other_tokens(tmp_path: Path) -> None:
    assert write_initial(tmp_path / "a.toml") != write_initial(tmp_path / "b.toml")
