"""Where settings come from and which value stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.limits import Limits
from sendtrace.settings import Settings, load

DIGEST = "ab" * 32
OTHER = "cd" * 32
MINIMAL = f'[sources.braze]\nprovider = "braze"\ntoken_sha256 = ["{DIGEST}"]\n'


def _load(tmp_path: Path, text: str, **overrides: dict[str, object]) -> Settings:
    path = tmp_path / "sendtrace.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, overrides=overrides)


def test_a_source_is_all_a_file_needs(tmp_path: Path) -> None:
    settings = _load(tmp_path, MINIMAL)

    assert settings.gateway.host == settings.admin.host == "127.0.0.1"
    assert (settings.gateway.port, settings.admin.port) == (8080, 8081)
    assert settings.gateway.limits == Limits()
    assert settings.storage.directory == Path("sendtrace-data")
    assert (settings.storage.raw_retention_days, settings.storage.dead_retention_days) == (30, 90)


def test_the_file_goes_before_the_default(tmp_path: Path) -> None:
    settings = _load(tmp_path, MINIMAL + "[gateway]\nport = 1\n[gateway.limits]\nbody_bytes = 2\n")

    assert settings.gateway.port == 1
    assert settings.gateway.limits == Limits(body_bytes=2)


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_GATEWAY__PORT", "2")

    assert _load(tmp_path, MINIMAL + "[gateway]\nport = 1\n").gateway.port == 2


def test_the_command_line_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_GATEWAY__PORT", "2")

    assert _load(tmp_path, MINIMAL, gateway={"port": 3}).gateway.port == 3


def test_layers_add_up_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_GATEWAY__LIMITS__LINGER_S", "0.5")

    settings = _load(tmp_path, MINIMAL + "[gateway]\nlimits.body_bytes = 2\n", gateway={"port": 3})

    assert settings.gateway.limits == Limits(body_bytes=2, linger_s=0.5)
    assert settings.gateway.port == 3


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_SOURCES__BRAZE__PROVIDER", "braze")
    monkeypatch.setenv("SENDTRACE_SOURCES__BRAZE__TOKEN_SHA256", f"{DIGEST}, {OTHER}")

    assert load(None).sources["braze"].token_sha256 == (DIGEST, OTHER)


def test_a_list_in_the_environment_may_be_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_GATEWAY__TRUSTED_PROXIES", '["10.0.0.0/8", "::1"]')

    assert _load(tmp_path, MINIMAL).gateway.trusted_proxies == ("10.0.0.0/8", "::1")


@pytest.mark.parametrize("password", ["12345", "true", "null", '{"a": 1}', "a,b"])
def test_a_password_in_the_environment_stays_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("SENDTRACE_SOURCES__BRAZE__BASIC_USER", "us")
    monkeypatch.setenv("SENDTRACE_SOURCES__BRAZE__BASIC_PASSWORD", password)

    assert _load(tmp_path, MINIMAL).gateway_sources()[0].basic_password == password


def test_an_empty_variable_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_GATEWAY__PORT", "")

    assert _load(tmp_path, MINIMAL).gateway.port == 8080


def test_variables_of_a_kubernetes_service_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_GATEWAY_PORT", "tcp://10.0.0.1:8080")
    monkeypatch.setenv("SENDTRACE_SERVICE_HOST", "10.0.0.1")

    assert _load(tmp_path, MINIMAL).gateway.port == 8080


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = _load(tmp_path, MINIMAL)

    with pytest.raises(ValueError, match="frozen"):
        settings.gateway.port = 1  # type: ignore[misc]  # mypy knows it too


def test_a_byte_order_mark_is_no_syntax_error(tmp_path: Path) -> None:
    assert _load(tmp_path, "\ufeff" + MINIMAL).sources.keys() == {"braze"}


def test_digests_in_capitals_are_the_same_digests(tmp_path: Path) -> None:
    assert _load(tmp_path, MINIMAL.replace(DIGEST, DIGEST.upper())).sources["braze"].token_sha256 == (DIGEST,)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_admin_on_loopback_needs_no_token(tmp_path: Path, host: str) -> None:
    assert _load(tmp_path, MINIMAL, admin={"host": host}).admin.token is None


def test_admin_elsewhere_starts_with_a_token(tmp_path: Path) -> None:
    settings = _load(tmp_path, MINIMAL, admin={"host": "0.0.0.0", "token": "t"})  # noqa: S104 — the case itself

    assert settings.admin.token is not None
    assert settings.admin.token.get_secret_value() == "t"


def test_sources_reach_the_gateway_whole(tmp_path: Path) -> None:
    more = 'basic_user = "u"\nbasic_password = "p"\nhmac_secrets = ["0123456789abcdef"]\nallow_addresses = ["::1"]\n'

    (source,) = _load(tmp_path, MINIMAL + more).gateway_sources()

    assert (source.name, source.provider, source.token_sha256) == ("braze", "braze", (DIGEST,))
    assert (source.basic_user, source.basic_password) == ("u", "p")
    assert (source.hmac_secrets, source.allow_addresses) == (("0123456789abcdef",), ("::1",))


def test_the_dump_and_the_repr_hide_every_secret(tmp_path: Path) -> None:
    secrets = 'basic_user = "u"\nbasic_password = "s3cret-one"\nhmac_secrets = ["s3cret-two-long-enough"]\n'
    settings = _load(tmp_path, MINIMAL + secrets + '[admin]\ntoken = "s3cret-three"\n')

    assert "s3cret" not in str(settings.masked()) + repr(settings) + str(settings.model_dump_json())
    assert settings.masked()["admin"] == {"host": "127.0.0.1", "port": 8081, "token": "***"}


def test_the_dump_shows_what_is_in_force(tmp_path: Path) -> None:
    masked = load(None, overrides={**_source(), "storage": {"directory": tmp_path}}).masked()

    assert masked["storage"] == {
        "directory": str(tmp_path),
        "raw_segment_bytes": 64 * 1024 * 1024,
        "raw_retention_days": 30,
        "dead_retention_days": 90,
    }


def _source() -> dict[str, object]:
    return {"sources": {"braze": {"provider": "braze", "token_sha256": [DIGEST]}}}
