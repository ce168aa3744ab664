"""What `deploy/` installs: the settings exist, the commands parse, nobody runs as root."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from earnest.cli import app
from earnest.process import OTHER_FILES_MAX
from earnest.settings import Settings, read_settings, variable_of
from earnest.supervisor import DRAIN_SECONDS_MAX

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNIT, IMAGE, EXAMPLE = (
    DEPLOY / name for name in ("earnest.service", "Containerfile", "earnest.env.example")
)
DATABASE_SECONDS = 15
"""How long the embedded database may take to stop (see DRAIN_SECONDS_MAX)."""


def unit(section: str = "Service") -> dict[str, str]:
    """A section of the unit; of a key that stands there twice the last."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return dict(parser[section])


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest), with continued lines joined and comments left out."""
    lines = [line for line in IMAGE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, _, rest in parts]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    begins = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    return found[begins:]


def only(name: str) -> str:
    """The one instruction of that name in the stage that is shipped."""
    (found,) = [rest for each, rest in last_stage() if each == name]
    return found


def parses(arguments: list[str]) -> bool:
    """Whether the command line takes them; it ends the process otherwise."""
    command, bound, _ = app.parse_args(arguments, print_error=False, exit_on_error=False)
    return callable(command) and "port" in bound.arguments


@pytest.mark.parametrize("path", [UNIT, IMAGE, EXAMPLE], ids=lambda path: path.name)
def test_every_setting_that_is_deployed_exists(path: Path) -> None:
    known = {variable_of(field) for field in Settings.__struct_fields__}
    named = set(re.findall(r"\bEARNEST_[A-Z_]+\b", path.read_text()))
    assert named
    assert named <= known


def test_the_example_is_one_that_production_starts_with_once_it_is_filled_in() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and line[0] != "#"]
    given = dict(line.split("=", 1) for line in lines)
    blank = {name for name, value in given.items() if not value}
    secrets = {"SECRET_KEY", "METRICS_TOKEN", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"}
    assert {f"EARNEST_{name}" for name in secrets} <= blank, "no secret is in the repository"
    filled = {
        "EARNEST_SECRET_KEY": "k" * 40,
        "EARNEST_METRICS_TOKEN": "t" * 40,
        "EARNEST_STRIPE_SECRET_KEY": "sk_live_x",
        "EARNEST_STRIPE_WEBHOOK_SECRET": "whsec_x",
    }
    assert read_settings(given | filled).is_production


def test_the_commands_that_are_deployed_are_commands_of_ours() -> None:
    program, *arguments = shlex.split(unit()["ExecStart"])
    assert program.endswith("/bin/earnest")
    assert parses(arguments)
    entry, command = (re.findall(r'"([^"]*)"', only(name)) for name in ("ENTRYPOINT", "CMD"))
    assert entry == ["earnest"]
    assert parses(command)
    with pytest.raises(Exception, match="prot"):
        parses(["serve", "--prot", "8000"])


def test_nobody_is_root_and_a_stop_has_the_time_that_it_may_take() -> None:
    service = unit()
    assert service["DynamicUser"] == "yes"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert int(only("USER").partition(":")[0]) > 0
    drain_seconds_max = max(
        int(found)
        for found in re.findall(r"le=(\d+)", str(Settings.__annotations__["drain_seconds"]))
    )
    needed = drain_seconds_max + DRAIN_SECONDS_MAX + DATABASE_SECONDS
    assert int(service["TimeoutStopSec"]) > needed
    assert int(service["LimitNOFILE"]) >= Settings().connections_max + OTHER_FILES_MAX
    assert only("STOPSIGNAL") == "SIGTERM"


def test_the_image_is_built_of_files_that_are_here_and_pins_what_it_installs() -> None:
    copied = [
        each
        for name, rest in instructions()
        if name == "COPY" and "--from=" not in rest
        for each in rest.split()[:-1]
    ]
    assert copied
    assert [each for each in copied if not (ROOT / each).exists()] == []
    runs = " ".join(rest for name, rest in instructions() if name == "RUN")
    for install in re.findall(r"pip install ([^&]*)", runs):
        assert "--require-hashes" in install or "--no-deps /wheels/" in install
    kept = [rest for name, rest in last_stage() if name in {"ENV", "ARG", "COPY"}]
    assert not re.search(r"SECRET|PASSWORD|TOKEN|dev\.txt|/opt/builder", " ".join(kept))


def test_the_health_check_of_the_image_is_python_that_asks_healthz() -> None:
    check = only("HEALTHCHECK")
    code = re.findall(r'"([^"]*)"', check)[-1]
    compile(code, "HEALTHCHECK", "exec")
    port = re.findall(r'"([^"]*)"', only("CMD"))[-1]
    assert f"http://127.0.0.1:{port}/healthz" in code
    assert only("EXPOSE") == port


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
def test_systemd_knows_every_line_of_the_unit_and_finds_it_well_closed(tmp_path: Path) -> None:
    here = tmp_path / "earnest"
    here.touch(mode=0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"(?m)^(ExecStart=)\S+", rf"\1{here}", UNIT.read_text()))
    verified = analyze("verify", "--recursive-errors=no", str(copy))
    assert (verified.returncode, verified.stderr) == (0, "")
    exposed = analyze("security", "--offline=yes", "--threshold=20", str(copy))
    assert exposed.returncode == 0, exposed.stdout
    copy.write_text(copy.read_text() + "ProtectEverything=yes\n[Service]\nProtectSytem=strict\n")
    assert "ProtectSytem" in analyze("verify", str(copy)).stderr


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
