import importlib.util
import os
import platform
import signal
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest

from tfstiff import RunSpec, load_run
from tfstiff.cluster.ray_cluster import passed_on
from tfstiff.errors import InvalidInput
from tfstiff.sweeps import plan_sweep, write_sweep
from tfstiff.sweeps.ray_node import lacking, needs_of, run_task
from tfstiff.sweeps.state import TrialState


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (rng.normal(size=(60, 6)) + 2 * np.eye(6)[y]).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x_train=x[:40], y_train=y[:40], x_validation=x[40:], y_validation=y[40:])
    return tmp_path / "mine.npz"


@pytest.fixture
def sweep(tmp_path, data):
    spec = RunSpec(f"npz:{data}", hidden=(8,), batch_size=4, probe_size=(9, 6), schedule=(0, 1, 150), epochs=150)
    found = plan_sweep(tmp_path / "sweep", [spec, replace(spec, arch="no.such.module:build", hidden=None)])[0]
    write_sweep(found)
    return found


def test_a_cluster_of_this_machine_a_worker_of_which_is_killed(sweep, capfd, monkeypatch):
    """A trial whose worker dies is begun again, one whose code fails is not."""
    monkeypatch.setenv("RAY_worker_niceness", "0")  # its workers yield to all else, and other tests leave them little
    if importlib.util.find_spec("ray") is None:  # it is to be imported by what is tested, which prepares that
        pytest.skip("Ray is not installed: pip install 'tfstiff[ray]'")
    from tfstiff.sweeps.on_ray import RayExecutor

    good, bad = sweep.trials
    killed, listening = [], set()
    handler = signal.getsignal(signal.SIGTERM)

    def kill_once_while_it_trains():
        state = sweep.state(good)
        if not killed and len(list(sweep.run_folder(good).glob("records/step-*.npz"))) > 1:
            assert state.pid != os.getpid()
            for process in psutil.Process().children(recursive=True):
                connections = getattr(process, "net_connections", None) or process.connections  # renamed by psutil 6
                listening.update(one.laddr.ip for one in connections() if one.status == psutil.CONN_LISTEN)
            os.kill(state.pid, signal.SIGKILL)
            killed.append(state.pid)

    states = {
        trial.name: state for trial, state in RayExecutor(jobs=2).run(sweep, sweep.trials, kill_once_while_it_trains)
    }
    assert killed
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert listening
    assert capfd.readouterr().out == ""
    assert signal.getsignal(signal.SIGTERM) is handler
    assert (states[good.name].state, states[good.name].attempts) == ("completed", 2)
    assert states[good.name].pid != killed[0]
    assert (states[bad.name].state, states[bad.name].attempts) == ("failed", 1)
    assert "no.such.module" in states[bad.name].error
    run = load_run(sweep.run_folder(good))
    assert [measurement.step for measurement in run.measurements] == [0, 10, 1500]
    assert run.meta["environment"]["OMP_NUM_THREADS"] == "1"
    assert "Training fc" in sweep.log_file(good).read_text()
    assert not list(sweep.folder.glob(".token*"))


def test_without_ray_it_says_what_to_install(monkeypatch):
    from tfstiff.sweeps import on_ray

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidInput, match=r"tfstiff\[ray\]"):
        on_ray.RayExecutor()


# ---- what a node must have


def test_nothing_is_lacking_here(sweep):
    token = sweep.folder / "token"
    token.touch()
    assert lacking(needs_of(sweep.folder, sweep.trials), token) == []


def test_what_is_lacking_is_named(sweep, data, tmp_path):
    needs = needs_of(sweep.folder, sweep.trials)
    assert needs.data == ((f"npz:{data}", None),)
    data.unlink()
    (found,) = lacking(needs)
    assert str(data) in found
    (found,) = lacking(replace(needs, data=(), folder=str(tmp_path / "elsewhere")))
    assert "elsewhere" in found
    (found,) = lacking(replace(needs, data=()), token=sweep.folder / "token")  # the same path, another file system
    assert "another folder" in found
    (found,) = lacking(replace(needs, data=(), directory="/no/such/place"))
    assert "/no/such/place" in found
    versions = (*needs.versions[:-1], ("python", "2.7.1"))
    (found,) = lacking(replace(needs, data=(), versions=versions))
    assert found == f"python is {platform.python_version()} instead of 2.7.1"


def test_data_sets_of_tensorflow_datasets_are_looked_for(tmp_path):
    sweep = plan_sweep(tmp_path / "sweep", [RunSpec("cifar10", data_dir=str(tmp_path))])[0]
    write_sweep(sweep)
    (found,) = lacking(needs_of(sweep.folder, sweep.trials))
    assert "cifar10" in found
    embedded = plan_sweep(tmp_path / "other", [RunSpec()])[0]
    write_sweep(embedded)
    assert lacking(needs_of(embedded.folder, embedded.trials)) == []


def test_a_node_that_lacks_something_does_not_begin(sweep, data):
    needs = needs_of(sweep.folder, sweep.trials)
    data.unlink()
    assert "mine.npz" in run_task(needs, sweep.trials[0].name, "driver", 4)
    assert sweep.state(sweep.trials[0]).state == "waiting"


def test_a_task_that_died_often_enough_is_not_begun_again(sweep):
    trial = sweep.trials[0]
    sweep.record(trial, TrialState(state="running", driver="driver", attempts=4))
    assert "died 4 times" in run_task(needs_of(sweep.folder, sweep.trials), trial.name, "driver", 4)


def test_the_environment_that_is_passed_on(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "/data")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = passed_on(2)
    assert found["TFDS_DATA_DIR"] == "/data"
    assert found["OMP_NUM_THREADS"] == "2"
    assert not {"CUDA_VISIBLE_DEVICES", "SECRET_TOKEN"} & set(found)
