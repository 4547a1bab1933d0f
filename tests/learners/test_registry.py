"""That the registry says of every learner what it is."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

import learners
from learners import brac_bc
from learners.registry import LEARNERS
from learners.types import DiscreteSpec, Spec
from tests.learners import plain

SHARED = {  # modules that are no algorithm by themselves
    *("__init__", "action_values", "brac", "candidates", "checks", "distillation"),
    *("image_networks", "losses", "networks", "ranges", "registry", "td3", "training", "types"),
    "value_based",
}
SPECS = {Spec: Spec(3, 2), DiscreteSpec: DiscreteSpec(3, (44, 44, 2))}
FRAMES = np.zeros((2, 6, 44, 44, 2), np.uint8)
ZEROS = np.zeros((2, 6), np.float32)
GAMES_EXTRAS = {"teacher_values": np.zeros((2, 6, 3), np.float32), "importance": ZEROS}
BATCHES = {
    Spec: plain.random_batches(2, 6, 3, 2),
    DiscreteSpec: plain.Batch(FRAMES, ZEROS.astype(np.int32), ZEROS, ZEROS, FRAMES, GAMES_EXTRAS),
}


@pytest.fixture(scope="module", params=LEARNERS)
def made(request):
    entry = LEARNERS[request.param]
    return entry, entry.make(entry.config(), SPECS[entry.spec])


def test_every_algorithm_is_registered_by_the_name_of_its_file():
    files = {path.stem for path in pathlib.Path(learners.__path__[0]).glob("*.py")}
    assert LEARNERS.keys() == files - SHARED
    for name, entry in LEARNERS.items():
        assert entry.config.__module__ == f"learners.{name}"


def test_the_policies_are_the_learners_and_their_words_are_of_its_config(made):
    entry, learner = made
    assert entry.policies.keys() == learner.policies.keys()
    assert learner.act is learner.policies["act"]
    for words in entry.policies.values():
        assert "{" not in words.format(**dataclasses.asdict(entry.config()))


@pytest.mark.parametrize("name", LEARNERS)
def test_an_update_reads_the_extras_that_are_named_and_no_others(name):
    entry = LEARNERS[name]
    small = {f.name: (8,) for f in dataclasses.fields(entry.config) if f.name.endswith("_sizes")}
    config = entry.config(**small)
    learner = entry.make(config, SPECS[entry.spec])
    batches = BATCHES[entry.spec]
    extras = entry.extras(config)

    def metrics(key, names):
        state = learner.init(key)
        if entry.with_behavior:
            state = entry.with_behavior(state, state.params.policy)
        given = batches._replace(extras={name: batches.extras[name] for name in names})
        return learner.update(state, given)[1]

    key = jax.random.PRNGKey(0)
    assert jax.eval_shape(lambda key: metrics(key, extras), key)
    for name in extras:
        with pytest.raises(ValueError, match=name):
            jax.eval_shape(lambda key, left=set(extras) - {name}: metrics(key, left), key)


def test_who_starts_from_a_behaviour_policy_takes_one():
    spec = SPECS[Spec]
    cloned = brac_bc.make(brac_bc.Config(), spec).init(jax.random.PRNGKey(1)).params.policy
    starting = {name for name, entry in LEARNERS.items() if entry.with_behavior}
    assert starting == {"bear", "brac_primal"}
    for name in starting:
        entry = LEARNERS[name]
        state = entry.make(entry.config(), spec).init(jax.random.PRNGKey(0))
        plain.assert_equal(entry.with_behavior(state, cloned).params.divergence, cloned)
