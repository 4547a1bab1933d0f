"""Behaviour policies beside their formulas, and the files that hold them."""

import json

import h5py
import numpy as np
import pytest

from rl_datasets import errors, files
from rl_datasets.collection import policies

LOW, HIGH = np.array([-1, -2], np.float32), np.array([1, 4], np.float32)
MANY = 100_000


def linear(mean, raw):
    """A policy whose mean and raw log std do not depend on the observation."""
    kernel = np.zeros((3, 4), np.float32)
    return [(kernel, np.array([*mean, *raw], np.float32))]


def observations(batch=MANY):
    return np.zeros((batch, 3), np.float32)


def test_uniform():
    action = policies.Uniform(LOW, HIGH)(np.random.default_rng(0), observations())
    assert action.dtype == np.float32
    assert (action >= LOW).all()
    assert (action <= HIGH).all()
    np.testing.assert_allclose(action.mean(axis=0), [0, 1], atol=0.03)
    np.testing.assert_allclose(action.var(axis=0), [4 / 12, 36 / 12], rtol=0.03)


def test_mode_by_hand():
    # hidden = relu([1, -1] * 2 + 0.5) = [2.5, 0]; mean = [2.5, -2.5] * 0.1.
    layers = [
        (2 * np.eye(2, dtype=np.float32), np.full(2, 0.5, np.float32)),
        (
            np.array([[0.1, -0.1, 9, 9], [5, 5, 5, 5]], np.float32),
            np.zeros(4, np.float32),
        ),
    ]
    policy = policies.TanhGaussian(layers, LOW, HIGH, mode=True)
    action = policy(np.random.default_rng(0), np.array([[1, -1]], np.float32))
    np.testing.assert_allclose(action, [[np.tanh(0.25), 1 + 3 * np.tanh(-0.25)]], rtol=1e-6)
    assert action.dtype == np.float32


@pytest.mark.parametrize(("raw", "std"), [(0.0, np.exp(-2.5)), (20.0, 1.0), (-20.0, np.exp(-5.0))])
def test_sample_has_the_gaussian_before_tanh(raw, std):
    policy = policies.TanhGaussian(linear([0.3, -0.2], [raw, raw]), LOW, HIGH)
    action = policy(np.random.default_rng(1), observations())
    assert action.dtype == np.float32
    before = np.arctanh(np.clip((action.astype(np.float64) - [0, 1]) / [1, 3], -1 + 1e-9, 1 - 1e-9))
    np.testing.assert_allclose(np.median(before, axis=0), [0.3, -0.2], atol=0.02 * std)
    spread = np.subtract(*np.quantile(before, [0.841345, 0.158655], axis=0)) / 2
    np.testing.assert_allclose(spread, std, rtol=0.02)
    if std < 0.1:
        assert np.corrcoef(before.T)[0, 1] == pytest.approx(0, abs=0.02)


def test_gaussian_noise():
    mode = policies.TanhGaussian(linear([0, 0], [0, 0]), LOW, HIGH, mode=True)
    action = policies.GaussianNoise(mode, 0.3, LOW, HIGH)(np.random.default_rng(2), observations())
    assert action.dtype == np.float32
    np.testing.assert_allclose(action.mean(axis=0), [0, 1], atol=0.005)
    np.testing.assert_allclose(action.std(axis=0), 0.3, rtol=0.02)


def test_gaussian_noise_is_clipped_inside_the_bounds():
    mode = policies.TanhGaussian(linear([9, 9], [0, 0]), LOW, HIGH, mode=True)
    action = policies.GaussianNoise(mode, 0.1, LOW, HIGH)(np.random.default_rng(3), observations())
    np.testing.assert_allclose(action.max(axis=0), [0.999, 3.999], rtol=1e-6)
    np.testing.assert_allclose((action == action.max(axis=0)).mean(axis=0), 0.5, atol=0.01)


def test_epsilon_noise_replaces_whole_actions():
    mode = policies.TanhGaussian(linear([0, 0], [0, 0]), LOW, HIGH, mode=True)
    action = policies.EpsilonNoise(mode, 0.3, LOW, HIGH)(np.random.default_rng(4), observations())
    assert action.dtype == np.float32
    replaced = (action != [0, 1]).any(axis=1)
    assert replaced.mean() == pytest.approx(0.3, abs=0.006)
    np.testing.assert_allclose(action[replaced].mean(axis=0), [0, 1], atol=0.05)
    np.testing.assert_allclose(action[replaced].var(axis=0), [4 / 12, 36 / 12], rtol=0.04)


def test_both_noises_are_gaussian_then_epsilon():
    mode = policies.TanhGaussian(linear([9, 9], [0, 0]), LOW, HIGH, mode=True)
    policy = policies.with_noise(mode, 0.1, 0.2, LOW, HIGH)
    action = policy(np.random.default_rng(5), observations())
    # Uniform actions are not clipped to the margin; only they reach beyond it or far below.
    assert (action[:, 0] > 0.9991).any()
    assert (action[:, 0] < 0.4).mean() == pytest.approx(0.2 * 0.7, abs=0.006)


def test_no_noise_is_the_policy_itself():
    uniform = policies.Uniform(LOW, HIGH)
    assert policies.with_noise(uniform, 0, 0, LOW, HIGH) is uniform


@pytest.mark.tensorflow
def test_a_batch_is_its_rows(shared):
    source = policies.load_policy(shared / "brac/Hopper-v2/agent_partial_target")
    one = np.ones(3, np.float32)
    policy = policies.TanhGaussian(source.layers, -one, one, mode=True)
    rng = np.random.default_rng(0)
    batch = rng.standard_normal((7, 11)).astype(np.float32)
    rows = np.concatenate([policy(rng, row[None]) for row in batch])
    np.testing.assert_allclose(policy(rng, batch), rows, atol=1e-5)


def test_saved_policy_is_loaded(tmp_path):
    layers = linear([0, 1], [2, 3])
    policies.save_policy(tmp_path / "Mine.npz", layers, {"seed": 7})
    source = policies.load_policy(tmp_path / "Mine.npz")
    for (kernel, bias), (loaded_kernel, loaded_bias) in zip(layers, source.layers, strict=True):
        np.testing.assert_array_equal(kernel, loaded_kernel)
        np.testing.assert_array_equal(bias, loaded_bias)
    assert source.kind == "sac"
    assert [name for name, _ in source.files] == ["Mine.npz", "Mine.json"]
    assert json.loads((tmp_path / "Mine.json").read_text()) == {"seed": 7}


@pytest.mark.tensorflow
def test_brac_policy_by_prefix_or_index(shared):
    prefix = shared / "brac/HalfCheetah-v2/agent_partial_target"
    source = policies.load_policy(prefix)
    assert source.kind == "by"
    sums = dict(source.files)
    assert sums["agent_partial_target.data-00000-of-00001"].startswith("5b62b2701d2b1678")
    assert policies.load_policy(f"{prefix}.index").files == source.files


def test_missing_policy(tmp_path):
    with pytest.raises(errors.DatasetError, match=r"none\.index does not exist"):
        policies.load_policy(tmp_path / "none")
    for name in ("none.npz", "none.hdf5"):
        with pytest.raises(errors.DatasetError, match=rf"there is no policy .*{name}: give the"):
            policies.load_policy(tmp_path / name)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weights": np.zeros(3)}, "no array 'kernel_0'"),
        (
            {"kernel_0": np.zeros((3, 4), np.float32), "bias_0": np.zeros(5, np.float32)},
            "do not match",
        ),
        ({"kernel_0": np.zeros((3, 4)), "bias_0": np.zeros(4)}, "must be float32"),
        (
            {"kernel_0": np.full((3, 4), np.nan, np.float32), "bias_0": np.zeros(4, np.float32)},
            "not finite",
        ),
        (
            {"kernel_0": np.array([{}], object), "bias_0": np.zeros(4, np.float32)},
            "holds more than arrays",
        ),
    ],
)
def test_bad_policy_file(tmp_path, arrays, message):
    path = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(errors.DatasetError, match=rf"bad\.npz.*{message}"):
        policies.load_policy(path)


def test_truncated_policy_file(tmp_path):
    policies.save_policy(tmp_path / "cut.npz", linear([0, 1], [2, 3]), {})
    content = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(errors.DatasetError, match=r"cut\.npz is truncated.*: give the \.npz"):
        policies.load_policy(tmp_path / "cut.npz")


def test_a_policy_of_d4rls_own_file(shared, tmp_path):
    """The mean of the stored actions' Gaussian is tanh's of the mode; spread by rlkit's bounds."""
    path = shared / "d4rl" / "hopper_medium-v2.hdf5"
    source = policies.load_policy(path)
    assert source.kind == "by"
    assert source.files == (("hopper_medium-v2.hdf5", files.sha256_of(path)),)
    assert [kernel.shape for kernel, _ in source.layers] == [(11, 256), (256, 256), (256, 6)]
    with h5py.File(path) as file:
        observation, action = file["observations"][:], file["actions"][:]
    one = np.ones(3, np.float32)
    policy = policies.TanhGaussian(source.layers, -one, one, log_std=source.log_std)
    again = np.stack([policy(np.random.default_rng(i), observation) for i in range(200)])
    before_tanh = np.arctanh(again.astype(np.float64).clip(-1 + 1e-7, 1 - 1e-7))
    normal = (np.arctanh(action) - before_tanh.mean(axis=0)) / before_tanh.std(axis=0)
    assert abs(normal.mean()) < 0.1
    assert abs(normal.std() - 1) < 0.1


def test_rlkit_clips_where_brac_squashes():
    raw = np.array([-30, -3, 0, 5], np.float32)
    np.testing.assert_array_equal(policies.log_std_of_rlkit(raw), [-20, -3, 0, 2])
    np.testing.assert_allclose(policies.log_std_of_brac(raw)[[0, 2]], [-5, -2.5])
