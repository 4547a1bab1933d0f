"""What is said of a path or an option that is of no use."""

import shlex

import pytest


@pytest.mark.parametrize("scheme", ["gs", "s3", "hdfs", "http", "file"])
@pytest.mark.parametrize(
    "command",
    [
        "show synthetic/mine --data-dir data --gif {}",
        "show synthetic/mine --data-dir data --sheet {}",
        "export synthetic/mine arrays {} --data-dir data",
        "collect Hopper-v4 eps1 {} --transitions 10",
        "log-game Pong random {}",
        "train-policy Hopper-v4 {}",
        "train-policy Hopper-v4 out.npz --kind medium --replay {}",
        "reproduce brac_bc --runs-dir {}",
        "reproduce brac_bc --results-dir {}",
        "scores brac_bc {}",
        "report brac_bc {}",
        "roms --folder {}",
        "roms --install --accept --archive {}",
    ],
)
def test_an_object_store_is_refused_where_only_a_path_can_be(run, numbered_folder, command, scheme):
    before = sorted(numbered_folder.rglob("*"))
    outcome = run(*command.format(f"{scheme}://bucket/x").split())
    assert outcome.status == 1
    assert outcome.sentence.startswith(
        f"{scheme}://bucket/x cannot be used, because only local folders"
    )
    assert sorted(numbered_folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("hdfs://host/x", "hdfs://host/x is not the address of a store: name a local folder, or"),
        ("http://host/x", "http://host/x is not the address of a store: name a local folder, or"),
        ("file://x/y", "file://x/y is not the address of a folder: write file:///mnt/folder"),
        ("gs://", "gs:// names no bucket or folder: write gs://<bucket>/<folder>"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        "publish brac collected --data-dir {}",
        "publish brac/x --finish --data-dir {}",
        "list --data-dir {}",
        "show brac/x:1.0.0 --data-dir {}",
        "show {}",
        "verify brac/x:1.0.0 --data-dir {}",
        "verify {}",
        "replay dqn_replay/x:1.0.0 --data-dir {}",
        pytest.param("serve brac/x:1.0.0 --data-dir {}", marks=pytest.mark.reverb),
        pytest.param("serve {}", marks=pytest.mark.reverb),
        "export brac/x:1.0.0 arrays out --data-dir {}",
        "reproduce brac_bc --data-dir {}",
        "catalog {} site",
        "quickstart --data-dir {}",
    ],
)
def test_an_address_of_no_store_is_refused(run, numbered_folder, command, address, told):
    before = sorted(numbered_folder.rglob("*"))
    outcome = run(*command.format(address).split())
    assert outcome.status == 1
    assert outcome.sentence.startswith(told)
    assert sorted(numbered_folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["list --data-dir", "collect Hopper-v4 eps1"])
def test_an_empty_path_is_not_where_one_is(run, numbered_folder, command):
    assert run(*command.split(), "").sentence.startswith("'' names no folder or file")


@pytest.mark.parametrize("dataset", ["brac", "brac/halfcheetah-eps3"])
def test_a_source_that_must_be_local(run, numbered_folder, dataset):
    outcome = run("publish", dataset, "gs://bucket/x")
    assert outcome.sentence.startswith("gs://bucket/x")
    assert "cannot be used, because only local" in outcome.sentence


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("reproduce --rows Hopper*", "--rows needs a TABLE: leave it out"),
        ("reproduce --seeds 3", "--seeds needs a TABLE"),
        ("reproduce corl --rows nosuch", "--rows is of no use with corl, which has no recipe"),
        ("reproduce corl --seed 3 --dry-run", "--seed is of no use with corl"),
        ("roms --accept", "--accept goes with --install"),
        ("roms --archive x.tar.gz", "--archive goes with --install"),
        ("train-policy Hopper-v4 x.txt", "x.txt cannot be the policy's file: its name must end in"),
        ("train-policy Hopper-v4 x.npz --target nan", "--target nan can never be reached"),
        ("publish brac/mine", "name the source that brac/mine is published from, or give --finish"),
        ("publish brac/mine x --finish", "source does not go with --finish: leave it out"),
        ("publish brac/mine --finish --workers 2", "--workers does not go with --finish"),
        ("publish brac/mine --finish", "nothing is staged for "),
        ("quickstart --data-dir gs://bucket/x", "gs://bucket/x cannot be used, because only"),
        ("verify ''", "'' names no folder or file"),
    ],
)
def test_nothing_is_passed_over_in_silence(run, numbered_folder, command, told):
    before = sorted(numbered_folder.rglob("*"))
    outcome = run(*shlex.split(command))
    assert outcome.status == 1
    assert outcome.sentence.startswith(told)
    assert sorted(numbered_folder.rglob("*")) == before
