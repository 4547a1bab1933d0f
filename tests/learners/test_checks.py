"""Arrays of a wrong shape or kind are refused where they come in, by their name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import bc, checks, dqn, iql, losses, rebrac, sac, td3_bc, training
from learners.types import DiscreteSpec, Spec
from tests.learners import plain

SPEC = Spec(3, 2)
GAME = DiscreteSpec(4, (12, 12, 2))
BATCHES = plain.random_batches(2, 16, 3, 2)
KEY = jax.random.PRNGKey(0)
FRAMES = np.zeros((2, 16, 12, 12, 2), np.uint8)
GAMES = BATCHES._replace(
    observation=FRAMES, next_observation=FRAMES, action=np.zeros((2, 16), np.int32), extras={}
)


@pytest.fixture(scope="module", params=["as it is", "on normalized observations"])
def learner(request):
    made = td3_bc.make(td3_bc.Config(hidden_sizes=(8, 8)), SPEC)
    if request.param == "as it is":
        return made
    return training.on_normalized_observations(made, SPEC)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"observation": np.zeros((2, 16, 4))},
            r"observation of shape \[2, 16, 3\], got \[2, 16, 4",
        ),
        ({"observation": np.zeros((2, 16))}, r"observation of shape \[2, 16, 3\], got \[2, 16\]"),
        ({"next_observation": np.zeros((2, 15, 3))}, r"next_observation of .* got \[2, 15, 3\]"),
        ({"action": np.zeros((2, 16, 3))}, r"action of shape \[2, 16, 2\], got \[2, 16, 3\]"),
        ({"action": np.zeros((2, 16))}, r"action of shape \[2, 16, 2\], got \[2, 16\]"),
        ({"reward": np.zeros((2, 16, 1))}, r"reward of shape \[K, B\], got \[2, 16, 1\]"),
        ({"discount": np.zeros((2, 16, 1))}, r"discount of shape \[2, 16\], got \[2, 16, 1\]"),
        ({"discount": np.zeros((2, 1))}, r"discount of shape \[2, 16\], got \[2, 1\]"),
        ({"reward": np.zeros(16)}, r"K batches at once, .* have shape \[16\]"),
        ({"extras": {"next_action": np.zeros((2, 16, 1))}}, r"next_action of .* got \[2, 16, 1\]"),
    ],
)
def test_an_update_refuses_batches_of_another_shape(learner, wrong, said):
    state = learner.init(KEY)
    with pytest.raises(ValueError, match=f"^an update takes.*{said}") as refused:
        learner.update(state, BATCHES._replace(**wrong))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"action": np.zeros((2, 16), np.float32)}, "action of whole numbers, got float32"),
        (
            {"action": np.zeros((2, 16, 1), np.int32)},
            r"action of shape \[2, 16\], got \[2, 16, 1\]",
        ),
        ({"observation": FRAMES / np.float32(255)}, "observation of uint8, got float32"),
        ({"next_observation": FRAMES[..., 1:]}, r"got \[2, 16, 12, 12, 1\]"),
        (
            {"extras": {"teacher_values": np.zeros((2, 16, 3), np.float32)}},
            r"^an update takes teacher_values of shape \[2, 16, 4\], got \[2, 16, 3\]",
        ),
        (
            {"extras": {"teacher_values": np.zeros((2, 16, 4), np.int32)}},
            "^an update takes teacher_values of float32, got int32",
        ),
        (
            {"extras": {"importance": np.zeros(16, np.float32)}},
            r"^an update takes importance of shape \[2, 16\], got \[16\]",
        ),
        (
            {"extras": {"importance": np.zeros((2, 16), np.float16)}},
            "^an update takes importance of float32, got float16",
        ),
    ],
)
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_an_update_refuses_batches_of_other_games(monkeypatch, backend, wrong, said):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    learner = dqn.make(dqn.Config(), GAME)
    state = jax.eval_shape(learner.init, KEY)
    jax.eval_shape(learner.update, state, GAMES)
    with pytest.raises(ValueError, match=said):
        jax.eval_shape(learner.update, state, GAMES._replace(**wrong))


@pytest.mark.parametrize(
    ("shape", "said"), [((3,), r"\[B, 3\], got \[3\]"), ((16, 4), r"\[16, 3\], got \[16, 4\]")]
)
def test_every_policy_refuses_observations_of_another_shape(shape, said):
    for made in (sac.make(sac.Config(), SPEC), iql.make(iql.Config(), SPEC)):
        state, observation = jax.eval_shape(made.init, KEY), np.zeros(shape, np.float32)
        message = f"^a policy takes observation of shape {said}"
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(made.act, state, observation)
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(made.sample, state, KEY, observation)


def test_a_policy_of_games_takes_frames():
    learner = dqn.make(dqn.Config(), GAME)
    state = jax.eval_shape(learner.init, KEY)
    jax.eval_shape(learner.act, state, FRAMES[0])
    with pytest.raises(ValueError, match="a policy takes observation of uint8, got float32"):
        jax.eval_shape(learner.act, state, FRAMES[0] / np.float32(255))


def test_seeds_at_once_are_held_to_the_same():
    together = training.over_seeds(bc.make(bc.Config(hidden_sizes=(8, 8)), SPEC))
    states = together.init(jax.random.split(KEY, 2))
    batches = jax.tree.map(lambda x: np.stack([x, x]), BATCHES)
    with pytest.raises(ValueError, match=r"action of shape \[2, 16, 2\], got \[2, 16, 1\]"):
        together.update(states, batches._replace(action=batches.action[..., :1]))
    with pytest.raises(ValueError, match=r"observation of shape \[16, 3\], got \[16, 2\]"):
        together.act(states, batches.observation[:, 0, :, :2])


def test_a_loss_refuses_what_would_be_spread_over_the_batch():
    """[B] beside [B, 1] would be spread to [B, B], and nothing would say so."""
    q_tm1, target = jnp.ones((2, 4)), jnp.ones((4, 1))
    with pytest.raises(
        ValueError, match=r"^critic_loss takes target_tm1 of shape \[4\], got \[4, 1"
    ):
        losses.critic_loss(q_tm1, target)
    with pytest.raises(
        ValueError, match=r"^policy_loss takes a_tm1 of shape \[4, 2\], got \[4, 1\]"
    ):
        td3_bc.policy_loss(q_tm1[0], jnp.ones((4, 2)), a_tm1=target, weight=1.0)
    with pytest.raises(ValueError, match=r"critic_target takes q_t of shape \[2, 4\], got \[4\]"):
        rebrac.critic_target(target[:, 0], target[:, 0], q_tm1[0], target, target, 0.1)


@pytest.mark.parametrize(
    ("wanted", "shape", "fits"),
    [
        ("", (), True),
        ("", (1,), False),
        ("B", (7,), True),
        ("B", (), False),
        ("3", (3,), True),
        ("3", (4,), False),
        ("B B", (5, 5), True),
        ("B B", (5, 6), False),
        ("...", (), True),
        ("2 ... A", (2, 9), True),
        ("2 ... A", (2, 4, 5, 9), True),
        ("2 ... A", (2,), False),
        ("2 ... A", (3, 4, 9), False),
    ],
)
def test_axes(wanted, shape, fits):
    arrays = {"x": np.zeros(shape)}
    if fits:
        checks.check_shapes("f", {"x": wanted}, arrays)
    else:
        with pytest.raises(ValueError, match="f takes x of shape"):
            checks.check_shapes("f", {"x": wanted}, arrays)


def test_axes_of_one_name_are_of_one_size_everywhere():
    with pytest.raises(ValueError, match=r"f takes y of shape \[4, 5, 2\], got \[4, 6, 2\]"):
        checks.check_shapes(
            "f", {"x": "... A", "y": "... A"}, {"x": np.zeros((4, 5, 2)), "y": np.zeros((4, 6, 2))}
        )
