"""Collections: repeatable to the byte, resumable, and true to the environment."""

import concurrent.futures
import contextlib
import errno
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from rl_datasets import episode_check, errors, files
from rl_datasets.collection import (
    collected_folder,
    collector,
    environments,
    lock_step,
    policies,
    unit_plan,
)
from rl_datasets.sources import collected

TRANSITIONS = 6_000
UNIT_TRANSITIONS = 1_000
RESUMED = 12_000  # Transitions of the collections that are interrupted and continued.


@pytest.fixture(scope="module")
def policy_path(tmp_path_factory):
    """A Hopper policy of random weights: its episodes are short and end by falling."""
    rng = np.random.default_rng(0)
    layers = [
        (rng.normal(0, 0.3, (inputs, outputs)).astype(np.float32), np.zeros(outputs, np.float32))
        for inputs, outputs in [(11, 16), (16, 6)]
    ]
    path = tmp_path_factory.mktemp("policy") / "hopper.npz"
    policies.save_policy(path, layers, {"seed": 0})
    return path


def collect(folder, policy_path, processes=1, **changes):
    arguments = {
        "environment": "Hopper-v4",
        "mixture": "eps1",
        "transitions": TRANSITIONS,
        "seed": 4,
        **changes,
    }
    return collector.collect(
        folder=folder,
        policy_path=policy_path,
        processes=processes,
        show_progress=False,
        **arguments,
    )


def content(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def read_all(collection):
    return [
        each
        for unit in collection.units
        for each in collected.read_unit(collection.folder / unit.file)
    ]


@contextlib.contextmanager
def units_made_small():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(unit_plan, "UNIT_TRANSITIONS", UNIT_TRANSITIONS)
        monkeypatch.setattr(environments, "time_limit", lambda name: 100)
        yield


@pytest.fixture
def small_units():
    with units_made_small():
        yield


@pytest.fixture(scope="module")
def hopper(policy_path, tmp_path_factory):
    return collect(tmp_path_factory.mktemp("hopper") / "collected", policy_path)


def test_workers_need_no_tensorflow():
    check = "import sys, rl_datasets.collection.collector; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_collection_holds_what_was_asked_for(hopper):
    episodes = read_all(hopper)
    for each in episodes:
        episode_check.check_episode(each, hopper.episode_spec())
    transitions_of = [0, 0, 0]
    for each in episodes:
        (policy_id,) = set(each.extras["policy_id"])
        transitions_of[policy_id] += each.num_transitions
    assert transitions_of == [1200, 2400, 2400] == [p.transitions for p in hopper.policies]
    assert hopper.num_episodes == len(episodes)
    assert hopper.dataset == "hopper-v4-eps1-recollected-sac-0a1de72a-n6000-seed4"
    assert collected.read_collection(hopper.folder) == hopper


def test_a_unit_has_at_most_one_cut_episode_its_last(hopper):
    for unit in hopper.units:
        *whole, last = collected.read_unit(hopper.folder / unit.file)
        assert sum(each.num_transitions for each in [*whole, last]) == unit.transitions
        assert all(each.is_terminal[-1] and not each.metadata["is_cut"] for each in whole)
        assert last.metadata["is_cut"] == (not last.is_terminal[-1])


def test_episode_ids_and_seeds_are_unique(hopper):
    episodes = read_all(hopper)
    assert len({each.metadata["episode_id"] for each in episodes}) == len(episodes)
    assert len({each.metadata["environment_seed"] for each in episodes}) == len(episodes)


def test_lineage(hopper, policy_path):
    assert [policy.name for policy in hopper.policies] == ["random", "partial", "partial-eps0.1"]
    assert [policy.epsilon for policy in hopper.policies] == [0, 0, 0.1]
    assert hopper.policies[0].source == ()
    sums = {file.name: files.sha256_of(file) for file in policy_path.parent.iterdir()}
    assert dict(hopper.policies[1].source) == sums
    assert hopper.versions["mujoco"]
    assert hopper.seed == 4


@pytest.mark.parametrize("name", ["Hopper-v4", "HalfCheetah-v4", "Walker2d-v4", "Ant-v4"])
def test_replaying_the_actions_gives_the_same_episodes(tmp_path, monkeypatch, name):
    """A plain gymnasium loop, which shares no code with the collector."""
    monkeypatch.chdir(tmp_path)  # MuJoCo logs its warnings into the working folder.
    mixture = tmp_path / "random.toml"
    mixture.write_text('[[policies]]\nname = "random"\nkind = "uniform"\nweight = 1\n')
    collection = collect(
        tmp_path / "collected", None, environment=name, mixture=mixture, transitions=2_300
    )
    env = gymnasium.make(name, disable_env_checker=True)
    episodes = read_all(collection)
    for each in [*episodes[:4], *episodes[-2:]]:
        observation, _ = env.reset(seed=int(each.metadata["environment_seed"]))
        np.testing.assert_array_equal(each.observation[0], observation.astype(np.float32))
        for t in range(each.num_transitions):
            observation, reward, terminated, truncated, _ = env.step(each.action[t])
            np.testing.assert_array_equal(each.observation[t + 1], observation.astype(np.float32))
            assert each.reward[t] == np.float32(reward)
            assert (terminated or truncated) <= (t == each.num_transitions - 1)
        assert terminated == each.is_terminal[-1]
        assert (terminated or truncated) == (not each.metadata["is_cut"])


def test_a_time_limit_is_no_terminal_and_no_cut(tmp_path):
    collection = collect(
        tmp_path, None, environment="Pendulum-v1", mixture=uniform(tmp_path), transitions=2_500
    )
    episodes = read_all(collection)
    assert [each.num_transitions for each in episodes] == [200] * 12 + [100]
    assert not any(each.is_terminal[-1] for each in episodes)
    assert [bool(each.metadata["is_cut"]) for each in episodes] == [False] * 12 + [True]


def uniform(folder):
    path = folder / "random.toml"
    path.write_text('[[policies]]\nname = "random"\nkind = "uniform"\nweight = 1\n')
    return path


@pytest.mark.parametrize("transitions", [2_000, 2_003, 2_009])
def test_copies_in_lock_step_are_what_one_alone_would_do(tmp_path, monkeypatch, transitions):
    """Of a deterministic policy, every episode is that of its seed, whatever ran beside it."""
    mode = tmp_path / "mode.toml"
    mode.write_text('[[policies]]\nname = "m"\nkind = "tanh_gaussian"\nmode = true\nweight = 1\n')
    constant = [(np.zeros((11, 6), np.float32), np.array([1, -1, 0.5, 0, 0, 0], np.float32))]
    policies.save_policy(tmp_path / "constant.npz", constant, {})
    monkeypatch.setattr(environments, "time_limit", lambda name: 100)  # Ten copies.
    collection = collect(
        tmp_path / "c", tmp_path / "constant.npz", mixture=mode, transitions=transitions
    )
    *whole, last = read_all(collection)
    env = environments.make_gymnasium("Hopper-v4")
    for each in [*whole, last]:
        env.reset(seed=int(each.metadata["environment_seed"]))
        length, terminated = 0, False
        while not terminated:
            *_, terminated, _, _ = env.step(np.tanh([1, -1, 0.5]).astype(np.float32))
            length += 1
        assert each.num_transitions == length or each is last
        assert each.is_terminal[-1] == (each.num_transitions == length)
        assert each.metadata["is_cut"] == (each.num_transitions < length)


def test_same_bytes_with_any_number_of_processes(hopper, policy_path, tmp_path):
    for processes in (1, 2, 3):
        collect(tmp_path / str(processes), policy_path, processes)
        assert content(tmp_path / str(processes)) == content(hopper.folder)


def test_another_seed_gives_other_episodes(hopper, policy_path, tmp_path):
    other = collect(tmp_path, policy_path, seed=5)
    seeds = [{e.metadata["environment_seed"] for e in read_all(c)} for c in (hopper, other)]
    assert not seeds[0] & seeds[1]


def test_units_of_one_policy_differ(policy_path, tmp_path, small_units):
    collection = collect(tmp_path, policy_path, mixture="pure", transitions=2_000)
    assert len(collection.units) == 2
    assert collection.units[0].sha256 != collection.units[1].sha256


def test_whole_units_are_kept_and_damaged_ones_mended(hopper, policy_path, tmp_path, monkeypatch):
    for name, bytes_ in content(hopper.folder).items():
        (tmp_path / name).write_bytes(bytes_)
    damaged = tmp_path / "unit-00001.npz"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    done = []
    original = lock_step.collect_unit
    monkeypatch.setattr(
        lock_step, "collect_unit", lambda job, report: done.append(job) or original(job, report)
    )
    assert collect(tmp_path, policy_path).units == hopper.units
    assert [job.unit.index for job in done] == [1]
    assert content(tmp_path) == content(hopper.folder)
    collect(tmp_path, policy_path)
    assert len(done) == 1


def test_a_unit_with_other_numbers_is_mended(hopper, policy_path, tmp_path):
    for name, bytes_ in content(hopper.folder).items():
        (tmp_path / name).write_bytes(bytes_)
    path = tmp_path / "unit-00000.npz"
    episodes = list(collected.read_unit(path))
    episodes[0].reward[0] += 1
    collected_folder.write_unit(path, episodes)
    collect(tmp_path, policy_path)
    assert content(tmp_path) == content(hopper.folder)


# The workers import this file too, so the small units are theirs as well.
SCRIPT = """
import resource
import sys
from rl_datasets.collection import collector, environments, unit_plan

unit_plan.UNIT_TRANSITIONS = 1_000
environments.time_limit = lambda name: 100

if __name__ == "__main__":
    folder, policy_path, largest_file = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), -1))
    collector.collect(
        "Hopper-v4", "eps1", 12_000, folder, policy_path=policy_path, seed=4, processes=2
    )
"""


def start(tmp_path, policy_path, largest_file=-1):
    """Collects in another session of processes."""
    script = tmp_path / "collect.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "collected"
    process = subprocess.Popen(
        [sys.executable, script, folder, policy_path, str(largest_file)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    return process, folder


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_all_ended(session):
    """Waits for the end of every process of a session."""
    deadline = time.monotonic() + 60
    while any(os.getsid(int(path.name)) == session for path in processes_alive()):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.1)


def processes_alive():
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                yield path


@pytest.fixture(scope="module")
def uninterrupted(policy_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    with units_made_small():
        collect(folder, policy_path, transitions=RESUMED)
    return content(folder)


def test_a_killed_collection_goes_on_to_the_same_bytes(
    policy_path, tmp_path, uninterrupted, small_units, capfd
):
    process, folder = start(tmp_path, policy_path)
    with process:
        wait_for((folder / "unit-00002.npz").exists, process)
        process.kill()
    wait_until_all_ended(process.pid)
    assert not (folder / "collection.json").exists()
    with pytest.raises(errors.DatasetError, match="holds no complete collection"):
        collected.read_collection(folder)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("unit-*.npz")}
    assert 2 <= len(kept) < 12

    for changes in (
        {"seed": 5},
        {"mixture": "eps3"},
        {"transitions": RESUMED + 1},
        {"name": "mine"},
    ):
        with pytest.raises(errors.DatasetError, match="holds another collection"):
            collect(folder, policy_path, **{"transitions": RESUMED, **changes})

    collector.collect(
        "Hopper-v4", "eps1", RESUMED, folder, policy_path=policy_path, seed=4, processes=1
    )
    assert content(folder) == uninterrupted
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert f"{RESUMED}/{RESUMED}" in capfd.readouterr().err


def test_ctrl_c_leaves_whole_units_alone(policy_path, tmp_path, uninterrupted, small_units):
    process, folder = start(tmp_path, policy_path)
    with process:
        wait_for((folder / "unit-00002.npz").exists, process)
        with pytest.raises(errors.DatasetError, match="another process is collecting"):
            collect(folder, policy_path, transitions=RESUMED)
        os.killpg(process.pid, signal.SIGINT)
        stderr = process.stderr.read()
    assert process.returncode == -signal.SIGINT
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    wait_until_all_ended(process.pid)
    left = content(folder)
    assert left.pop("plan.json")
    assert left.items() <= uninterrupted.items()
    collect(folder, policy_path, transitions=RESUMED)
    assert content(folder) == uninterrupted


def test_a_worker_that_cannot_write_says_so(policy_path, tmp_path):
    process, folder = start(tmp_path, policy_path, largest_file=20_000)
    with process:
        stderr = process.stderr.read()
    assert process.returncode == 1
    assert "DatasetError: cannot write" in stderr.splitlines()[-1]
    assert "Exception ignored" not in stderr
    assert [path.name for path in folder.iterdir()] == ["plan.json"]


def test_full_disk_leaves_no_half_unit(hopper, policy_path, tmp_path, monkeypatch):
    synced = []

    def fsync(descriptor):
        synced.append(descriptor)
        if len(synced) == 3:  # The plan, the first unit, the second.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(errors.DatasetError, match=r"unit-00001\.npz \(No space left on device"):
        collect(tmp_path, policy_path)
    assert sorted(content(tmp_path)) == ["plan.json", "unit-00000.npz"]
    collect(tmp_path, policy_path)
    assert content(tmp_path) == content(hopper.folder)


def test_a_worker_that_dies_is_told(policy_path, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        running = thread.submit(collect, tmp_path, policy_path, 2, transitions=150_000)
        while not (children := multiprocessing.active_children()):
            assert not running.done()
            time.sleep(0.01)
        children[0].kill()
        with pytest.raises(errors.DatasetError, match="a collecting process died"):
            running.result(timeout=60)
    assert not multiprocessing.active_children()


def test_a_finished_folder_is_not_another_collection(hopper, policy_path):
    before = content(hopper.folder)
    for changes in ({"seed": 5}, {"transitions": 7_000}, {"mixture": "gaussian1"}):
        with pytest.raises(errors.DatasetError, match="holds another collection"):
            collect(hopper.folder, policy_path, **changes)
    assert content(hopper.folder) == before


def test_units_of_unknown_origin_are_not_overwritten(policy_path, tmp_path):
    (tmp_path / "unit-00000.npz").write_bytes(b"something")
    with pytest.raises(errors.DatasetError, match="holds another collection"):
        collect(tmp_path, policy_path)
    assert content(tmp_path) == {"unit-00000.npz": b"something"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": "eps2"}, "no data configuration 'eps2'"),
        ({"environment": "Hoper-v4"}, "'Hoper-v4' cannot be made"),
        ({"environment": "HalfCheetah-v4"}, "takes 11 observations and gives 3 actions"),
        ({"environment": "CartPole-v1"}, "actions of one axis and bounded"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"processes": 0}, "processes must be 1 or more"),
        ({"transitions": 2}, "2 transitions leave"),
    ],
)
def test_wrong_arguments(policy_path, tmp_path, changes, message):
    with pytest.raises(errors.DatasetError, match=message):
        collect(tmp_path / "collected", policy_path, **changes)
    assert not (tmp_path / "collected").exists()


def test_no_policy_is_shipped_for_every_environment(tmp_path):
    with pytest.raises(errors.DatasetError, match="no policy is shipped for 'Swimmer-v4'"):
        collect(tmp_path, None, environment="Swimmer-v4")


def test_the_folder_must_be_one(policy_path, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.DatasetError, match="cannot make the folder"):
        collect(tmp_path / "file", policy_path)


@pytest.mark.tensorflow
def test_bracs_half_cheetah_policy_runs_as_it_did(shared, tmp_path):
    """Its sampled return was measured as 4292 (deviation 92 an episode), in v4."""
    prefix = shared / "brac/HalfCheetah-v2/agent_partial_target"
    collection = collect(
        tmp_path, prefix, environment="HalfCheetah-v4", mixture="pure", transitions=5_000
    )
    returns = [each.episode_return for each in read_all(collection)]
    assert len(returns) == 5
    assert np.mean(returns) == pytest.approx(4292, abs=200)
    assert collection.dataset == "halfcheetah-v4-pure-recollected-brac-n5000-seed4"


@pytest.mark.parametrize(("environment", "size"), [("Ant-v2", 111), ("Ant-v4", 27)])
@pytest.mark.tensorflow
def test_ants_policies_act_in_either_body(shared, tmp_path, environment, size):
    """BRAC's takes 111 observations, of which the last 84 are zero, and the shipped one 27."""
    prefix = shared / "brac/Ant-v2/agent_partial_target"
    for folder, path in ((tmp_path / "brac", prefix), (tmp_path / "own", None)):
        collection = collect(folder, path, environment=environment, transitions=1_000)
        for each in read_all(collection):
            episode_check.check_episode(each, collection.episode_spec())
            assert each.observation.shape[1] == size
            assert not each.observation[:, 27:].any()


class AlwaysEnds(gymnasium.Env):
    """Terminates in its third step."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self._count += 1
        return np.zeros(1, np.float32), 0.0, self._count == 3, False, {}


@pytest.mark.parametrize(("time_limit", "is_terminal"), [(3, False), (4, True), (None, True)])
def test_the_time_limit_is_the_environments_own(tmp_path, monkeypatch, time_limit, is_terminal):
    """The time limit of three steps comes first by D4RL's rules; one of four is never reached."""
    gymnasium.register("AlwaysEnds-v0", AlwaysEnds, max_episode_steps=time_limit)
    mixture = uniform(tmp_path)
    if time_limit:
        mixture.write_text('protocol = "d4rl"\n' + mixture.read_text())
    try:
        collection = collect(
            tmp_path / "c", None, environment="AlwaysEnds-v0", mixture=mixture, transitions=30
        )
    finally:
        del gymnasium.registry["AlwaysEnds-v0"]
    assert {bool(each.is_terminal[-1]) for each in read_all(collection)} == {is_terminal}


@pytest.fixture(scope="module")
def of_d4rl(shared, tmp_path_factory):
    """Hopper's medium policy in three units."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(unit_plan, "UNIT_TRANSITIONS", 2_000)
        yield collect(
            tmp_path_factory.mktemp("d4rl") / "collected",
            shared / "d4rl" / "hopper_medium-v2.hdf5",
            mixture="medium-v2",
        )


def test_by_d4rls_rules_only_the_very_last_episode_is_cut(of_d4rl):
    assert of_d4rl.dataset.startswith("hopper-v4-medium-v2-recollected-n")
    assert of_d4rl.protocol == "d4rl"
    (policy,) = of_d4rl.policies
    assert [name for name, _ in policy.source] == ["hopper_medium-v2.hdf5"]
    episodes = read_all(of_d4rl)
    for each in episodes:
        episode_check.check_episode(each, of_d4rl.episode_spec())
    assert sum(each.num_transitions for each in episodes) == TRANSITIONS == of_d4rl.num_transitions
    assert len(of_d4rl.units) == 3
    assert not any(each.metadata["is_cut"] for each in episodes[:-1])
    assert all(each.is_terminal[-1] or each.num_transitions == 1000 for each in episodes[:-1])
    # The two published episodes of this policy are 470 and 441 long and return 1465 and 1413.
    lengths = [each.num_transitions for each in episodes[:-1]]
    returns = [each.episode_return for each in episodes[:-1]]
    assert 300 < np.mean(lengths) < 550
    assert 1000 < np.mean(returns) < 1600


def test_d4rls_collection_is_mended_to_the_byte(of_d4rl, shared, tmp_path, monkeypatch):
    monkeypatch.setattr(unit_plan, "UNIT_TRANSITIONS", 2_000)
    folder = pathlib.Path(shutil.copytree(of_d4rl.folder, tmp_path / "again"))
    (folder / "unit-00001.npz").unlink()
    (folder / "unit-00002.npz").write_bytes(b"cut")
    policy = shared / "d4rl" / "hopper_medium-v2.hdf5"
    assert collect(folder, policy, processes=2, mixture="medium-v2").units == of_d4rl.units
    assert content(folder) == content(of_d4rl.folder)


def test_by_d4rls_rules_the_time_limit_comes_first():
    """An environment that ends in its last step: a terminal by BRAC, a time limit by D4RL."""
    observations = np.zeros((51, 1, 3), np.float32)
    actions, rewards = np.zeros((51, 1, 1), np.float32), np.zeros((50, 1), np.float32)
    span = lock_step._Span(0, 0, 7, transitions=50, is_open=False, is_terminal=True)
    for protocol, is_terminal in (("brac", True), ("d4rl", False)):
        unit = unit_plan.Unit(0, 0, 50)
        job = lock_step.Job(unit, "Any-v0", None, 0, pathlib.Path("unit.npz"), 50, protocol)
        (each,) = lock_step._cut_out(job, [span], observations, actions, rewards)
        assert each.is_terminal[-1] == is_terminal
        assert not each.metadata["is_cut"]


def test_d4rls_mixtures_need_d4rls_policy(tmp_path, policy_path):
    with pytest.raises(errors.DatasetError, match="give D4RL's own file"):
        collect(tmp_path / "a", None, mixture="medium-v2")
    planned = collect(tmp_path / "b", policy_path, mixture="medium-v2", transitions=200)
    assert planned.dataset.startswith("hopper-v4-medium-v2-recollected-sac-")
    planned = collect(tmp_path / "c", None, mixture="random-v2", transitions=200)
    assert planned.dataset == "hopper-v4-random-v2-recollected-n200-seed4"


def test_d4rls_policy_must_be_of_the_environment(tmp_path, shared):
    with pytest.raises(errors.DatasetError, match="give the policy of this environment"):
        collect(tmp_path, shared / "d4rl" / "hopper_medium-v2.hdf5", environment="HalfCheetah-v4")


def test_progress_goes_on_from_what_is_whole(monkeypatch):
    told = []

    @contextlib.contextmanager
    def bar(title, total, done):
        assert (title, total, done) == ("collecting", 30, 10)
        yield lambda done, said: told.append(done)

    monkeypatch.setattr(collector.terminal, "bar", bar)
    jobs = [SimpleNamespace(unit=SimpleNamespace(transitions=size)) for size in (10, 20)]
    with collector._progress(True, jobs, jobs[1:]) as advance:
        advance(5)
        advance(15)
    assert told == [15, 30]
