"""One of many processes at a time."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_network import Tiny

from cinebold.features.locks import held_alone
from cinebold.features.store import ensure_features, read_features

FORK = multiprocessing.get_context("fork")


def in_processes(n, target, *args):
    """What `target(results.put, *args)` gives in each of `n` processes that begin together."""
    start, results = FORK.Event(), FORK.Queue()

    def work():
        start.wait()
        target(results.put, *args)

    workers = [FORK.Process(target=work) for _ in range(n)]
    for worker in workers:
        worker.start()
    start.set()
    given = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return given


def _take_turns(give, path: Path, n_rounds: int) -> None:
    alone = path.with_name("somebody is here")
    n_met = 0
    for _ in range(n_rounds):
        with held_alone(path):
            try:
                os.close(os.open(alone, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                n_met += 1
                continue
            os.sched_yield()
            alone.unlink()
    give(n_met)


def test_nobody_meets_another_though_lock_files_come_and_go(tmp_path, monkeypatch):
    from filelock import FileLock

    # Poll as fast as it goes: the moments between opening, locking and deleting are what matters.
    monkeypatch.setattr(FileLock, "acquire", _eager(FileLock.acquire))
    assert in_processes(4, _take_turns, tmp_path / "a.h5", 100) == [0] * 4
    assert list(tmp_path.iterdir()) == []


def _eager(acquire):
    return lambda lock, *args, **kwargs: acquire(lock, *args, poll_interval=0.0005, **kwargs)


def _hold_for_ever(path: Path) -> None:
    with held_alone(path):
        path.with_name("held").touch()
        time.sleep(600)


def test_who_waits_says_so_and_a_killed_holder_frees_the_lock(tmp_path, caplog):
    path = tmp_path / "a.h5"
    holder = FORK.Process(target=_hold_for_ever, args=(path,))
    holder.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    entered = threading.Event()

    def wait() -> None:
        with held_alone(path):
            entered.set()

    waiter = threading.Thread(target=wait)
    with caplog.at_level(logging.WARNING):
        waiter.start()
        while not caplog.records:
            time.sleep(0.01)
    assert caplog.messages == [f"{path}: another process is making these features; waiting for it."]
    assert not entered.is_set()
    os.kill(holder.pid, signal.SIGKILL)
    waiter.join(timeout=30)
    assert entered.is_set()
    holder.join()
    assert not path.with_name(".a.h5.lock").exists()


def _ensure(give, film: Path, target: Path) -> None:
    import torch

    torch.set_num_threads(1)
    tiny = Tiny()
    computed = ensure_features(film, {target: tiny})
    give((len(computed), tiny.n_windows, read_features(target).values.tobytes()))


@pytest.mark.slow
def test_eight_processes_want_one_film_and_one_extracts(moving_film, tmp_path):
    target = tmp_path / "out" / "a.h5"
    given = in_processes(8, _ensure, moving_film, target)
    assert sorted((computed, windows) for computed, windows, _ in given) == [(0, 0)] * 7 + [(1, 24)]
    assert len({values for _, _, values in given}) == 1
    assert np.frombuffer(given[0][2], np.float32).shape == (24 * 6,)
    assert sorted(path.name for path in target.parent.iterdir()) == ["a.h5", "a.json"]
