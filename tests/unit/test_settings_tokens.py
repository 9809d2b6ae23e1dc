"""Tokens come and go in sendtrace.toml, and nothing else in it changes."""

from __future__ import annotations

import stat
from hashlib import sha256
from pathlib import Path

import pytest

from sendtrace import tokens
from sendtrace.init_config import write_initial
from sendtrace.settings import SettingsError, load


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sendtrace.toml"
    write_initial(path)
    return path


def _digests(config: Path, source: str = "braze") -> tuple[str, ...]:
    return load(config).sources[source].token_sha256


def test_a_token_is_32_bytes_that_need_no_escape() -> None:
    token = tokens.make_token()

    assert len(token) == 43
    assert token.replace("-", "").replace("_", "").isalnum()


def test_a_rotation_keeps_the_old_token_until_it_is_retired(config: Path) -> None:
    (old,) = _digests(config)

    token = tokens.rotate(config, "braze")
    assert _digests(config) == (old, sha256(token.encode()).hexdigest())

    assert tokens.retire(config, "braze") == 1
    assert _digests(config) == (sha256(token.encode()).hexdigest(),)


def test_a_second_rotation_waits_for_the_first(config: Path) -> None:
    tokens.rotate(config, "braze")
    before = config.read_bytes()

    with pytest.raises(SettingsError, match="has 2 tokens, expected fewer than 2; run `sendtrace token retire braze`"):
        tokens.rotate(config, "braze")

    assert config.read_bytes() == before


def test_the_last_token_stays(config: Path) -> None:
    with pytest.raises(SettingsError, match="has 1 token, expected another one"):
        tokens.retire(config, "braze")

    assert len(_digests(config)) == 1


def test_new_tokens_end_at_ten(config: Path) -> None:
    for _ in range(9):
        tokens.new_token(config, "braze")

    with pytest.raises(SettingsError, match="has 10 tokens"):
        tokens.new_token(config, "braze")

    assert len(set(_digests(config))) == 10


def test_a_source_written_by_hand_gets_its_first_token(config: Path) -> None:
    with config.open("a") as file:
        file.write('\n[sources.mine]  # by hand\nprovider = "braze"\n')

    token = tokens.new_token(config, "mine")

    assert _digests(config, "mine") == (tokens.digest_of(token),)


def test_nothing_but_the_digest_changes(config: Path) -> None:
    before, (old,) = config.read_text(encoding="utf-8"), _digests(config, "nrs360")

    tokens.rotate(config, "nrs360")
    tokens.retire(config, "nrs360")

    assert config.read_text(encoding="utf-8") == before.replace(old, _digests(config, "nrs360")[0])


def test_comments_among_the_digests_stay(tmp_path: Path) -> None:
    path = tmp_path / "sendtrace.toml"
    old = "ab" * 32
    path.write_text(f'[sources.a]\nprovider = "braze"\ntoken_sha256 = [\n  "{old}", # of May\n]\n# the end\n')

    token = tokens.rotate(path, "a")

    assert _digests(path, "a") == (old, tokens.digest_of(token))
    assert "# of May\n" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").endswith("# the end\n")


@pytest.mark.parametrize(
    "text",
    ['sources.a.provider = "braze"\n', 'sources = {a = {provider = "braze"}}\n', '[sources]\na.provider = "braze"\n'],
)
def test_a_source_may_be_written_in_any_form(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sendtrace.toml"
    path.write_text(text)

    tokens.new_token(path, "a")
    tokens.rotate(path, "a")
    tokens.retire(path, "a")

    assert len(_digests(path, "a")) == 1


def test_the_file_stays_its_owners_and_a_link_a_link(config: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(config)
    config.chmod(0o644)

    tokens.new_token(link, "braze")

    assert link.is_symlink()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert len(_digests(config)) == 2


def test_a_crash_before_the_rename_leaves_the_old_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = config.read_bytes()

    def _power_cut(_: Path, target: Path) -> None:
        raise OSError(str(target))

    monkeypatch.setattr(Path, "replace", _power_cut)
    with pytest.raises(OSError, match="sendtrace"):
        tokens.new_token(config, "braze")

    assert config.read_bytes() == before
    assert [path.name for path in config.parent.iterdir()] == ["sendtrace.toml"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[sources.braze]\n", "sources.brase: there is no such source; did you mean braze?"),
        ("", r"sources.brase: there is no such source; add a table \[sources.brase\]"),
        ('sources = "x"', "sources.brase: there is no such source"),
        ('[sources.brase]\ntoken_sha256 = "x"\n', "sources.brase.token_sha256: expected a list"),
        ("[sources", "correct the TOML there"),
    ],
)
def test_what_cannot_be_edited_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "sendtrace.toml"
    path.write_text(text)

    with pytest.raises(SettingsError, match=told) as caught:
        tokens.new_token(path, "brase")

    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_points_to_init(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="run `sendtrace init` to make one"):
        tokens.rotate(tmp_path / "none.toml", "braze")


def test_an_ipv6_host_is_bracketed_in_a_url() -> None:
    assert tokens.postback_url("a", "t", host="::1", port=1) == "http://[::1]:1/in/a/t"
