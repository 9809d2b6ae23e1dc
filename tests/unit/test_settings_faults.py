"""Wrong settings: one line each, naming where, the key, what was given, what was expected and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sendtrace.settings import SettingsError, load

DIGEST = "ab" * 32
SOURCE = f'[sources.braze]\nprovider = "braze"\ntoken_sha256 = ["{DIGEST}"]\n'


def _faults(tmp_path: Path, text: str | bytes, overrides: dict[str, object] | None = None) -> list[str]:
    """The lines, without the directory they begin with."""
    path = tmp_path / "sendtrace.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SettingsError) as caught:
        load(path, overrides=overrides, providers=["braze", "nrs360"])
    assert str(caught.value).splitlines() == list(caught.value.faults)
    return [line.removeprefix(f"{tmp_path}/") for line in caught.value.faults]


def _fault(tmp_path: Path, text: str | bytes, overrides: dict[str, object] | None = None) -> str:
    (line,) = _faults(tmp_path, text, overrides)
    return line


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ("[gateway]\nprot = 1\n", "gateway.prot: there is no such setting; did you mean port?"),
        ("[gatway]\nport = 1\n", "gatway: there is no such setting; did you mean gateway?"),
        ("[gateway.limits]\nbody_byts = 1\n", "gateway.limits.body_byts: there is no such setting; did you mean"),
        ("[admin]\nzzz = 1\n", "admin.zzz: there is no such setting; there are host, port, token"),
        ("[gateway]\nport = 65536\n", "gateway.port: got 65536, expected a port from 1 to 65535"),
        ("[gateway]\nport = -1\n", "gateway.port: got -1, expected a port"),
        ("[gateway]\nport = 80.5\n", "gateway.port: got 80.5, expected a port"),
        ("[gateway]\nport = true\n", "gateway.port: got true, expected a port"),
        ('[gateway]\nport = "http"\n', 'gateway.port: got "http", expected a port'),
        ("[gateway]\nport = []\n", "gateway.port: got a list, expected a port"),
        ('[gateway]\nhost = ""\n', 'gateway.host: got "", expected an address or name to listen on'),
        ('[gateway]\ntrusted_proxies = ["10.0.0.1/8"]\n', 'gateway.trusted_proxies[0]: got "10.0.0.1/8" ('),
        ("[gateway.limits]\nbody_bytes = 0\n", "gateway.limits.body_bytes is 0, expected a number above 0; correct it"),
        ("[gateway.limits]\nlinger_s = inf\n", "gateway.limits.linger_s: got Infinity, expected a number above 0"),
        ("[gateway.limits]\nlinger_s = nan\n", "gateway.limits.linger_s: got NaN, expected a number above 0"),
        ("[gateway.limits]\npartial_bytes = 9\n", "gateway.limits.partial_bytes is less than limits.body_bytes"),
        ("[gateway.limits]\nbody_bytes = 16777216\n", "gateway.limits.body_bytes is 16777216, expected at most"),
        ("[storage]\nraw_retention_days = 0\n", "storage.raw_retention_days: got 0, expected a whole number of days"),
        ("[storage]\nraw_segment_bytes = 1\n", "storage.raw_segment_bytes: got 1, expected a number of bytes from"),
        ('[classifier]\nrules = "no.toml"\n', 'classifier.rules: got "no.toml" (there is no such file), expected'),
        ('[admin]\nhost = "0.0.0.0"\n', "admin: listens on 0.0.0.0, which others can reach, without a token; set"),
        ('[admin]\nhost = "example.org"\n', "admin: listens on example.org, which others can reach, without a token"),
    ],
)
def test_a_wrong_key_or_value_is_one_line(tmp_path: Path, added: str, told: str) -> None:
    assert _fault(tmp_path, SOURCE + added).startswith(f"sendtrace.toml: {told}")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (SOURCE.replace('"braze"', '"brase"'), "braze.provider: there is no provider 'brase'; did you mean braze?"),
        (SOURCE.replace('"braze"', '"zzz"'), "braze.provider: there is no provider 'zzz'; there are braze, nrs360"),
        (f'[sources.a]\ntoken_sha256 = ["{DIGEST}"]\n', "a.provider: is missing, expected the name of a provider"),
        ('[sources.a]\nprovider = "braze"\n', "a.token_sha256: is missing, expected a list of 1 to 10"),
        (SOURCE.replace(f'["{DIGEST}"]', "[]"), "braze.token_sha256: got something else"),
        (SOURCE + 'basic_user = "a:b"\nbasic_password = "p"\n', 'braze.basic_user: got "a:b", expected a user name'),
        (SOURCE + 'basic_user = "u"\n', "braze: has one of basic_user and basic_password, expected both or neither"),
        (SOURCE.replace("sources.braze", "sources.Braze"), "Braze: not such a name, expected at least one table"),
        (SOURCE.replace("sources.braze", 'sources."a b"'), '"a b": not such a name'),
        (SOURCE.replace("sources.braze", "sources." + "a" * 64), "a" * 64 + ": not such a name"),
        (SOURCE + SOURCE.replace("sources.braze", "sources.b"), "b.token_sha256 shares a token with sources.braze"),
    ],
)
def test_a_wrong_source_is_one_line(tmp_path: Path, source: str, told: str) -> None:
    assert _fault(tmp_path, source).startswith(f"sendtrace.toml: sources.{told}")


def test_a_name_of_63_characters_and_ten_tokens_are_taken(tmp_path: Path) -> None:
    tokens = ", ".join(f'"{number:064x}"' for number in range(10))
    (tmp_path / "s.toml").write_text(f'[sources.{"a" * 63}]\nprovider = "braze"\ntoken_sha256 = [{tokens}]\n')

    assert len(load(tmp_path / "s.toml").sources["a" * 63].token_sha256) == 10


def test_an_eleventh_token_is_refused(tmp_path: Path) -> None:
    tokens = ", ".join(f'"{number:064x}"' for number in range(11))

    line = _fault(tmp_path, f'[sources.a]\nprovider = "braze"\ntoken_sha256 = [{tokens}]\n')

    assert "sources.a.token_sha256: got something else" in line


def test_no_source_at_all_is_told(tmp_path: Path) -> None:
    assert _fault(tmp_path, "").startswith("sendtrace.toml: sources: is missing, expected at least one table")


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    lines = _faults(tmp_path, SOURCE + "[gateway]\nport = -1\nhots = 1\n[admin]\nport = -1\n")

    assert [line.split(": ")[1] for line in lines] == ["gateway.port", "gateway.hots", "admin.port"]


@pytest.mark.parametrize(
    "wrong",
    [
        f'token_sha256 = ["{DIGEST}"]\nbasic_user = "u"\nbasic_pasword = "hunter2"',
        f'token_sha256 = ["{DIGEST}"]\nbasic_user = "u"\nbasic_password = ["hunter2"]',
        'token_sha256 = ["hunter2"]',
        'token_sha256 = "hunter2"',
        f'token_sha256 = ["{DIGEST}"]\nhmac_secrets = ["hunter2"]',
        f'token_sha256 = ["{DIGEST}"]\nhmac_secrets = ["whsec_hunter2"]',
        f'token_sha256 = ["{DIGEST}"]\n[sources.b]\nbasic_password = "hunter2"',
        f'token_sha256 = ["{DIGEST}"]\n[admin]\ntoken = ["hunter2"]',
        f'token_sha256 = ["{DIGEST}"]\n[sources]\nb = "hunter2"',
    ],
)
def test_no_secret_is_quoted(tmp_path: Path, wrong: str) -> None:
    lines = _faults(tmp_path, f'[sources.a]\nprovider = "braze"\n{wrong}\n')

    assert lines
    assert "hunter2" not in "".join(lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gateway]\nport = \n", "line 2, column 8: Invalid value; correct the TOML there"),
        ("[gateway\n", "line 1, column 9: "),
        ('[gateway]\nhost = "', "line 2, column 9: "),
        (b"[gateway]\nhost = '\xff'\n", "line 2: not UTF-8, expected TOML in UTF-8"),
        ("port = 1" + "0" * 5000, "line 1, column 5009: "),
    ],
)
def test_broken_toml_is_told_with_its_place(tmp_path: Path, text: str | bytes, told: str) -> None:
    assert _fault(tmp_path, text).startswith(f"sendtrace.toml: {told}")


def test_a_missing_file_points_to_init(tmp_path: Path) -> None:
    path = tmp_path / "sendtrace.toml"

    with pytest.raises(SettingsError) as caught:
        load(path)

    assert str(caught.value) == f"{path}: no such file; run `sendtrace init` to make one"


def test_a_directory_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory; expected a readable file"):
        load(tmp_path)


def test_a_huge_file_is_no_settings_file(tmp_path: Path) -> None:
    assert "larger than 1048576 bytes" in _fault(tmp_path, "#" * (1024 * 1024 + 1))


def test_a_fault_on_the_command_line_is_placed_there(tmp_path: Path) -> None:
    assert _fault(tmp_path, SOURCE, {"gateway": {"port": -1}}).startswith("command line: gateway.port: got -1")


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SENDTRACE_GATEWAY__PORT", "x", 'gateway.port: got "x", expected a port'),
        ("SENDTRACE_GATEWAY__PROT", "1", "gateway.prot: there is no such setting; did you mean port?"),
        ("SENDTRACE_GATEWAY__LIMITS__BODY_BYTES", "0", "gateway.limits.body_bytes is 0"),
        ("SENDTRACE_GATEWAY__TRUSTED_PROXIES", "x", 'gateway.trusted_proxies[0]: got "x" ('),
        ("SENDTRACE_GATEWAY__TRUSTED_PROXIES", "[", 'gateway.trusted_proxies: got "[" ('),
        ("SENDTRACE_ADMIN__HOST", "::", "admin: listens on ::, which others can reach, without a token"),
        ("SENDTRACE_GATWAY__PORT", "1", "there is no table gatway; did you mean gateway?"),
        ("SENDTRACE_GATEWAY_PORT", "1", "is not read, expected two underscores"),
        ("SENDTRACE_ADMIN_TOKEN", "hunter2", "is not read, expected two underscores"),
    ],
)
def test_a_fault_in_the_environment_names_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)

    line = _fault(tmp_path, SOURCE)

    where = "SENDTRACE_ADMIN" if told.startswith("admin: ") else variable  # a whole table is at fault there
    assert line.startswith(f"{where}: {told}")
    assert "hunter2" not in line


def test_a_role_that_takes_no_postbacks_needs_no_source(tmp_path: Path) -> None:
    path = tmp_path / "sendtrace.toml"
    path.write_text('[kafka]\nbootstrap_servers = ["a:1"]\n', encoding="utf-8")

    assert load(path, takes_postbacks=False).sources == {}
    with pytest.raises(SettingsError, match="sources: is missing"):
        load(path)
