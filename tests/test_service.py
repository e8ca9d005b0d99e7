"""The unit for systemd: that systemd takes it, and that its times fit the daemon's."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.programs import program
from warpaint.server import cli
from warpaint.server.config import Settings, parser
from warpaint.server.health import TURN_S
from warpaint.server.supervisor import PARTING_S

UNIT = Path(__file__).parents[1] / "contrib" / "warpaintd.service"
INSTALL = "apt-get install systemd"
# As `systemd-analyze security` counts: 0 is shut in, 100 has the machine. GPUs, loopback and code that is made at run
# time are what is left.
MOST_EXPOSED = 20


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    path = tmp_path / UNIT.name
    text, count = re.subn(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", UNIT.read_text(encoding="utf-8"))
    assert count == 1
    path.write_text(text, encoding="utf-8")
    return path


def analysed(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([program("systemd-analyze", INSTALL), *arguments], capture_output=True, text=True, timeout=60)


def setting(name: str) -> list[str]:
    return re.findall(rf"(?m)^{name}=(.*)$", UNIT.read_text(encoding="utf-8"))


def test_systemd_takes_it_without_a_word(unit: Path) -> None:
    done = analysed("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_what_is_wrong(unit: Path) -> None:
    """Or the test above would show nothing."""
    unit.write_text(unit.read_text(encoding="utf-8").replace("WatchdogSec=30", "WatchdogSec=soon"), encoding="utf-8")
    assert "soon" in analysed("verify", "--man=no", str(unit)).stderr


def test_it_is_shut_in(unit: Path) -> None:
    done = analysed("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}", str(unit))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_its_command_line_is_one() -> None:
    [command] = setting("ExecStart")
    name, *flags = command.split()
    assert Path(name).name == "warpaintd"
    assert parser().parse_args(flags).config == "/etc/warpaint/warpaint.toml"


def test_its_times_fit_the_daemons() -> None:
    settings = Settings()
    assert float(setting("TimeoutStopSec")[0]) > PARTING_S + 2 * settings.drain_s
    assert float(setting("WatchdogSec")[0]) > 2 * TURN_S
    assert setting("RestartPreventExitStatus") == [str(cli.MISUSED)]


def test_what_would_stop_a_gpu_is_not_set() -> None:
    assert not any(setting(name) for name in ("PrivateDevices", "PrivateUsers", "ProcSubset", "MemoryDenyWriteExecute"))
    assert {each.split()[0] for each in setting("DeviceAllow")} == {"char-nvidia*", "char-drm", "char-kfd"}


def test_a_missing_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is skipped, or fails where everything has to run."""
    monkeypatch.delenv("WARPAINT_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is missing: apt-get install it"):
        program("no-such-program", "apt-get install it")
    monkeypatch.setenv("WARPAINT_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install it"):
        program("no-such-program", "apt-get install it")
