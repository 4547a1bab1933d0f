"""The shipped data configurations beside BRAC's, and files of one's own."""

import pytest

from rl_datasets import errors
from rl_datasets.collection import mixtures


# BRAC's data configurations: noise and transitions of each policy in a million, in order.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pure", [("tanh_gaussian", 0, 0, 1_000_000)]),
        (
            "eps1",
            [
                ("uniform", 0, 0, 200_000),
                ("tanh_gaussian", 0, 0, 400_000),
                ("tanh_gaussian", 0, 0.1, 400_000),
            ],
        ),
        (
            "eps3",
            [
                ("uniform", 0, 0, 200_000),
                ("tanh_gaussian", 0, 0, 400_000),
                ("tanh_gaussian", 0, 0.3, 400_000),
            ],
        ),
        (
            "gaussian1",
            [
                ("uniform", 0, 0, 200_000),
                ("tanh_gaussian", 0, 0, 400_000),
                ("tanh_gaussian", 0.1, 0, 400_000),
            ],
        ),
        (
            "gaussian3",
            [
                ("uniform", 0, 0, 200_000),
                ("tanh_gaussian", 0, 0, 400_000),
                ("tanh_gaussian", 0.3, 0, 400_000),
            ],
        ),
    ],
)
def test_shipped_mixtures_are_bracs(name, expected):
    mixture = mixtures.load_mixture(name)
    counts = mixture.counts(1_000_000)
    assert [
        (entry.kind, entry.sigma, entry.epsilon, count)
        for entry, count in zip(mixture.entries, counts, strict=True)
    ] == expected
    assert not any(entry.mode for entry in mixture.entries)
    assert mixture.protocol == mixtures.BRAC


@pytest.mark.parametrize(
    ("name", "kind"),
    [("random-v2", "uniform"), ("medium-v2", "tanh_gaussian"), ("expert-v2", "tanh_gaussian")],
)
def test_shipped_mixtures_are_d4rls(name, kind):
    mixture = mixtures.load_mixture(name)
    assert mixture.protocol == mixtures.D4RL
    (entry,) = mixture.entries
    assert (entry.kind, entry.mode, entry.sigma, entry.epsilon) == (kind, False, 0, 0)


def test_shipped_names():
    of_brac = {"eps1", "eps3", "gaussian1", "gaussian3", "pure"}
    assert set(mixtures.shipped()) == of_brac | {"expert-v2", "medium-v2", "random-v2"}


def test_the_last_policy_gets_the_remainder():
    assert mixtures.load_mixture("eps1").counts(10_004) == [2000, 4001, 4003]


def test_a_users_own_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[policies]]\nname = "a"\nkind = "tanh_gaussian"\nweight = 1\nmode = true\n'
        '[[policies]]\nname = "b"\nkind = "uniform"\nweight = 3\nsigma = 0.1\nepsilon = 1\n'
    )
    assert mixtures.load_mixture(path) == mixtures.Mixture(
        "mine",
        (
            mixtures.MixtureEntry("a", "tanh_gaussian", 1, mode=True),
            mixtures.MixtureEntry("b", "uniform", 3, sigma=0.1, epsilon=1),
        ),
    )
    assert mixtures.load_mixture(str(path)).counts(8) == [2, 6]


@pytest.mark.parametrize("name", ["eps2", "missing.toml", ""])
def test_unknown_mixture_lists_the_known(name):
    with pytest.raises(errors.DatasetError, match="one of eps1, eps3, expert-v2, gaussian1"):
        mixtures.load_mixture(name)


ENTRY = '[[policies]]\nname = "a"\nkind = "uniform"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have policies as one or more tables"),
        ("policies = []", "must have policies as one or more tables"),
        ("policies = 3", "must have policies as one or more tables"),
        ("[policies]", r"tables, each below \[\[policies\]\]"),
        ("[[policies", "is not a TOML file"),
        (ENTRY, "lacks the field 'weight': give a number above 0"),
        (ENTRY + "weight = 0", "weight must be a number above 0, got 0"),
        (ENTRY + "weight = -1", "weight must be a number above 0"),
        (ENTRY + "weight = inf", "weight must be a number above 0"),
        (ENTRY + "weight = nan", "weight must be a number above 0"),
        (ENTRY + 'weight = "2"', "weight must be a number above 0"),
        (ENTRY + "weight = true", "weight must be a number above 0"),
        (ENTRY + "weight = 1\nepsilon = 1.5", "epsilon must be a number from 0 to 1"),
        (ENTRY + "weight = 1\nsigma = -0.1", "sigma must be a number of at least 0"),
        (ENTRY + "weight = 1\nmode = 1", "mode must be true or false"),
        (ENTRY + "weight = 1\nepsilom = 0.1", "no field 'epsilom': did you mean 'epsilon'"),
        ('[[policies]]\nname = ""\nkind = "uniform"\nweight = 1', "name must be a text that is"),
        ('[[policies]]\nname = "a"\nkind = "sac"\nweight = 1', "kind must be 'uniform' or"),
        ('protocol = "mine"\n' + ENTRY + "weight = 1", "protocol must be 'brac' or 'd4rl'"),
        # A key above the tables that is no field was once ignored, and BRAC's protocol taken.
        ('protocl = "d4rl"\n' + ENTRY + "weight = 1", "'protocl': did you mean 'protocol'"),
        ('name = "mine"\n' + ENTRY + "weight = 1", "no field 'name': choose from protocol"),
    ],
)
def test_bad_file_is_named(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(errors.DatasetError, match=rf"bad\.toml.*{message}"):
        mixtures.load_mixture(path)


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(b"# d\xe9j\xe0 vu")
    with pytest.raises(errors.DatasetError, match=r"bad\.toml is not a TOML file"):
        mixtures.load_mixture(path)
