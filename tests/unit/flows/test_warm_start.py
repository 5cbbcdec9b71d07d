"""A stage that is forked from a process with the libraries is as one that starts by itself, but faster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.orchestration.warm_server import warm_from_second_stage, warm_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has what a warm server needs")

SHOW = """
import json, os, random, resource, sys, threading, time
loaded = "wave" in sys.modules
import numpy
state = {
    "name": __name__, "file": __file__, "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path,
    "package": __spec__.parent, "folder": os.getcwd(), "environment": dict(os.environ), "umask": os.umask(0),
    "nice": os.getpriority(os.PRIO_PROCESS, 0), "cores": sorted(os.sched_getaffinity(0)),
    "limits": [resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if "RLIMIT" in name],
    "threads": threading.active_count(), "files": sorted(os.listdir("/proc/self/fd"))[:-1],
    "main": sys.modules["__main__"].__file__, "own": sorted(name for name in sys.modules if name.startswith("flows")),
}
print(json.dumps({"loaded": loaded, "pid": os.getpid(), "drawn": [random.random(), numpy.random.rand()], **state}))
"""
WAIT = """
import os, signal, sys, time
def end(number, frame):
    print("got", number, flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
print(os.getpid(), flush=True)
time.sleep(60)
"""
END = "import os, sys; exec(sys.argv[1])"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def folder(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with three small stages."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "flows").mkdir()
    for name in ("__init__.py", "warm_start.py", "deferred_imports.py"):
        shutil.copy(repo / "flows" / name, folder / "flows" / name)
    for name, text in {"show": SHOW, "wait": WAIT, "end": END}.items():
        (folder / "flows" / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """Of this process, without those that pytest changes meanwhile and of a server that the tests share."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DERMFLOW_WARM"))}


@pytest.fixture
def begin(folder: Path, variables: dict[str, str]) -> Iterator[Start]:
    """Starts a stage; without a server unless the variables that are changed name one."""
    with ExitStack() as started:

        def begin(stage: str, *words: str, **changes: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", f"flows.{stage}", *words], cwd=folder, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env={**variables, "DVC_STAGE": f"{stage}@a-0", **changes},
            )  # fmt: skip
            return started.enter_context(process)

        yield begin


@pytest.fixture
def server(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A server that has loaded numpy and a module that no one else does."""
    for name in os.environ.keys() - variables.keys():
        monkeypatch.delenv(name)
    with warm_server({}, ["numpy", "wave"]) as found:
        wait_until(lambda: found["DERMFLOW_WARM"] in Path("/proc/net/unix").read_text())
        yield found


@pytest.fixture
def start(begin: Start, server: dict[str, str]) -> Start:
    """Starts a stage that the server is to fork for."""
    return lambda *words, **changes: begin(*words, **{**server, **changes})


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def shown(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    return dict(json.loads(out))


def test_a_forked_stage_has_the_state_of_one_that_starts_by_itself(start: Start, begin: Start) -> None:
    alone = shown(begin("show", "imagenet", "frozen", DERMFLOW_WARM=""))
    process = start("show", "imagenet", "frozen", DERMFLOW_WARM_IS_LATE="1")
    forked = shown(process)
    assert forked.pop("loaded") and not alone.pop("loaded")
    assert forked.pop("pid") != process.pid
    assert forked["environment"].pop("DERMFLOW_WARM_IS_LATE") == "1"
    forked["environment"]["DERMFLOW_WARM"] = alone["environment"]["DERMFLOW_WARM"]
    assert forked.pop("drawn") != alone.pop("drawn")
    assert {name: value for name, value in forked.items() if name != "pid"} == {
        name: value for name, value in alone.items() if name != "pid"
    }


def test_two_forked_stages_draw_different_random_numbers(start: Start) -> None:
    first, second = (shown(start("show"))["drawn"] for _ in range(2))
    assert first[0] != second[0] and first[1] != second[1]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('a reason')", 1),
        ("1 / 0", 1),
        ("os.kill(os.getpid(), 9)", -9),
        ("os._exit(5)", 5),
        ("raise KeyboardInterrupt", -2),
        ("import atexit; atexit.register(print, 'at the end'); print('first')", 0),
        ("import threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()", 0),
    ],
)
def test_a_forked_process_ends_as_one_that_started_by_itself(
    start: Start, begin: Start, code: str, status: int
) -> None:
    forked, alone = start("end", code), begin("end", code)
    (out, error), expected = forked.communicate(timeout=60), alone.communicate(timeout=60)
    assert forked.returncode == alone.returncode == status
    assert out == expected[0]
    assert error.splitlines()[-1:] == expected[1].splitlines()[-1:]


def test_a_signal_reaches_the_forked_process(start: Start) -> None:
    process = start("wait")
    assert process.stdout is not None
    assert int(process.stdout.readline()) != process.pid
    process.terminate()
    assert process.stdout.readline() == "got 15\n"
    assert process.wait(timeout=60) == 7


def test_a_killed_process_takes_the_forked_one_with_it_and_no_other(start: Start) -> None:
    killed, other = start("wait"), start("wait")
    assert killed.stdout is not None and other.stdout is not None
    forked = psutil.Process(int(killed.stdout.readline()))
    other.stdout.readline()
    killed.kill()
    killed.communicate()
    wait_until(lambda: not forked.is_running())
    other.terminate()
    assert other.wait(timeout=60) == 7
    assert shown(start("show"))["loaded"]


def test_what_a_killed_stage_has_started_ends_with_it(start: Start) -> None:
    code = (
        "import os, subprocess, time; "
        "print(os.getpid(), subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    killed = start("end", code)
    assert killed.stdout is not None
    below = [psutil.Process(int(word)) for word in killed.stdout.readline().split()]
    killed.kill()
    killed.communicate()
    wait_until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in below))


def test_many_stages_that_are_killed_at_once_leave_a_server_that_works(start: Start) -> None:
    stages = [start("wait") for _ in range(12)]
    for number, stage in enumerate(stages):
        assert stage.stdout is not None
        stage.stdout.readline()
        (stage.kill if number % 2 else stage.terminate)()
    for stage in stages:
        stage.communicate(timeout=60)
    assert [stage.returncode for stage in stages] == [7, -9] * 6
    assert shown(start("show"))["loaded"]


def test_where_no_process_can_be_forked_the_stage_starts_by_itself(
    begin: Start, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ.keys() - variables.keys():
        monkeypatch.delenv(name)
    with warm_server({}, ["wave"]) as found:
        wait_until(lambda: found["DERMFLOW_WARM"] in Path("/proc/net/unix").read_text())
        (server,) = servers()
        most = len(list(Path(f"/proc/{server.pid}/fd").iterdir())) + 5  # its connection, three files, half a pipe
        allowed, hard = server.rlimit(psutil.RLIMIT_NOFILE)
        server.rlimit(psutil.RLIMIT_NOFILE, (most, hard))
        process = begin("show", **found)
        out, error = process.communicate(timeout=60)
        assert json.loads(out)["pid"] == process.pid
        assert "Too many open files" in error
        server.rlimit(psutil.RLIMIT_NOFILE, (allowed, hard))
        assert shown(begin("show", **found))["loaded"]


def test_when_the_server_is_killed_the_stage_fails_and_the_next_one_starts_by_itself(start: Start) -> None:
    process = start("wait")
    assert process.stdout is not None
    forked = psutil.Process(int(process.stdout.readline()))
    forked.parent().kill()  # type: ignore[union-attr]  # the server
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"({forked.pid}) was killed with the server that started it" in error
    wait_until(lambda: not forked.is_running() or forked.status() == psutil.STATUS_ZOMBIE)
    assert not shown(start("show"))["loaded"]


def test_stages_end_by_themselves_when_the_starter_is_gone(begin: Start, variables: dict[str, str]) -> None:
    code = (
        "import sys\nfrom flows.orchestration.warm_server import warm_server\n"
        "with warm_server({}, ['wave']) as found:\n print(found['DERMFLOW_WARM'], flush=True)\n sys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables
    )
    assert starter.stdin is not None and starter.stdout is not None
    name = starter.stdout.readline().strip()
    wait_until(lambda: name in Path("/proc/net/unix").read_text())
    process = begin("wait", DERMFLOW_WARM=name)
    assert process.stdout is not None
    server = psutil.Process(int(process.stdout.readline())).parent()
    assert server is not None
    starter.kill()
    starter.communicate()
    time.sleep(0.3)
    assert process.poll() is None and server.is_running()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 7
    wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(
    "changes", [{"OMP_NUM_THREADS": "3"}, {"NEW_VARIABLE": "1"}, {"DVC_STAGE": "other"}, {"DERMFLOW_WARM": "none"}]
)
def test_a_stage_that_the_server_does_not_fit_starts_by_itself(start: Start, changes: dict[str, str]) -> None:
    process = start("show", **changes)
    out, error = process.communicate(timeout=60)
    state = json.loads(out)
    assert not state["loaded"] and state["pid"] == process.pid
    for name in changes.keys() - {"DVC_STAGE", "DERMFLOW_WARM"}:
        assert f"other values of {name}" in error


def test_variables_that_libraries_set_when_they_are_imported_make_no_difference(
    begin: Start, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ.keys() - variables.keys():
        monkeypatch.delenv(name)
    by_import = (
        "import json, os, cv2, sklearn; print(json.dumps({name: os.environ[name] for name in os.environ "
        "if name.startswith(('LD_', 'KMP_'))}))"
    )
    once = subprocess.run([sys.executable, "-c", by_import], env=variables, check=True, capture_output=True)
    assert json.loads(once.stdout).keys() > {"LD_LIBRARY_PATH"}
    twice = subprocess.run(
        [sys.executable, "-c", by_import], env={**variables, **json.loads(once.stdout)}, check=True, capture_output=True
    )
    with warm_server({}, ["cv2", "sklearn", "wave"]) as found:
        wait_until(lambda: found["DERMFLOW_WARM"] in Path("/proc/net/unix").read_text())
        assert shown(begin("show", **found))["loaded"]
        assert shown(begin("show", **found, **json.loads(once.stdout)))["loaded"]
        assert shown(begin("show", **found, **json.loads(twice.stdout)))["loaded"]


def servers() -> list[psutil.Process]:
    """Those that this process has started."""
    return [each for each in psutil.Process().children() if "flows.orchestration.warm_server" in each.cmdline()]


def test_one_stage_alone_starts_no_server(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - variables.keys():
        monkeypatch.delenv(name)
    with warm_from_second_stage({}) as variables_of_next:
        assert variables_of_next() == {}
        assert not servers()
        second = variables_of_next()
        assert second.keys() == {"DERMFLOW_WARM"}
        assert variables_of_next() == second
        (server,) = [
            each for each in psutil.Process().children() if "flows.orchestration.warm_server" in each.cmdline()
        ]
    assert not server.is_running()


def test_a_forked_stage_runs_the_code_as_it_is_then(start: Start, folder: Path) -> None:
    code = folder / "flows" / "show.py"
    assert shown(start("show"))["loaded"]
    code.write_text(code.read_text().replace('"loaded": loaded', '"loaded": "edited"'))
    assert shown(start("show"))["loaded"] == "edited"
    code.write_text(SHOW)
