"""A server that starts from Reverb's checkpoint: of the same data, whole, and of nothing else."""

import pytest

from rl_datasets.errors import DatasetError
from rl_datasets.serving.cut import Cut
from tests.optional import optional
from tests.rl_datasets.serving.test_reverb import _items

room = optional("rl_datasets.serving.reverb")
filling = room.filling
ReverbFeed, ReverbServer = room.ReverbFeed, room.ReverbServer

pytestmark = [pytest.mark.timeout(180), pytest.mark.reverb]


@pytest.fixture(params=["published", "published_frames"])
def version(request):
    return request.getfixturevalue(request.param)


def _held(server):
    """Everything that a server holds, in bytes, in an order of its own."""
    return sorted(
        (priority, *(columns[name].tobytes() for name in sorted(columns)))
        for columns, priority in _items(server)
    )


def test_a_server_starts_from_the_checkpoint_of_another(version, tmp_path, monkeypatch, capfd):
    cut = Cut(2, 0.9, 3)
    with ReverbServer.from_published(version, cut=cut, checkpoints=tmp_path) as server:
        schema, held = server.schema.to_json(), _held(server)
    (kept,) = tmp_path.iterdir()
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    for fill in ("fill", "fill_segments"):
        monkeypatch.setattr(filling, fill, lambda *_: pytest.fail("it was filled again"))
    with ReverbServer.from_published(version, cut=cut, checkpoints=tmp_path) as server:
        assert (server.schema.to_json(), _held(server)) == (schema, held)
        assert len(next(ReverbFeed(server.address, 7)).reward) == 7
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before
    assert "checkpoint" not in capfd.readouterr().err  # Reverb says nothing where all is well.


@pytest.mark.parametrize("differs", ["version", "cut", "seed"])
def test_no_server_starts_from_the_checkpoint_of_something_else(
    published, published_frames, tmp_path, differs
):
    options = {"version": published, "cut": Cut(), "seed": 0, "checkpoints": tmp_path}
    other = {"version": published_frames, "cut": Cut(3, 0.5), "seed": 1}[differs]
    with ReverbServer.from_published(**options) as server:
        held = _held(server)
    with ReverbServer.from_published(**options | {differs: other}) as server:
        assert _held(server) != held
        if differs == "cut":
            assert server.schema.cut == other
    assert len(list(tmp_path.iterdir())) == 2


def test_a_fill_that_is_interrupted_leaves_no_checkpoint(version, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        for fill in ("fill", "fill_segments"):
            patch.setattr(filling, fill, interrupted)
        with pytest.raises(KeyboardInterrupt):
            ReverbServer.from_published(version, checkpoints=tmp_path)
    assert not any(path.name.startswith("reverb-") for path in tmp_path.iterdir())
    with ReverbServer.from_published(version, checkpoints=tmp_path) as server:
        assert next(ReverbFeed(server.address, 7)).reward.shape == (7,)


def test_a_damaged_checkpoint_is_refused(published, tmp_path):
    ReverbServer.from_published(published, checkpoints=tmp_path).stop()
    (chunks,) = tmp_path.rglob("chunks.tfrecord")
    content = bytearray(chunks.read_bytes())
    content[len(content) // 2] ^= 1
    chunks.write_bytes(content)
    with pytest.raises(DatasetError, match=r"reverb-[0-9a-f]{16} cannot be read .*delete that fo"):
        ReverbServer.from_published(published, checkpoints=tmp_path)


def test_a_checkpoint_under_another_name_is_refused(published, tmp_path):
    ReverbServer.from_published(published, checkpoints=tmp_path / "mine").stop()
    ReverbServer.from_published(published, cut=Cut(2), checkpoints=tmp_path / "others").stop()
    (mine,), (others,) = (tuple((tmp_path / name).iterdir()) for name in ("mine", "others"))
    mine.rename(tmp_path / "away")
    others.rename(mine)
    with pytest.raises(DatasetError, match="holds the checkpoint of something else: delete that"):
        ReverbServer.from_published(published, checkpoints=tmp_path / "mine")
