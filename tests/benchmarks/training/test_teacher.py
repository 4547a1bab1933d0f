"""Teachers: what they value, where they come from, and what is refused before any training."""

import dataclasses
import json
import pickle

import jax
import numpy as np
import pytest

from benchmarks.training.online import agent_file
from benchmarks.training.online import atari as online_atari
from benchmarks.training.online.atari_schedule import AtariSchedule
from benchmarks.training.teacher import Teacher
from learners import discrete_bc, dqn, qr_dqn, registry
from learners.types import DiscreteSpec
from rl_datasets import files, run_log
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet
from tests.rl_datasets.sources import dopamine_files
from tests.rl_datasets.sources.dopamine_files import NUMBER, network, write_checkpoint

FRAMES = np.random.default_rng(2).integers(0, 256, (3, 84, 84, 4), dtype=np.uint8)
FACTS = {"game": "Pong", "rom_set": RomSet.ALE, "num_actions": 6}


def save_agent(path, name, config, facts=FACTS):
    learner = registry.LEARNERS[name].make(config, DiscreteSpec(facts["num_actions"]))
    state = learner.init(jax.random.PRNGKey(1))
    agent_file.save(path, name, config, state.params, facts)
    return learner, state


def convolved(x, kernel, bias, stride):
    """With padding SAME as TensorFlow defines it, patch by patch."""
    size, outputs = kernel.shape[0], -(-x.shape[0] // stride)
    total = max((outputs - 1) * stride + size - x.shape[0], 0)
    x = np.pad(x, ((total // 2, total - total // 2),) * 2 + ((0, 0),))
    return (
        np.array(
            [
                [
                    np.tensordot(
                        x[i * stride : i * stride + size, j * stride : j * stride + size], kernel, 3
                    )
                    for j in range(outputs)
                ]
                for i in range(outputs)
            ]
        )
        + bias
    )


def values_by_hand(params, stack):
    """Nature DQN in NumPy, in double precision."""
    x = stack / 255.0
    for layer, stride in (("Conv_0", 4), ("Conv_1", 2), ("Conv_2", 1)):
        x = np.maximum(convolved(x, params[layer]["kernel"], params[layer]["bias"], stride), 0)
    x = np.maximum(x.reshape(-1) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"], 0)
    return x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]


class TestDopamines:
    @pytest.fixture
    def run(self, tmp_path):
        run = tmp_path / "Pong" / "1"
        dopamine_files.write_saved(run, only=f"ckpt.{NUMBER}")
        return run

    def test_its_values_are_those_that_dopamine_gives(self, run):
        teacher = Teacher.open(run)
        values = teacher.values(jax.numpy.asarray(FRAMES))
        assert (values.shape, values.dtype) == ((3, 6), np.float32)
        expected = dopamine_files.saved()["values"]
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)
        assert np.std(expected, axis=0).min() > 1e-3
        np.testing.assert_array_equal(teacher.act(FRAMES), np.argmax(expected, axis=-1))

    def test_its_values_are_those_of_a_forward_pass_by_hand(self, tmp_path):
        path = write_checkpoint(tmp_path / "Pong" / "1", network())
        values = Teacher.open(path).values(jax.numpy.asarray(FRAMES[:1]))
        expected = values_by_hand(network(), FRAMES[0])
        np.testing.assert_allclose(values[0], expected, rtol=1e-4, atol=1e-5)

    def test_its_facts_identify_it(self, run, tmp_path):
        teacher = Teacher.open(run)
        assert (teacher.game, teacher.rom_set) == ("Pong", None)
        assert teacher.path == run / "checkpoints" / f"ckpt.{NUMBER}"
        facts = dict(teacher.facts)
        assert len(facts.pop("parameters_sha256")) == 64
        assert json.loads(json.dumps(facts)) == {
            "game": "Pong",
            "learner": "dqn",
            "config": {"network": "dopamine"},
            "checkpoint": NUMBER,
        }
        written = [
            Teacher.open(write_checkpoint(tmp_path / str(n) / "Pong" / "1", params)).facts
            for n, params in enumerate([network(), {"params": network()}])
        ]
        assert written[0] == written[1]
        changed = network()
        changed["Conv_0"]["bias"][0] += 1e-6
        other = Teacher.open(write_checkpoint(tmp_path / "2" / "Pong" / "1", changed))
        assert other.facts != written[0]


class TestOwn:
    @pytest.mark.parametrize(("name", "module"), [("dqn", dqn), ("qr_dqn", qr_dqn)])
    def test_a_file_of_an_agent(self, tmp_path, name, module):
        """Of quantiles the values are the means, as its policy has them."""
        path = tmp_path / "agent.npz"
        learner, state = save_agent(path, name, module.Config())
        teacher = Teacher.open(path)
        values = teacher.values(jax.numpy.asarray(FRAMES))
        assert (values.shape, values.dtype) == ((3, 6), np.float32)
        greedy = learner.act(state, jax.numpy.asarray(FRAMES))
        np.testing.assert_array_equal(np.argmax(values, axis=-1), greedy)
        np.testing.assert_array_equal(teacher.act(FRAMES), greedy)
        assert (teacher.game, teacher.rom_set) == ("Pong", RomSet.ALE)
        assert teacher.facts["learner"] == name
        assert teacher.file_sha256 == files.sha256_of(path)

    def test_the_means_of_quantiles_by_hand(self, tmp_path):
        config = dataclasses.replace(qr_dqn.Config(), num_quantiles=5)
        path = tmp_path / "agent.npz"
        _, state = save_agent(path, "qr_dqn", config)
        params = jax.tree.map(np.asarray, state.params)
        by_hand = {
            flax: {"kernel": params[ours]["w"], "bias": params[ours]["b"]}
            for flax, ours in {
                "Conv_0": "conv2_d",
                "Conv_1": "conv2_d_1",
                "Conv_2": "conv2_d_2",
                "Dense_0": "linear",
            }.items()
        }
        by_hand["Dense_1"] = {"kernel": params["head"]["w"].T, "bias": params["head"]["b"]}
        expected = values_by_hand(by_hand, FRAMES[0]).reshape(6, 5).mean(axis=1)
        values = Teacher.open(path).values(jax.numpy.asarray(FRAMES[:1]))
        np.testing.assert_allclose(values[0], expected, rtol=1e-4, atol=1e-5)

    @pytest.fixture(scope="class")
    def logged(self, tmp_path_factory):
        """A run whose DQN learned for some steps."""
        schedule = AtariSchedule(
            iterations=1,
            steps_per_iteration=60,
            checkpoint_rows=150,
            min_replay=40,
            update_period=20,
            target_period=80,
            batch_size=2,
            max_episode_steps=60,
        )
        folder = tmp_path_factory.mktemp("logged")
        return {
            agent: online_atari.log_run("Pong", folder / agent, agent=agent, schedule=schedule)
            for agent in ("dqn_adam", "random")
        }

    def test_a_logged_run_keeps_its_agent(self, logged):
        home = logged["dqn_adam"]
        teacher = Teacher.open(home)
        assert teacher.path == home / "agent.npz"
        assert teacher.facts["config"] == {
            **dataclasses.asdict(dqn.ADAM),
            "target_period": 4,  # gradient steps
        }
        log = json.loads((home / "log.json").read_text())
        assert log["agent_sha256"] == teacher.file_sha256
        teacher.check_replay("its data", log)
        assert teacher.values(jax.numpy.asarray(FRAMES)).shape == (3, 6)

    def test_a_run_of_no_learner_is_no_teacher(self, logged):
        assert not (logged["random"] / "agent.npz").exists()
        with pytest.raises(DatasetError, match=r"holds a run without its agent, agent\.npz: name"):
            Teacher.open(logged["random"])


class TestRefused:
    @pytest.fixture
    def teacher(self, tmp_path):
        write_checkpoint(tmp_path / "Pong" / "1", network())
        return Teacher.open(tmp_path / "Pong" / "1")

    def test_a_replay_of_another_checkpoint(self, teacher):
        lineage = {"checkpoint": NUMBER, "agent_sha256": teacher.file_sha256}
        teacher.check_replay("data", lineage)
        with pytest.raises(
            DatasetError, match="data is the replay of checkpoint 398, and the teac"
        ):
            teacher.check_replay("data", {"checkpoint": 398, "agent_sha256": "00"})
        with pytest.raises(DatasetError, match="data is not the replay of the teacher"):
            teacher.check_replay("data", {"checkpoint": NUMBER, "agent_sha256": "00"})
        with pytest.raises(DatasetError, match="data is not the replay of the teacher"):
            teacher.check_replay("data", {})

    @pytest.mark.parametrize(
        ("game", "num_actions", "is_same"), [("Pong", 6, True), ("MsPacman", 9, False)]
    )
    def test_another_rom(self, tmp_path, game, num_actions, is_same):
        """Of Pong both sets have the same one."""
        path = tmp_path / "agent.npz"
        facts = {"game": game, "rom_set": RomSet.ALE, "num_actions": num_actions}
        save_agent(path, "dqn", dqn.Config(), facts)
        teacher = Teacher.open(path)
        teacher.check_rom(RomSet.ALE)
        if is_same:
            teacher.check_rom(RomSet.LEGACY)
        else:
            with pytest.raises(DatasetError, match=r"learned MsPacman on the ROM of ale-py 0\.12"):
                teacher.check_rom(RomSet.LEGACY)

    def test_dopamines_does_not_say_its_rom(self, tmp_path):
        """But a description beside its checkpoints may."""
        run = tmp_path / "MsPacman" / "1"
        write_checkpoint(run, network(num_actions=9))
        for rom_set in RomSet:
            Teacher.open(run).check_rom(rom_set)
        log = {"game": "MsPacman", "run": 1, "time_limit": 27_000, "rom_set": RomSet.LEGACY}
        run_log.write(run, log)
        teacher = Teacher.open(run)
        teacher.check_rom(RomSet.LEGACY)
        with pytest.raises(DatasetError, match=r"learned MsPacman on the ROM of atari-py 0\.2\.5"):
            teacher.check_rom(RomSet.ALE)

    def test_what_is_no_teacher(self, tmp_path):
        for path, why in {
            tmp_path / "agent.npz": r"agent\.npz does not exist: name an agent that",
            tmp_path: "holds no checkpoint such as",
            tmp_path / "nowhere": "nowhere does not exist",
            "gs://rl_checkpoints/DQN_400/Pong/1": "only local folders and files can",
        }.items():
            with pytest.raises(DatasetError, match=why):
                Teacher.open(path)

    def test_code(self, tmp_path):
        path = write_checkpoint(tmp_path / "Pong" / "1", network())
        path.write_bytes(pickle.dumps({"online_params": print}))
        with pytest.raises(DatasetError, match=r"holds a builtins\.print as online_params"):
            Teacher.open(path)

    def test_an_agent_that_values_no_actions(self, tmp_path):
        path = tmp_path / "agent.npz"
        save_agent(path, "discrete_bc", discrete_bc.Config())
        with pytest.raises(DatasetError, match="holds a discrete_bc, which has no values"):
            Teacher.open(path)
