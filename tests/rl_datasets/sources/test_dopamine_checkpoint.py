"""Checkpoints of Dopamine's DQN: where they are, and the network that they hold."""

import os
import pickle

import numpy as np
import pytest

from rl_datasets import errors
from rl_datasets.sources import dopamine_checkpoint
from tests.rl_datasets.sources import dopamine_files
from tests.rl_datasets.sources.dopamine_files import network, write_checkpoint


def read(path):
    return dopamine_checkpoint.read_network(dopamine_checkpoint.find(path))


def assert_is(arrays, expected):
    assert {name: array.dtype for name, array in arrays.items()} == {
        f"{layer}/{name}": np.float32 for layer in expected for name in ("kernel", "bias")
    }
    for layer, of_layer in expected.items():
        for name, array in of_layer.items():
            np.testing.assert_array_equal(arrays[f"{layer}/{name}"], array)


class TestFind:
    @pytest.fixture
    def run(self, tmp_path):
        run = tmp_path / "Pong" / "1"
        for number in (98, 99, 100):
            write_checkpoint(run, {}, number)
        (run / "checkpoints" / "sentinel_checkpoint_complete.100").touch()
        (run / "checkpoints" / "ckpt.txt").touch()
        return run

    @pytest.mark.parametrize(
        ("place", "number"),
        [(".", 100), ("checkpoints", 100), ("checkpoints/ckpt.98", 98)],
    )
    def test_the_last_or_the_one_that_is_named(self, run, place, number):
        found = dopamine_checkpoint.find(run / place)
        assert (found.path, found.number) == (run / "checkpoints" / f"ckpt.{number}", number)
        assert (found.game, found.run) == ("Pong", 1)

    def test_the_network_of_tensorflow_is_beside_the_rest(self, run):
        (run / "checkpoints" / "tf_ckpt-100.index").touch()
        assert dopamine_checkpoint.find(run).path.name == "tf_ckpt-100.index"
        (run / "checkpoints" / "ckpt.101").touch()
        assert dopamine_checkpoint.find(run).path.name == "ckpt.101"

    @pytest.mark.parametrize(
        ("place", "why"),
        [
            ("checkpoints/ckpt.97", "ckpt.97 does not exist: name a local copy"),
            ("checkpoints/ckpt.txt", "ckpt.txt is no checkpoint by its name"),
            ("..", "Pong/1/.. holds no checkpoint such as ckpt.399"),
        ],
    )
    def test_nothing(self, run, place, why):
        with pytest.raises(errors.DatasetError, match=why):
            dopamine_checkpoint.find(run / place)

    @pytest.mark.parametrize("folder", ["Pong/first", "Tetris/1", "Pong/1/again"])
    def test_a_folder_that_names_no_game(self, tmp_path, folder):
        path = write_checkpoint(tmp_path / folder, {})
        with pytest.raises(errors.DatasetError, match="nothing says which game it plays"):
            dopamine_checkpoint.find(path)

    def test_a_file_that_was_moved(self, tmp_path):
        path = write_checkpoint(tmp_path / "Pong" / "1", {})
        (tmp_path / "Pong" / "1" / "saved").mkdir()
        moved = path.rename(tmp_path / "Pong" / "1" / "saved" / path.name)
        with pytest.raises(errors.DatasetError, match="nothing says which game it plays"):
            dopamine_checkpoint.find(moved)

    def test_an_address(self):
        with pytest.raises(errors.DatasetError, match="gs://rl_checkpoints/DQN_400/Pong/1 cannot"):
            dopamine_checkpoint.find("gs://rl_checkpoints/DQN_400/Pong/1")


class TestRead:
    def test_what_dopamine_saved(self, tmp_path):
        """With JAX's arrays, a FrozenDict and the state of an optimiser."""
        dopamine_files.write_saved(tmp_path / "Pong" / "1", only="ckpt.399")
        arrays = read(tmp_path / "Pong" / "1")
        rng = np.random.default_rng(0)
        for layer in network():
            for name, array in sorted(network()[layer].items()):
                scale = 0.1 if name == "bias" else np.prod(array.shape[:-1]) ** -0.5
                expected = scale * np.resize(rng.normal(size=997), array.shape)
                np.testing.assert_allclose(arrays[f"{layer}/{name}"], expected, rtol=1e-6)

    @pytest.mark.parametrize("wrap", [lambda params: params, lambda params: {"params": params}])
    def test_plain_dicts(self, tmp_path, wrap):
        write_checkpoint(tmp_path / "Pong" / "1", wrap(network()))
        assert_is(read(tmp_path / "Pong" / "1"), network())

    def test_names_of_before_linen(self, tmp_path):
        """Which number the layers of all kinds together."""
        names = {"Dense_0": "Dense_3", "Dense_1": "Dense_4"}
        write_checkpoint(
            tmp_path / "Pong" / "1",
            {names.get(name, name): network()[name] for name in reversed(network())},
        )
        assert_is(read(tmp_path / "Pong" / "1"), network())

    @pytest.mark.parametrize("protocol", range(6))
    def test_every_protocol(self, tmp_path, protocol):
        path = write_checkpoint(tmp_path / "Pong" / "1", {})
        small = {f"{layer}/bias": arrays["bias"] for layer, arrays in network().items()}
        path.write_bytes(pickle.dumps({"online_params": network()}, protocol))
        arrays = read(path)
        for name, array in small.items():
            np.testing.assert_array_equal(arrays[name], array)

    @pytest.mark.tensorflow
    def test_variables_of_tensorflow(self, tmp_path):
        folder = tmp_path / "Pong" / "1" / "checkpoints"
        folder.mkdir(parents=True)
        write_tensorflow(folder / "tf_ckpt-199", network())
        assert_is(read(folder.parent), network())
        assert_is(read(folder / "tf_ckpt-199.index"), network())
        (folder / "tf_ckpt-199.data-00000-of-00001").unlink()
        with pytest.raises(errors.DatasetError, match="data-00000-of-00001 does not exist"):
            read(folder.parent)


def write_tensorflow(prefix, params):
    """As TF 1's saver does, with a target network beside."""
    import tensorflow as tf

    names = {
        "Conv_0": "Conv",
        "Dense_0": "fully_connected",
        "Dense_1": "fully_connected_1",
    }
    variables = {}
    for layer, arrays in params.items():
        of_layer = names.get(layer, layer)
        for prefix_of, scale in (("Online", 1), ("Target", 2)):
            variables[f"{prefix_of}/{of_layer}/weights"] = scale * arrays["kernel"]
            variables[f"{prefix_of}/{of_layer}/biases"] = scale * arrays["bias"]
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=list(variables.values()),
    )


class TestRefused:
    def refuse(self, tmp_path, params, why, **others):
        path = write_checkpoint(tmp_path / "Pong" / "1", params, **others)
        with pytest.raises(errors.DatasetError, match=why) as raised:
            read(path)
        assert str(raised.value).startswith(str(path))
        assert "\n" not in str(raised.value)

    def test_another_game(self, tmp_path):
        self.refuse(
            tmp_path,
            network(num_actions=4),
            r"Dense_1/kernel as float32 of shape \(512, 4\), where the DQN of Pong, which has 6 "
            r"actions, has float32 of shape \(512, 6\)",
        )

    def test_another_network(self, tmp_path):
        params = network()
        del params["Conv_2"]
        self.refuse(tmp_path, params, "lacks Conv_2/bias, so it holds another network")
        self.refuse(tmp_path, {**network(), "Dense_2": network()["Dense_1"]}, "has Dense_2/bias")
        self.refuse(tmp_path, {}, "lacks Conv_0/bias")
        self.refuse(tmp_path, network(dtype=np.float64), "as float64 of shape")

    def test_numbers_that_are_not_finite(self, tmp_path):
        params = network()
        params["Conv_1"]["bias"][3] = np.nan
        self.refuse(tmp_path, params, "numbers in Conv_1/bias that are not finite")

    def test_code_in_place_of_an_array(self, tmp_path):
        mark = tmp_path / "mark"
        attack = _Attack(f"touch {mark}")
        system = f"{os.system.__module__}.system"
        params = network()
        for place, wrapped in {
            "online_params": attack,
            "online_params/Conv_1": {**params, "Conv_1": attack},
            "online_params/Conv_1/bias": {**params, "Conv_1": {"kernel": 1, "bias": attack}},
        }.items():
            named = params["Conv_1"]["kernel"]
            if isinstance(wrapped, dict) and isinstance(wrapped["Conv_1"], dict):
                wrapped["Conv_1"]["kernel"] = named
            self.refuse(tmp_path, wrapped, f"holds a {system} as {place}, and only arrays")
        assert not mark.exists()

    def test_code_beside_the_network_is_not_run(self, tmp_path):
        mark = tmp_path / "mark"
        others = {"optimizer_state": _Attack(f"touch {mark}"), "logs": [_Attack(f"touch {mark}")]}
        path = write_checkpoint(tmp_path / "Pong" / "1", network(), **others)
        assert_is(read(path), network())
        assert not mark.exists()
        assert pickle.loads(path.read_bytes())["online_params"]  # Which would have run it.
        assert mark.exists()

    def test_something_else(self, tmp_path):
        path = write_checkpoint(tmp_path / "Pong" / "1", {})
        for content, why in {
            pickle.dumps(
                {"state": 1}
            ): "has no online_params, so it is no checkpoint of a Dopamine",
            pickle.dumps([1]): "holds a list as the checkpoint",
            pickle.dumps({"online_params": [1]}): "holds a list as online_params",
            pickle.dumps({"online_params": {"Conv_0": 1}}): "holds a int as online_params/Conv_0",
            pickle.dumps({"online_params": network()})[:-1000]: "is truncated",
            b"": "is truncated",
        }.items():
            path.write_bytes(content)
            with pytest.raises(errors.DatasetError, match=why):
                read(path)


class _Attack:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)
