"""`earnest doctor`: every finding, produced by what it is about."""

import asyncio
import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from conftest import Server, TestDatabase
from earnest import diagnosis, doctor
from earnest.settings import Settings, read_settings
from earnest.store import binaries, checkup
from test_readiness import held, set_for_all
from test_serve import COMMAND, Serve, clean_environ, data_dir, earnest, processes_of

__all__ = ["data_dir"]

KEY = "uM0Jw2bq9xkTz5Rc8VfYhLd3GnSa7PeW"
FINE = {
    "EARNEST_ENV": "production",
    "EARNEST_SECRET_KEY": KEY,
    "EARNEST_PUBLIC_URL": "https://pay.example.com",
    "EARNEST_CLIENT_URL": "https://example.com",
    "EARNEST_SMTP_URL": "smtp://user:geheimwort@mail.example.com:587",
    "EARNEST_METRICS_TOKEN": "geheimer-zugang-zu-metriken",
}
"""Production with nothing to say about it, but that no other provider than the sandbox exists."""


def examined(directory: Path, dsn: str = "", workers: int = 1, **other: str) -> dict[str, str]:
    """The severities of all findings of production by name, other than `provider`."""
    environ = FINE | {f"EARNEST_{name.upper()}": value for name, value in other.items()}
    if dsn:
        environ["EARNEST_DATABASE_URL"] = dsn
    findings = doctor.examine(read_settings(environ, data_dir=directory), workers, lambda _: None)
    for one in findings:
        assert one.fix, one
        assert one.what.endswith((".", "?")) or one.name in {"database", "migrations"}, one
        assert not re.search("geheim|" + KEY, msgspec.json.encode(one).decode()), one
    found = {one.name: one.severity for one in findings}
    assert found.pop("provider") == "error"
    return dict(found)


# -- settings -------------------------------------------------------------------------------


def settings(**other: str) -> dict[str, str]:
    environ = FINE | {f"EARNEST_{name.upper()}": value for name, value in other.items()}
    return {one.name: one.severity for one in doctor.of_settings(read_settings(environ))}


ON_LOOPBACK = {"public_url": "http://127.0.0.1:8000", "client_url": "http://127.0.0.1:5173"}
OTHER_HOST = {"client_url": "http://localhost:5173"}


@pytest.mark.parametrize(
    ("other", "name", "severity"),
    [
        ({"env": "sandbox", **ON_LOOPBACK}, "sandbox", "note"),
        ({"env": "sandbox", **ON_LOOPBACK, **OTHER_HOST}, "client_url_host", "warning"),
        ({"env": "sandbox"}, "sandbox", "warning"),
        ({"client_url": ""}, "client_url", "warning"),
        ({"client_url": "http://example.com"}, "client_url_http", "warning"),
        ({"secret_key": "abc" * 20}, "secret_key", "error"),
        ({"trusted_proxies": "10.0.0.1,0.0.0.0/0"}, "trusted_proxies", "error"),
        ({"trusted_proxies": "::/0"}, "trusted_proxies", "error"),
        ({"trusted_proxies": "8.0.0.0/8"}, "trusted_proxies", "warning"),
        ({"public_url": "http://pay.example.com"}, "public_url", "error"),
        ({"public_url": "https://localhost"}, "public_url_local", "error"),
        ({}, "provider", "error"),
        ({"smtp_url": ""}, "smtp_url", "error"),
        ({"anonymous_reads": "1"}, "anonymous_reads", "note"),
        ({"metrics_token": ""}, "metrics_token", "note"),
    ],
)
def test_it_finds_fault_with_settings(other: dict[str, str], name: str, severity: str) -> None:
    assert settings(**other)[name] == severity
    allowed = {name, "provider"} if name != "provider" else {"provider"}
    assert set(settings(**other)) <= allowed | ({"sandbox"} if "env" in other else set())


STRIPE = {"provider": "stripe", "stripe_webhook_secret": "whsec_geheim"}


def test_it_wants_real_money_in_production() -> None:
    assert settings(**STRIPE, stripe_secret_key="sk_live_geheim") == {}
    for key in ("sk_test_geheim", "rk_test_geheim"):
        assert settings(**STRIPE, stripe_secret_key=key) == {"stripe_test_key": "warning"}
    gateway = {"stripe_api_base": "https://stripe.example.com", "stripe_secret_key": "sk_live_g"}
    assert settings(**STRIPE, **gateway) == {"stripe_api_base": "warning"}
    for secrets, found in (
        ("whsec_geheim,whsec_geheimer", {"stripe_webhook_secrets": "note"}),
        ("geheim", {"stripe_webhook_secret": "error"}),
    ):
        live = {"provider": "stripe", "stripe_secret_key": "sk_live_geheim"}
        assert settings(**live, stripe_webhook_secret=secrets) == found
    tried = {"env": "sandbox", "stripe_secret_key": "sk_test_geheim", **ON_LOOPBACK}
    assert settings(**STRIPE, **tried) == {"sandbox": "note"}


def test_it_has_nothing_against_ordinary_proxies() -> None:
    assert set(settings(trusted_proxies="10.0.0.0/8,172.16.0.0/12,203.0.113.7")) == {"provider"}


def test_it_tells_of_settings_that_no_command_would_take(tmp_path: Path) -> None:
    answer = earnest("doctor", "--json", "--data", tmp_path, EARNEST_ENV="production")
    assert answer.returncode == 1
    (finding,) = json.loads(answer.stdout)["findings"]
    assert (finding["severity"], finding["name"]) == ("error", "settings")
    assert "EARNEST_SECRET_KEY" in finding["fix"]


# -- the machine ----------------------------------------------------------------------------


def test_it_knows_the_pythons_that_were_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHONS", ((3, 98), (3, 99)))
    assert [one.name for one in doctor.of_machine(Settings())] == ["python"]


def test_it_counts_the_files_that_a_process_may_open(tmp_path: Path) -> None:
    answer = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n 700; exec "$@"', "sh", *COMMAND, "doctor", "--json",
         "--data", tmp_path],
        capture_output=True, text=True, check=False, env=clean_environ(),
    )  # fmt: skip
    findings = {one["name"]: one for one in json.loads(answer.stdout)["findings"]}
    assert findings["open_files"]["severity"] == "warning"
    assert "700" in findings["open_files"]["what"]


@pytest.mark.parametrize("name", ["secret_key", "database_passwords.json"])
def test_it_sees_who_may_read_a_secret(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("geheim")
    for mode, worse in ((0o600, False), (0o400, False), (0o640, True), (0o604, True)):
        (tmp_path / name).chmod(mode)
        found = [one for one in doctor.of_data_directory(tmp_path) if one.name.endswith("_file")]
        assert bool(found) == worse
        assert all(one.name == f"{name.partition('.')[0]}_file" for one in found)
        assert all(one.severity == "error" for one in found)


def test_it_sees_who_may_write_into_the_data_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    found = {one.name: one.severity for one in doctor.of_data_directory(tmp_path)}
    assert found["data_dir"] == "error"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system with 8 MiB and 100 inodes."""
    options = ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=100,mode=700", "tmpfs"]
    if subprocess.run([*options, tmp_path], capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a file system")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_it_sees_that_there_is_no_room(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> dict[str, str]:
        return {one.name: one.severity for one in doctor.of_data_directory(full)}

    assert found() == {"disk": "error", "inodes": "error"}
    monkeypatch.setattr(doctor, "FREE_BYTES_ERROR", 1 << 20)
    monkeypatch.setattr(doctor, "FREE_INODES_ERROR", 10)
    assert found() == {"disk": "warning", "inodes": "warning"}
    monkeypatch.setattr(doctor, "FREE_BYTES_WARNING", 1 << 20)
    monkeypatch.setattr(doctor, "FREE_INODES_WARNING", 10)
    assert found() == {}
    (full / "ballast").write_bytes(b"x" * (7 << 20) + b"x" * (1 << 19))
    assert found() == {"disk": "error"}


# -- the database ---------------------------------------------------------------------------


def test_it_has_nothing_against_a_fresh_installation(
    tmp_path: Path, database: TestDatabase
) -> None:
    assert examined(tmp_path / "data", database.app_dsn) == {}
    assert not (tmp_path / "data").exists(), "it looks and makes nothing"


OWNER = "owner"
SUPERUSER = "superuser"
ROLE_OF_A_TEST = "earnest_test_{}"


@pytest.mark.parametrize(
    ("who", "sql", "expected"),
    [
        (SUPERUSER, "ALTER DATABASE {} SET synchronous_commit = off", {"durability": "error"}),
        (SUPERUSER, "ALTER DATABASE {} SET default_transaction_read_only = on",
         {"read_only": "error"}),
        (SUPERUSER, "ALTER DATABASE {} SET TimeZone = 'Asia/Kolkata'", {"timezone": "note"}),
        (SUPERUSER, "UPDATE pg_database SET datcollversion = '0' WHERE datname = '{}'",
         {"collation": "error"}),
        (SUPERUSER, "ALTER DATABASE {} CONNECTION LIMIT 20", {"max_connections": "error"}),
        (OWNER, "GRANT UPDATE ON transfer TO earnest_app", {"role_rewrites": "error"}),
        (OWNER, "GRANT UPDATE (body) ON event TO earnest_app", {"role_rewrites": "error"}),
        (OWNER, "GRANT DELETE ON event TO PUBLIC", {"role_rewrites": "error"}),
        (OWNER, "GRANT TRUNCATE ON contract_terms TO earnest_app", {"role_rewrites": "error"}),
        (OWNER, "ALTER TABLE transfer DISABLE TRIGGER transfer_append_only",
         {"append_only": "error"}),
        (OWNER, "DROP TRIGGER event_append_only ON event", {"append_only": "error"}),
        (SUPERUSER, "GRANT CREATE ON SCHEMA public TO earnest_app", {"role_creates": "warning"}),
        (SUPERUSER, "ALTER TABLE skill OWNER TO earnest_app", {"role_owner": "error"}),
        (OWNER, "UPDATE business_clock SET advance_seconds = 9", {"business_clock": "error"}),
        (OWNER, "DELETE FROM schema_migration WHERE number > 3", {"migrations": "error"}),
        (OWNER, "INSERT INTO schema_migration (number, name, sha256) VALUES (999, 'x', 'x')",
         {"migrations": "error"}),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_it_finds_what_is_wrong_with_a_database(
    tmp_path: Path, database: TestDatabase, who: str, sql: str, expected: dict[str, str]
) -> None:
    dsn = database.owner_dsn if who == OWNER else database.superuser_dsn
    asyncio.run(execute(dsn, sql.format(database.name)))
    assert examined(tmp_path, database.app_dsn) == expected


async def execute(dsn: str, sql: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute(sql)
    finally:
        await conn.close()


def test_its_fixes_mend_what_it_found(tmp_path: Path, database: TestDatabase) -> None:
    asyncio.run(execute(database.owner_dsn, "GRANT UPDATE, DELETE ON transfer TO earnest_app"))
    asyncio.run(execute(database.owner_dsn, "ALTER TABLE event DISABLE TRIGGER event_append_only"))
    environ = FINE | {"EARNEST_DATABASE_URL": database.app_dsn}
    for one in doctor.examine(read_settings(environ, data_dir=tmp_path), 1, lambda _: None):
        if one.name in {"role_rewrites", "append_only"}:
            asyncio.run(execute(database.owner_dsn, one.fix.partition(" (")[0]))
    assert examined(tmp_path, database.app_dsn) == {}


def test_it_does_not_want_a_superuser(tmp_path: Path, database: TestDatabase) -> None:
    assert examined(tmp_path, database.superuser_dsn) == {"role_superuser": "error"}


def test_it_does_not_want_a_role_that_may_more(
    tmp_path: Path, database: TestDatabase, server: Server
) -> None:
    role = ROLE_OF_A_TEST.format(uuid.uuid4().hex)
    server.execute(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'geheim'")
    try:
        server.execute(f"GRANT earnest_owner TO {role}")
        found = examined(
            tmp_path, re.sub(r"earnest_app:[^@]*@", f"{role}:geheim@", database.app_dsn)
        )
    finally:
        server.execute(f"DROP ROLE {role}")
    assert found == {
        "role_powerful": "warning",
        "role_member": "warning",
        "role_rewrites": "error",
        "role_creates": "warning",
    }


def test_it_counts_connections(tmp_path: Path, database: TestDatabase) -> None:
    assert examined(tmp_path, database.app_dsn, workers=10) == {}
    assert examined(tmp_path, database.app_dsn, workers=12) == {"max_connections": "error"}
    assert examined(tmp_path, database.app_dsn, workers=12, pool_connections_max="5") == {}


def test_it_sees_an_encoding_that_has_not_every_letter(tmp_path: Path, server: Server) -> None:
    name = f"test_{uuid.uuid4().hex}"
    provider = "" if binaries.version().startswith("15") else "LOCALE_PROVIDER libc"
    server.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING SQL_ASCII {provider} LOCALE 'C'"
    )
    try:
        found = examined(tmp_path, server.dsn("app", name))
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert found == {"encoding": "error", "migrations": "error"}


async def test_it_finds_what_nobody_has_seen_to(tmp_path: Path, database: TestDatabase) -> None:
    owner = await asyncpg.connect(database.owner_dsn)
    await owner.execute(
        "INSERT INTO alert (id, public_id, kind, subject, stage, detail, raised_at, closed_at,"
        " closed_by) SELECT n, n::text, 'event_quarantined', 'event:' || n, 0, '', now(),"
        " CASE WHEN n > 2 THEN now() END, CASE WHEN n > 2 THEN 'system:0' END"
        " FROM generate_series(1, 4) AS n"
    )
    await owner.close()
    found = await asyncio.to_thread(examined, tmp_path, database.app_dsn)
    assert found == {"alerts": "warning"}
    (told,) = diagnosis.of_alerts({"event_quarantined": 2})
    assert told.what == "Alerts are open: 2 event_quarantined."


@pytest.mark.parametrize(
    ("ahead_seconds", "severity"), [(0, None), (5, "warning"), (-5, "warning"), (100, "error")]
)
def test_it_compares_the_clocks(
    tmp_path: Path,
    database: TestDatabase,
    monkeypatch: pytest.MonkeyPatch,
    ahead_seconds: int,
    severity: str | None,
) -> None:
    class Shifted:
        time: Callable[[], float] = staticmethod(lambda: time.time() + ahead_seconds)

    monkeypatch.setattr(checkup, "time", Shifted)
    expected = {} if severity is None else {"clock": severity}
    assert examined(tmp_path, database.app_dsn) == expected


def test_it_knows_the_databases_that_were_tested(
    tmp_path: Path, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "POSTGRES", (15, 15))
    wanted = {} if binaries.version().startswith("15") else {"postgresql": "warning"}
    assert examined(tmp_path, database.app_dsn) == wanted
    monkeypatch.setattr(diagnosis, "POSTGRES", (98, 99))
    assert examined(tmp_path, database.app_dsn) == {"postgresql": "error"}


async def test_it_does_not_want_money_to_travel_in_clear(database: TestDatabase) -> None:
    conn = await asyncpg.connect(database.app_dsn)
    try:
        server = (await checkup.check_up(conn)).server
    finally:
        await conn.close()
    assert list(diagnosis.of_server(server)) == []
    (found,) = diagnosis.of_server(msgspec.structs.replace(server, is_in_clear=True))
    assert (found.severity, found.name) == ("warning", "database_tls")


def test_it_says_that_there_is_no_database(tmp_path: Path) -> None:
    nowhere = "postgresql://earnest_app:geheim@127.0.0.1:1/earnest"
    assert examined(tmp_path, nowhere) == {"database": "error"}
    assert examined(tmp_path / "nothing") == {"database": "error"}


# -- a server of its own ----------------------------------------------------------------------


def room(found: dict[str, str]) -> dict[str, str]:
    """What is found but for the room on this machine's disk, which may be little."""
    return {name: found[name] for name in found if name not in {"disk", "inodes"}}


def test_it_works_while_a_server_runs_and_without_one(data_dir: Path) -> None:
    serve = Serve(data_dir)
    serve.ready()
    listed = sorted(data_dir.iterdir())
    for _ in range(2):
        answer = earnest("doctor", "--data", data_dir, EARNEST_CLIENT_URL="http://127.0.0.1:5173")
        assert answer.returncode == 0, answer.stdout
        assert answer.stdout.startswith("note     sandbox: This is a sandbox")
        assert answer.stdout.endswith("0 errors, 0 warnings.\n")
        if serve.process.poll() is None:
            assert sorted(data_dir.iterdir()) == listed
            assert serve.stop() == 0
    assert processes_of(data_dir) == []


def test_it_sees_a_server_that_forgets_and_one_that_only_follows(data_dir: Path) -> None:
    migrated = earnest("db", "migrate", "--data", data_dir)
    assert migrated.returncode == 0, migrated.stderr
    with held(data_dir) as own:
        for name in ("fsync", "full_page_writes"):
            asyncio.run(set_for_all(own, f"ALTER SYSTEM SET {name} = off"))
            assert room(examined(data_dir)) == {"durability": "error"}
            asyncio.run(set_for_all(own, f"ALTER SYSTEM RESET {name}"))
        assert room(examined(data_dir)) == {}
    _pg_checksums(data_dir, "--disable")
    assert room(examined(data_dir)) == {"checksums": "warning"}
    _pg_checksums(data_dir, "--enable")
    (data_dir / "postgres" / "standby.signal").touch()
    assert room(examined(data_dir)) == {"read_only": "error"}


def _pg_checksums(directory: Path, option: str) -> None:
    with held(directory) as own:
        account = own._account
    account.run("pg_checksums", option, "--pgdata", directory / "postgres")


# -- nothing is left out ----------------------------------------------------------------------


def test_every_finding_is_produced_here() -> None:
    package = Path(doctor.__file__).parent
    name = re.compile(r'(?:error|warning|note)\)?\(\s*f?"([a-z_{][^"]*)",')
    known = {
        found
        for module in ("doctor.py", "diagnosis.py", "cli.py")
        for found in name.findall((package / module).read_text())
    } - {"{name.partition('.')[0]}_file"}
    here = Path(__file__).read_text()
    assert len(known) > 30
    missing = {found for found in known if f'"{found}"' not in here}
    assert missing == set()


def test_people_can_read_it(tmp_path: Path) -> None:
    told: Any = doctor.lines([diagnosis.error("a", "Wrong.", "Mend it.")])
    assert told == ["error    a: Wrong.", "         fix: Mend it.", "1 errors, 0 warnings."]
