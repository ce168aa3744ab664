"""Settings: read once, and every mistake is named."""

import stat
from pathlib import Path

import pytest

from earnest.settings import BadSetting, read_settings, with_secret_key

KEY = "k" * 32


def test_it_has_defaults_for_a_sandbox() -> None:
    settings = read_settings({})
    assert (settings.env, settings.provider, settings.data_dir) == (
        "sandbox",
        "sandbox",
        Path("data"),
    )
    assert settings.anonymous_reads is True
    assert not settings.is_production


def test_it_reads_each_kind_of_value() -> None:
    settings = read_settings(
        {
            "EARNEST_ENV": "production",
            "EARNEST_SECRET_KEY": KEY,
            "EARNEST_DATA_DIR": "/srv/earnest",
            "EARNEST_ACCESS_TOKEN_SECONDS": "60",
            "EARNEST_TRUSTED_PROXIES": "10.0.0.1, 10.1.0.0/16",
            "EARNEST_CLIENT_URL": "",
            "PATH": "/bin",
        }
    )
    assert settings.secret_key == KEY.encode()
    assert settings.data_dir == Path("/srv/earnest")
    assert settings.access_token_seconds == 60
    assert settings.trusted_proxies == ("10.0.0.1", "10.1.0.0/16")
    assert settings.client_url == ""
    assert settings.anonymous_reads is False, "the default in production"


def test_the_command_line_is_above_the_environment() -> None:
    settings = read_settings({"EARNEST_DATA_DIR": "here"}, data_dir=Path("there"))
    assert settings.data_dir == Path("there")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"EARNEST_ENV": "prod"}, "EARNEST_ENV: expected sandbox or production, not 'prod'"),
        ({"EARNEST_DATABSE_URL": "x"}, "EARNEST_DATABSE_URL:.*did you mean EARNEST_DATABASE_URL?"),
        ({"EARNEST_DATABASE_URL": "mysql://a:geheim@b"}, "EARNEST_DATABASE_URL: expected a URL"),
        ({"EARNEST_PUBLIC_URL": "http://a:99999"}, "EARNEST_PUBLIC_URL: expected a URL"),
        ({"EARNEST_PUBLIC_URL": "example.com"}, "EARNEST_PUBLIC_URL: expected a URL"),
        ({"EARNEST_ACCESS_TOKEN_SECONDS": "2h"}, "EARNEST_ACCESS_TOKEN_SECONDS: expected a whole"),
        ({"EARNEST_ACCESS_TOKEN_SECONDS": "0"}, "EARNEST_ACCESS_TOKEN_SECONDS: .*>= 1"),
        ({"EARNEST_ANONYMOUS_READS": "maybe"}, "EARNEST_ANONYMOUS_READS: expected 1 or 0"),
        ({"EARNEST_TRUSTED_PROXIES": "*"}, "EARNEST_TRUSTED_PROXIES: expected addresses"),
        ({"EARNEST_TRUSTED_PROXIES": "10.1.2.3/8"}, "EARNEST_TRUSTED_PROXIES: expected addresses"),
        ({"EARNEST_TRUSTED_PROXIES": "10.1.2.3, proxy"}, "EARNEST_TRUSTED_PROXIES: .*'proxy'"),
        ({"EARNEST_CONNECTIONS_MAX": "1"}, "EARNEST_CONNECTIONS_MAX: .*>= 16"),
        ({"EARNEST_ENV": "production"}, "EARNEST_SECRET_KEY: production needs at least 32 bytes"),
        ({"EARNEST_SECRET_KEY": "geheim"}, "EARNEST_SECRET_KEY: has 6 bytes, needs at least 32"),
        ({"EARNEST_PROVIDER": "stripe"}, "EARNEST_STRIPE_SECRET_KEY: is needed"),
        ({"EARNEST_STRIPE_SECRET_KEY": "pk_test_geheim"}, "EARNEST_STRIPE_SECRET_KEY: expected a"),
        ({"EARNEST_STRIPE_SECRET_KEY": "sk_live_geheim"}, "EARNEST_STRIPE_SECRET_KEY: is a live"),
        ({"EARNEST_STRIPE_SECRET_KEY": "rk_live_geheim"}, "EARNEST_STRIPE_SECRET_KEY: is a live"),
        ({"EARNEST_STRIPE_API_BASE": "ftp://a:geheim@b"}, "EARNEST_STRIPE_API_BASE: expected a"),
        (
            {
                "EARNEST_ENV": "production",
                "EARNEST_SECRET_KEY": KEY,
                "EARNEST_STRIPE_API_BASE": "http://127.0.0.1:12111",
            },
            "EARNEST_STRIPE_API_BASE: needs https",
        ),
        (
            {"EARNEST_PROVIDER": "stripe", "EARNEST_STRIPE_SECRET_KEY": "sk_test_geheim"},
            "EARNEST_STRIPE_WEBHOOK_SECRET: is needed",
        ),
        (
            {
                "EARNEST_ENV": "production",
                "EARNEST_SECRET_KEY": KEY,
                "EARNEST_WEBHOOK_ALLOW_PRIVATE": "1",
            },
            "EARNEST_WEBHOOK_ALLOW_PRIVATE: is for the sandbox",
        ),
        (
            {
                "EARNEST_ENV": "production",
                "EARNEST_SECRET_KEY": KEY,
                "EARNEST_SANDBOX_ONBOARDING": "true",
            },
            "EARNEST_SANDBOX_ONBOARDING: is for the sandbox provider",
        ),
        (
            {
                "EARNEST_PROVIDER": "stripe",
                "EARNEST_STRIPE_SECRET_KEY": "sk_test_geheim",
                "EARNEST_STRIPE_WEBHOOK_SECRET": "whsec_geheim",
                "EARNEST_SANDBOX_ONBOARDING": "true",
            },
            "EARNEST_SANDBOX_ONBOARDING: is for the sandbox provider",
        ),
        (
            {"EARNEST_MIGRATE_DATABASE_URL": "postgresql://o@h/e"},
            "EARNEST_MIGRATE_DATABASE_URL: means nothing without",
        ),
    ],
)
def test_it_names_the_variable_and_what_was_expected(environ: dict[str, str], message: str) -> None:
    with pytest.raises(BadSetting, match=message) as refusal:
        read_settings(environ)
    assert "geheim" not in str(refusal.value), "a refusal is logged: it repeats no secret"


def test_it_takes_stripes_keys_and_several_secrets_of_its_webhook() -> None:
    environ = {
        "EARNEST_ENV": "production",
        "EARNEST_SECRET_KEY": KEY,
        "EARNEST_PROVIDER": "stripe",
        "EARNEST_STRIPE_WEBHOOK_SECRET": "whsec_new, whsec_old",
        "EARNEST_STRIPE_API_BASE": "https://stripe.example.com",
    }
    for key in ("sk_live_1", "rk_live_1", "sk_test_1", "rk_test_1"):
        settings = read_settings(environ | {"EARNEST_STRIPE_SECRET_KEY": key})
        assert settings.stripe_secret_key == key
        assert settings.stripe_webhook_secret == ("whsec_new", "whsec_old")


def test_it_makes_a_secret_key_once_and_keeps_it_to_itself(tmp_path: Path) -> None:
    settings = read_settings({}, data_dir=tmp_path / "data")
    made = with_secret_key(settings)
    assert len(made.secret_key) >= 32
    assert with_secret_key(settings).secret_key == made.secret_key
    path = tmp_path / "data" / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret_key"]


def test_it_prefers_the_secret_key_it_was_given(tmp_path: Path) -> None:
    settings = read_settings({"EARNEST_SECRET_KEY": KEY}, data_dir=tmp_path / "data")
    assert with_secret_key(settings) is settings
    assert not (tmp_path / "data").exists()
