from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from transferline.errors import ConfigError
from transferline.executors import (
    CallLostError,
    InlineExecutor,
    WorkersLostError,
    each,
    executor,
    given_or_new,
    one_at_a_time,
    processes,
    result_of,
    size_of,
)
from transferline.executors.processes import ProcessPool
from transferline.stopping import (
    WorkGivenUpError,
    check_stop,
    sigterm_as_interrupt,
    stop_requested,
    stop_when,
)

from .waiting_work import WAITING

WORK = f"""{WAITING}
def stubborn(place):
    def end(*_):
        Path(place).with_suffix(".term").touch()
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    Path(place).touch()
    time.sleep(60)

def surroundings():
    names = "OMP_NUM_THREADS", "OMP_WAIT_POLICY"
    return [os.environ.get(name) for name in names], signal.getsignal(signal.SIGINT).name
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that worker processes can import."""
    (tmp_path / "work_of_tests.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "work_of_tests", raising=False)
    import work_of_tests

    return work_of_tests


def wait_for(place: Path) -> None:
    deadline = time.monotonic() + 60
    while not place.exists():
        assert time.monotonic() < deadline, f"{place} never came"
        time.sleep(0.01)


def test_inline_keeps_exceptions_for_the_future_and_lets_interrupts_through():
    def interrupted():
        raise KeyboardInterrupt

    with executor() as here:
        assert isinstance(here, InlineExecutor)
        assert here.submit(divmod, 7, 4).result() == (1, 3)
        assert isinstance(here.submit(divmod, 1, 0).exception(), ZeroDivisionError)
        with pytest.raises(KeyboardInterrupt):
            here.submit(interrupted)


def test_a_users_executor_stays_open():
    with ThreadPoolExecutor(2) as threads:
        with given_or_new(threads, jobs=5) as pool:
            assert pool is threads
        assert threads.submit(abs, -1).result() == 1
    with given_or_new(None, 1) as pool:
        assert size_of(pool) == 1


def test_each_hands_over_every_call_in_order_of_completion():
    first = threading.Event()

    def call(i):
        assert i or first.wait(20)
        return i * i

    found = []

    def done(i, future):
        found.append((i, result_of(future)))
        first.set()

    with ThreadPoolExecutor(2) as threads:
        each(threads, call, [(0,), (3,)], done)
    assert found == [(1, 9), (0, 0)]
    found.clear()
    each(InlineExecutor(), call, [(0,), (3,)], done)
    assert found == [(0, 0), (1, 9)]


def test_a_failure_cancels_what_has_not_begun():
    go, made = threading.Event(), []

    def call(i):
        if i == 0:
            raise ValueError("broken")
        assert go.wait(20)
        made.append(i)

    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(ValueError, match="broken"):
            each(threads, call, [(i,) for i in range(50)], lambda _, future: result_of(future))
        go.set()
    assert len(made) <= 1


def test_in_this_process_a_failure_ends_it_at_once():
    made = []

    def call(i):
        made.append(i)
        return 1 // (2 - i)

    with pytest.raises(ZeroDivisionError):
        each(InlineExecutor(), call, [(i,) for i in range(9)], lambda _, f: result_of(f))
    assert made == [0, 1, 2]


def test_workers_have_one_thread_leave_ctrl_c_alone_and_change_nothing_here(work, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    main = dict(vars(sys.modules["__main__"]))
    with executor(2) as pool:
        assert size_of(pool) == 2
        assert pool.submit(work.surroundings).result() == (["1", "ACTIVE"], "SIG_IGN")
    assert "OMP_NUM_THREADS" not in os.environ
    assert {k: main[k] for k in ("__file__", "__spec__") if k in main} == {
        k: v for k, v in vars(sys.modules["__main__"]).items() if k in ("__file__", "__spec__")
    }
    assert not multiprocessing.active_children()


def test_an_early_end_stops_running_calls_and_insists(work, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_GRACE", 1.0)
    with pytest.raises(KeyboardInterrupt), executor(2) as pool:
        futures = [
            pool.submit(work.polling, str(tmp_path / "polling")),
            pool.submit(work.stubborn, str(tmp_path / "stubborn")),
            *(pool.submit(work.polling, str(tmp_path / "never")) for _ in range(20)),
        ]
        wait_for(tmp_path / "polling")
        wait_for(tmp_path / "stubborn")
        raise KeyboardInterrupt
    assert isinstance(futures[0].exception(), WorkGivenUpError)
    assert (tmp_path / "polling.saved").exists()
    assert (tmp_path / "stubborn.term").exists()
    assert sum(future.cancelled() for future in futures) >= 10
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_is_one_clear_error(work):
    with (
        pytest.raises(WorkersLostError, match=r"died .*the same command goes on"),
        executor(2) as pool,
    ):
        each(pool, os._exit, [(3,)] * 9, lambda _, future: result_of(future))


def test_a_call_whose_dask_workers_die_is_one_clear_error():
    class KilledWorker(Exception):  # noqa: N818  the name that distributed gives it
        pass

    future: Future[None] = Future()
    future.set_exception(KilledWorker("generate_block-1"))
    with pytest.raises(CallLostError, match=r"one after the other .*the same command goes on"):
        result_of(future)


def script(folder: Path, text: str) -> Path:
    file = folder / "script.py"
    file.write_text(textwrap.dedent(text))
    return file


def test_a_script_without_a_main_guard_works(tmp_path):
    file = script(
        tmp_path,
        """
        from pathlib import Path
        from transferline.executors import executor

        with Path(__file__).with_name("ran").open("a") as log:
            log.write("once")
        with executor(2) as pool:
            assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]
        assert Path(__file__).is_file()
        """,
    )
    subprocess.run([sys.executable, file], check=True, timeout=60)
    assert (tmp_path / "ran").read_text() == "once"


def test_workers_leave_with_a_killed_parent(work, tmp_path):
    file = script(
        tmp_path,
        """
        import os, sys, work_of_tests
        from transferline.executors import executor

        with executor(2) as pool:
            print(pool.submit(os.getpid).result(), flush=True)
            pool.submit(work_of_tests.stubborn, sys.argv[1])
            pool.submit(work_of_tests.stubborn, sys.argv[1]).result()
        """,
    )
    command = [sys.executable, file, tmp_path / "begun"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        wait_for(tmp_path / "begun")
        process.kill()
    wait_until_gone(worker)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "Z" not in state(pid):
        assert time.monotonic() < deadline, f"{pid} is still there"
        time.sleep(0.05)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def test_threads_take_turns():
    inside, most = [], []

    @one_at_a_time
    def call():
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()

    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(call) for _ in range(8)]:
            future.result()
    assert most == [1] * 8


def test_stop_flags_hold_while_their_block_runs():
    flag = threading.Event()
    with stop_when(flag):
        check_stop()
        flag.set()
        assert stop_requested()
        with pytest.raises(WorkGivenUpError):
            check_stop()
    assert not stop_requested()


def test_sigterm_interrupts_like_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 2, "dask": "tcp://127.0.0.1:1"}, "exclude each other"),
        ({"dask": "localhost"}, "neither an address"),
        ({"dask": "tcp://localhost:port"}, "neither an address"),
    ],
)
def test_what_cannot_be_asked_for_is_explained(options, message):
    if "jobs" not in options:
        pytest.importorskip("distributed")
    with pytest.raises(ConfigError, match=message), executor(**options):
        pytest.fail("it was opened")


def test_dask_without_its_extra_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match="pip install"), executor(dask="tcp://127.0.0.1:1"):
        pytest.fail("it was opened")


SAVES = """
import os, signal, sys, time
from pathlib import Path

def work(place):
    def save(*_):
        time.sleep(1.0)
        Path(place).write_text("saved")
        raise SystemExit
    signal.signal(signal.SIGTERM, save)
    Path(place + ".begun").touch()
    time.sleep(60)
"""
MAIN = """
import os, signal, sys, threading, time
from pathlib import Path
from saves import work
import transferline.config  # which takes yaml along
from transferline.executors.processes import ProcessPool

signal.signal(signal.SIGTERM, lambda *_: None)  # as commands do: they wait for their workers
with ProcessPool(1) as pool:
    future = pool.submit(work, sys.argv[1])
    while not Path(sys.argv[1] + ".begun").exists():
        time.sleep(0.01)
    os.killpg(0, signal.SIGTERM)
    try:
        future.result()
    except BaseException as error:
        print(type(error).__name__)
"""


def test_a_signal_for_the_whole_session_leaves_workers_time_to_save(tmp_path):
    """And a file of the user's directory is not taken for the module whose name it has."""
    (tmp_path / "saves.py").write_text(SAVES)
    (tmp_path / "main.py").write_text(MAIN)
    folder = tmp_path / "cwd"
    folder.mkdir()
    (folder / "yaml.py").write_text("raise RuntimeError('imported from the current directory')")
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path / "state")]
    done = subprocess.run(
        command,
        cwd=folder,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (tmp_path / "state").read_text() == "saved", done.stderr
    assert "current directory" not in done.stderr


def test_workers_have_the_environment_of_their_own_pool(monkeypatch):
    monkeypatch.setenv("FIRST", "1")
    with ProcessPool(1) as pool:
        assert pool.submit(os.getenv, "FIRST").result() == "1"
    monkeypatch.delenv("FIRST")
    with ProcessPool(1) as pool:
        assert pool.submit(os.getenv, "FIRST").result() is None
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
        assert pool.submit(os.getenv, "PYTHONSAFEPATH").result() is None


def test_where_the_socket_finds_no_place_processes_start_clean(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "_LONGEST", 1)
    with ProcessPool(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
