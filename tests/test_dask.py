"""On a real cluster of processes, with workers killed in the middle: the same files."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from transferline.cli import run
from transferline.config import load_config
from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import selection
from transferline.errors import ConfigError
from transferline.evaluation import records
from transferline.executors import CallLostError, cancel, each, executor, result_of, size_of
from transferline.files import file_hash, json_hash
from transferline.generate.nanoaod import read_provenance
from transferline.learning.study import study
from transferline.learning.study_config import StudyConfig
from transferline.models.checkpoint import Checkpoint

from .data import nanoaod_files
from .learning.event_shards import write_shards
from .waiting_work import WAITING

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
cluster_module = pytest.importorskip("transferline.executors.cluster")

WORK = f"""{WAITING}
def die():
    os.kill(os.getpid(), signal.SIGKILL)

def here(name):
    return str(Path(name).resolve())
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two worker processes of one thread each; the nanny starts another for one that is killed."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "work_of_dask.py").write_text(WORK)
    # A worker that a busy machine takes long to start again is not lost.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"})
    with pytest.MonkeyPatch.context() as patch, patient:
        patch.syspath_prepend(folder)
        with distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            local_directory=str(folder),
            silence_logs="CRITICAL",
        ) as running:
            yield running


@pytest.fixture
def pool(cluster, tmp_path):
    with executor(dask=cluster.scheduler_address, shared=[tmp_path]) as found:
        yield found
    assert not list(tmp_path.glob(".transferline-*"))


@contextmanager
def worker_killed_when(cluster, begun: Callable[[], object]):
    """Kill a worker process that is at work as soon as `begun` is true, while the block runs."""
    pids, before, over = cluster_pids(cluster), deaths(cluster), threading.Event()
    workers = cluster.scheduler.workers

    def watch() -> None:
        # Again, should a worker have finished its call just before it was killed.
        while deaths(cluster) == before and not over.wait(0.005):
            busy = [w.address for w in list(workers.values()) if w.processing and w.address in pids]
            if busy and begun():
                os.kill(pids.pop(busy[0]), signal.SIGKILL)
                while busy[0] in workers:
                    time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert deaths(cluster) > before, "no worker was killed in the middle of a call"


def cluster_pids(cluster) -> dict[str, int]:
    """Return address -> process of the two workers, when both are there."""
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        return client.run(os.getpid)


def deaths(cluster) -> int:
    """How often a call lost its worker."""
    return sum(prefix.suspicious for prefix in cluster.scheduler.task_prefixes.values())


def test_prepare_gives_the_same_files_though_a_worker_is_killed(cluster, pool, tmp_path):
    for i in range(2):
        nanoaod_files.write(
            tmp_path / f"{i}.root", nanoaod_files.random_events(600, i + 1, first=600 * i)
        )

    def make(name, **options):
        source = NanoAOD(files=[str(tmp_path / "*.root")])
        prepare(source, selection("pretraining"), tmp_path / name, unit_size=30, **options)
        return {p.name: p.read_bytes() for p in (tmp_path / name).glob("*") if p.suffix != ".jsonl"}

    expected = make("inline")
    assert len(expected) == 42  # shards, and the card as JSON and Markdown
    with worker_killed_when(cluster, lambda: list((tmp_path / "dask").glob("part-*.json"))):
        found = make("dask", executor=pool)
    assert found == expected


def test_generate_gives_the_same_events_though_a_worker_is_killed(cluster, pool, tmp_path):
    pytest.importorskip("pythia8mc")
    from .generate.conftest import make
    from .generate.test_events import same_events

    options = {"n": 50, "block_size": 10}
    first = make(tmp_path / "inline.root", **options)
    with worker_killed_when(
        cluster, lambda: list((tmp_path / "dask.root.parts").glob("block-*.npz"))
    ):
        again = make(tmp_path / "dask.root", executor=pool, **options)
    assert same_events(first.path, again.path)
    assert read_provenance(first.path) == read_provenance(again.path)


STUDY = """\
name: tiny
title: A tiny study
scale: smoke
samples:
  signal: {{shards: {signal}}}
  background: {{shards: {background}}}
  free: {{reader: {{kind: nanoaod, files: [{free}]}}, selection: pretraining}}
pretrain:
  one:
    samples: [free]
    backbone: {{kind: transformer, width: 16, depth: 1, heads: 2}}
    objective: {{kind: masked_type}}
    optim: {{steps: 10, batch_size: 32}}
task: {{kind: event_classification, name: toy, signal: [signal], background: [background]}}
grid: {{modes: [scratch, finetuned, frozen, trees], n_train: [80], seeds: 1}}
scratch: &network {{lr: [1e-2], optim: {{steps: 20, batch_size: 64}}}}
frozen: *network
finetuned: *network
trees: {{leaves: [4], rounds: 10}}
"""


def numbers(out: Path) -> dict[str, str]:
    """Everything that a study found, timings aside."""
    found = {}
    for record in records.read(out / "records.jsonl"):
        content = record.model_dump(mode="json", exclude={"cost", "time", "commit"})
        content["extra"].get("pretraining", {}).pop("cpu_seconds", None)
        found[record.key()] = json_hash(content)
        found[f"scores {record.key()}"] = file_hash(out / "runs" / record.key() / "scores.npz")
    return found | {"backbone": Checkpoint.load(out / "pretrain" / "one").backbone_hash()}


def test_study_gives_the_same_records_though_a_worker_is_killed(cluster, tmp_path, monkeypatch):
    nanoaod_files.write(tmp_path / "free.root", nanoaod_files.random_events(300, 5, first=10**6))
    places = {
        "signal": write_shards(tmp_path, 400, seed=1, hardness=1.6),
        "background": write_shards(tmp_path, 400, seed=2),
        "free": tmp_path / "free.root",
    }
    file, out = tmp_path / "tiny.yaml", tmp_path / "dask"
    file.write_text(STUDY.format(**places))
    first = study(load_config(file, StudyConfig), tmp_path / "inline", cache=tmp_path / "cache1")
    monkeypatch.setenv("TRANSFERLINE_CACHE", str(tmp_path / "cache2"))
    with worker_killed_when(cluster, (out / "records.jsonl").exists):
        assert (
            run(["study", str(file), "--out", str(out), "--dask", cluster.scheduler_address]) == 0
        )
    assert len(records.read(first / "records.jsonl")) == 4
    assert numbers(out) == numbers(first)
    cards = [list((tmp_path / f"cache{i}").rglob("card.json")) for i in (1, 2)]
    assert [len(found) for found in cards] == [1, 1]
    assert cards[0][0].read_bytes() == cards[1][0].read_bytes()


def test_commands_take_the_address(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    nanoaod_files.write(tmp_path / "a.root", nanoaod_files.random_events(50, 1))
    prepare_it = ["prepare", "a.root", "--selection", "pretraining", "--dask"]
    assert run([*prepare_it, cluster.scheduler_address, "--out", "shards"]) == 0
    assert (tmp_path / "shards" / "card.json").exists()
    assert run([*prepare_it, cluster.scheduler_address, "--out", "s", "--jobs", "2"]) == 2
    assert "--jobs and --dask exclude each other" in capsys.readouterr().err
    pytest.importorskip("pythia8mc")
    generate_it = ["generate", "events", "ttbar_1l", "-n", "3", "--no-mpi", "--out", "b.root"]
    assert run([*generate_it, "--dask", cluster.scheduler_address]) == 0
    assert (tmp_path / "b.root").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_scheduler_file_relative_paths_and_size(cluster, tmp_path, monkeypatch):
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": cluster.scheduler_address}))
    monkeypatch.chdir(tmp_path)
    import work_of_dask

    with executor(dask="scheduler.json") as found:
        assert size_of(found) == 2
        assert found.submit(work_of_dask.here, "x").result() == str(tmp_path / "x")


def test_calls_that_kill_their_workers_are_given_up_with_one_clear_error(cluster, pool):
    import work_of_dask

    cluster.scheduler.allowed_failures, before = 1, cluster.scheduler.allowed_failures
    try:
        with pytest.raises(CallLostError, match=r"died one after the other .*goes on from there"):
            each(pool, work_of_dask.die, [()], lambda _, future: result_of(future))
    finally:
        cluster.scheduler.allowed_failures = before


def test_running_calls_stop_when_they_are_cancelled_or_their_client_goes(cluster, tmp_path):
    import work_of_dask

    cluster_pids(cluster)  # all workers are there
    with (
        pytest.raises(KeyboardInterrupt),
        executor(dask=cluster.scheduler_address, shared=[tmp_path]) as pool,
    ):
        future = pool.submit(work_of_dask.polling, str(tmp_path / "one"))
        wait_for(tmp_path / "one")
        cancel(pool, [future])
        assert future.cancelled()
        wait_for(tmp_path / "one.saved")
        pool.submit(work_of_dask.polling, str(tmp_path / "two"))
        wait_for(tmp_path / "two")
        raise KeyboardInterrupt
    wait_for(tmp_path / "two.saved")


def wait_for(place: Path) -> None:
    deadline = time.monotonic() + 60
    while not place.exists():
        assert time.monotonic() < deadline, f"{place} never came"
        time.sleep(0.01)


def test_a_call_may_end_while_it_is_being_cancelled():
    """Dask tells of the end in a thread of its own, at any moment."""

    class Ending(dict):
        def __contains__(self, future):
            found = super().__contains__(future)
            self.pop(future, None)
            return found

    class Client:
        cancelled = ()

        def cancel(self, tasks):
            self.cancelled = tasks

    client, ended, running = Client(), Future(), Future()
    executor = cluster_module.ClusterExecutor(client, visit=None)
    executor._tasks = Ending({ended: "task"})
    executor.cancel([ended, Future()])
    executor._tasks = {running: "other task"}
    executor.cancel([ended, running])
    assert client.cancelled == ["other task"]


def test_workers_that_do_not_fit_are_refused(cluster, tmp_path, monkeypatch):
    versions = cluster_module.package_versions

    def newer(names):
        return versions(names) | {"transferline": "99.0"}

    monkeypatch.setattr(cluster_module, "package_versions", newer)
    with (
        pytest.raises(ConfigError, match=r"has transferline .*, this process 99\.0"),
        executor(dask=cluster.scheduler_address),
    ):
        pytest.fail("it was opened")

    monkeypatch.setattr(
        cluster_module, "package_versions", lambda names: versions(names) | {"torch": "99.0"}
    )
    with (
        pytest.warns(cluster_module.ClusterWarning, match=r"other versions \(torch"),
        executor(dask=cluster.scheduler_address),
    ):
        pass


def test_another_file_system_is_refused(cluster, tmp_path, monkeypatch):
    genuine = cluster_module._tokens

    @contextmanager
    def what_workers_see(shared, secret):
        with genuine(shared, secret) as tokens:
            for token in tokens:
                Path(token).write_text("of another machine")
            yield tokens

    monkeypatch.setattr(cluster_module, "_tokens", what_workers_see)
    with (
        pytest.raises(ConfigError, match=f"does not see what this process writes to {tmp_path}"),
        executor(dask=cluster.scheduler_address, shared=[tmp_path]),
    ):
        pytest.fail("it was opened")


def test_nobody_at_the_address_is_explained(monkeypatch):
    monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 1)
    with (
        pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:9: no scheduler answers"),
        executor(dask="tcp://127.0.0.1:9"),
    ):
        pytest.fail("it was opened")
