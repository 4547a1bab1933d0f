"""The Reverb feed: the same transitions as from memory, whole or not at all, and never a hang."""

import contextlib
import dataclasses
import errno
import functools
import itertools
import os
import signal
import socket
import subprocess
import sys
import weakref

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.serving import frame_windows, segments
from rl_datasets.serving.arrays import ArrayFeed
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_frame_windows, load_rows
from rl_datasets.serving.packing import pack
from tests.optional import optional
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.serving.conftest import (
    LENGTHS,
    make_episode,
    make_transitions,
    publish_units,
)

reverb, room = optional("reverb"), optional("rl_datasets.serving.reverb")
connections, feeding, ports = room.connection, room.feed, room.port
filling, schemas, serving = room.filling, room.schema, room.server
ReverbFeed, ReverbServer, Schema = room.ReverbFeed, room.ReverbServer, room.Schema

SIZE = 1003  # 15 blocks of 64 and one of 43
TIMEOUT = 20.0

pytestmark = [pytest.mark.timeout(180), pytest.mark.reverb]


@pytest.fixture(scope="module")
def server():
    with ReverbServer(make_transitions(SIZE), fingerprint="abc") as running:
        yield running


def _feed(server, batch_size=32, steps=None):
    return ReverbFeed(server.address, batch_size, steps, timeout=TIMEOUT)


def _items(server):
    """The columns of every item of the table, and its priority, each once, told by its key."""
    connections.wait_until_full(server.address, TIMEOUT)
    items = {}
    client = reverb.Client(server.address)
    for sample in client.sample(schemas.TRANSITIONS, 10_000, emit_timesteps=False):
        # Columns come in the order of their names.
        columns = dict(zip(sorted(server.schema.columns), sample.data, strict=True))
        items[sample.info.key] = (columns, sample.info.priority)
        if len(items) == server.schema.num_blocks:
            return list(items.values())
    raise AssertionError(f"only {len(items)} of {server.schema.num_blocks} items were drawn")


def _rows_of_the_table(server):
    """The rows of every item of a table of blocks."""
    return np.concatenate(
        [
            columns[schemas.ROWS].view(server.schema.row)[: int(priority % schemas.COUNTS)]
            for columns, priority in _items(server)
        ]
    )


def _sorted(rows):
    return sorted(row.tobytes() for row in rows)


def test_the_table_holds_every_transition_once(server):
    assert _sorted(_rows_of_the_table(server)) == _sorted(pack(make_transitions(SIZE)))


def test_a_published_version_is_served_whole_with_its_fingerprint(published):
    options = {"n_step": 2, "gamma": 0.5, "next_action": True}
    with ReverbServer.from_published(published, cut=Cut(**options)) as server:
        assert server.schema.fingerprint == files.sha256_of(published / "MANIFEST.json")
        rows = load_rows(published, cut=Cut(**options))
        assert _sorted(_rows_of_the_table(server)) == _sorted(rows)
        batch = next(_feed(server, batch_size=7))
        assert batch.extras["frame"].shape == (7, 4, 4, 1)
        assert batch.extras["goal"].dtype == np.float64


@pytest.mark.parametrize("steps", [None, 3])
def test_batches_look_as_those_from_memory_and_are_rows_of_the_data(server, steps):
    data = make_transitions(SIZE)
    like = next(ArrayFeed(data, 32, seed=0, steps=steps, on_device=False))
    for batch in itertools.islice(_feed(server, steps=steps), 20):
        shapes = jax.tree.map(lambda field: (field.shape, field.dtype), batch)
        assert shapes == jax.tree.map(lambda field: (field.shape, field.dtype), like)
        index = np.array(batch.extras["policy_id"])
        jax.tree.map(
            np.testing.assert_array_equal,
            batch,
            jax.tree.map(lambda field, index=index: field[index], data),
        )


def test_every_transition_is_equally_likely_those_of_the_short_block_too(server):
    batches = itertools.islice(_feed(server, batch_size=100), 2000)
    drawn = np.concatenate([batch.extras["policy_id"] for batch in batches])
    counts = np.bincount(drawn, minlength=SIZE)
    # Each of 16 blocks is drawn 200,000 / 1003 = 199 times, give or take sqrt(199 * 15 / 16) = 14.
    assert 199 - 6 * 14 < counts.min() <= counts.max() < 199 + 6 * 14


def test_the_rows_of_a_batch_come_from_many_blocks(server):
    blocks = np.empty(SIZE, int)
    order = np.random.default_rng(0).permutation(SIZE)  # the server's seed is 0
    blocks[order] = np.arange(SIZE) // schemas.BLOCK
    batch = next(_feed(server, batch_size=256))
    assert len(np.unique(blocks[batch.extras["policy_id"]])) == server.schema.num_blocks


def _empty(schema):
    return serving._start(serving._tables(schema), None, None)


def test_training_does_not_start_on_a_partial_load():
    rows = pack(make_transitions(SIZE))
    schema = Schema(rows.dtype, SIZE, schemas.BLOCK, "")
    half = _empty(schema)
    address = f"localhost:{half.port}"
    try:
        filling.fill(address, schema, rows[: SIZE // 2], seed=0)
        with pytest.raises(DatasetError, match="holds 8 of 16 blocks after 1 s"):
            ReverbFeed(address, 32, timeout=1)
        # Nor does one that does not ask how many there are: the server gives it nothing.
        samples = feeding._samples({address: schema}, 1)
        assert list(itertools.islice(samples, 1)) == []
    finally:
        half.stop()


CUT = Cut(3, 0.9, 4)


@pytest.fixture(scope="module")
def stacked(published_frames):
    """The transitions of the version with frames, with their stacks, as packed rows."""
    return load_rows(published_frames, cut=CUT)


@pytest.fixture(scope="module")
def frames_server(published_frames):
    with ReverbServer.from_published(published_frames, cut=CUT) as running:
        yield running


def test_images_are_served_as_windows_over_frames_that_are_stored_once(frames_server, stacked):
    layout = frames_server.schema.layout
    assert layout.num_frames == sum(LENGTHS) + len(LENGTHS)
    columns = [columns for columns, _ in _items(frames_server)]
    frames, rows = (
        np.stack([item[name].reshape(-1).view(dtype) for item in columns])
        for name, dtype in ((schemas.FRAMES, layout.frame), (schemas.ROWS, layout.row))
    )
    pool = segments.pool(frames["frame"], rows)
    assert _sorted(pack(frame_windows.cut_out(*pool))) == _sorted(stacked)


def _along_the_first_axis(batches, steps):
    return [jax.tree.map(lambda field, k=k: field[k], batches) for k in range(steps)]


@pytest.mark.parametrize("steps", [None, 3])
def test_batches_of_windows_are_those_of_the_array_feed(
    frames_server, published_frames, stacked, steps
):
    array_feed = ArrayFeed(load_frame_windows(published_frames, cut=CUT), 7, 0, steps)
    feed = _feed(frames_server, 7, steps)
    drawn = [set(), set()]
    for batches in itertools.islice(zip(array_feed, feed, strict=False), 600):
        like, batch = (
            jax.tree.map(lambda field: (field.shape, field.dtype), each) for each in batches
        )
        assert like == batch
        for each, seen in zip(batches, drawn, strict=True):
            singles = [each] if steps is None else _along_the_first_axis(each, steps)
            seen.update(row.tobytes() for single in singles for row in pack(single))
    assert drawn[0] == drawn[1] == {row.tobytes() for row in stacked}


def test_every_window_is_equally_likely_in_every_place(frames_server, stacked):
    number = {row["reward"].tobytes(): index for index, row in enumerate(stacked)}
    assert len(number) == len(stacked)
    rewards = [batch.reward for batch in itertools.islice(_feed(frames_server, 100), 1000)]
    counts = np.array(
        [
            np.bincount([number[reward.tobytes()] for reward in place], minlength=len(stacked))
            for place in (
                np.concatenate([r[:50] for r in rewards]),
                np.concatenate([r[50:] for r in rewards]),
            )
        ]
    )
    # 50,000 / 269 = 186 of each in either half. A segment of 16 is drawn 186 times, give or take
    # 14, and half of its rows fall in one half of the batches, give or take 10.
    assert 186 - 6 * 17 < counts.min() <= counts.max() < 186 + 6 * 17


def test_a_server_of_windows_holds_one_piece_at_a_time():
    references, most = [], 0

    def pieces():
        nonlocal most
        for number in range(20):
            piece = frame_windows.of_episode(make_episode(number, 100), Cut(3, 0.9, 4))
            references.append(weakref.ref(piece.frames))
            most = max(most, sum(reference() is not None for reference in references))
            yield piece

    first = frame_windows.of_episode(make_episode(0, 100), Cut(3, 0.9, 4))
    layout = segments.layout_of(first, 20 * 101, n_step=3)
    with ReverbServer.of_frame_windows(pieces(), layout, 2000) as server:
        assert server.schema.num_transitions == 2000
        assert next(_feed(server)).observation.shape == (32, 5, 6, 4)
    assert most <= 2


def test_training_does_not_start_on_a_part_of_the_windows():
    piece = frame_windows.of_episode(make_episode(0, 100), Cut(3, 0.9, 4))
    layout = segments.layout_of(piece, 303, n_step=3)

    def interrupted():
        yield from [piece, piece]
        raise KeyboardInterrupt

    schema = Schema(layout.row, 300, segments.SEGMENT, "", layout)
    part = _empty(schema)
    address = f"localhost:{part.port}"
    try:
        with pytest.raises(KeyboardInterrupt):
            filling.fill_segments(address, schema, interrupted())
        with pytest.raises(DatasetError, match="holds 12 of 19 blocks after 1 s"):
            ReverbFeed(address, 32, timeout=1)
        assert list(itertools.islice(feeding._samples({address: schema}, 1), 1)) == []
    finally:
        part.stop()


def test_a_fill_that_is_interrupted_stops_the_server(monkeypatch):
    addresses = []

    def interrupted(address, schema, rows, seed):
        addresses.append(address)
        raise KeyboardInterrupt

    monkeypatch.setattr(filling, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ReverbServer(make_transitions(SIZE))
    with pytest.raises(DatasetError, match="no Reverb server answers at " + addresses[0]):
        ReverbFeed(addresses[0], 32, timeout=1)


_LEARNER = """
import sys
import numpy as np
from rl_datasets.serving.reverb import ReverbFeed
feed = ReverbFeed(sys.argv[1], 32, steps=2, timeout=60)
for _ in range(5):
    batch = next(feed)
    assert batch.observation.shape == (2, 32, 3) and np.all(np.isfinite(batch.observation))
print(feed.schema.num_transitions, feed.schema.fingerprint)
"""


def test_serve_feeds_learners_in_other_processes_until_ctrl_c(published):
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}

    def start(code, argument):
        return subprocess.Popen(
            [sys.executable, "-c", code, argument], stdout=subprocess.PIPE, text=True, env=quiet
        )

    serve = "import sys; from rl_datasets.serving.reverb import serve; serve(sys.argv[1])"
    processes = [start(serve, str(published))]
    try:
        line = processes[0].stdout.readline()
        num_transitions = len(load_rows(published))
        assert line.startswith(f"serving {num_transitions} transitions at localhost:")
        address = line.split()[4]
        processes += [start(_LEARNER, address) for _ in range(2)]
        for learner in processes[1:]:
            output, _ = learner.communicate(timeout=120)
            fingerprint = files.sha256_of(published / "MANIFEST.json")
            assert (learner.returncode, output) == (0, f"{num_transitions} {fingerprint}\n")
        processes[0].send_signal(signal.SIGINT)
        assert processes[0].wait(30) == -signal.SIGINT  # as Python ends by a KeyboardInterrupt
        with pytest.raises(DatasetError, match=f"no Reverb server answers at {address}"):
            ReverbFeed(address, 32, timeout=1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()


_ONE = """
import numpy as np
from rl_datasets.serving.reverb import ReverbFeed, ReverbServer
from rl_datasets.serving.transitions import Transition
rows = np.ones((64, 3), np.float32)
server = ReverbServer(Transition(rows, rows, rows[:, 0], rows[:, 0], rows, {}))
"""


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("print(next(ReverbFeed(server.address, 8)).reward.sum())", "8.0"),
        ("server = None; print('let go')", "let go"),
        ("import os, signal, threading\n"
         "threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
         "try: server.wait()\n"
         "except KeyboardInterrupt: print('interrupted')", "interrupted"),
        ("import threading\n"
         "threading.Timer(1, server.stop).start()\n"
         "print(server.wait())", "None"),
    ],
    ids=["left open", "let go", "Ctrl-C", "stopped by another thread"],
)  # fmt: skip
def test_nothing_of_reverbs_is_written_when_a_server_ends(code, shown):
    result = subprocess.run(
        [sys.executable, "-c", _ONE + code],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{shown}\n", "")


_SERVER = """
import sys
from rl_datasets.serving import reverb
from rl_datasets.serving.cut import Cut
version, port, n_step, gamma = sys.argv[1:]
reverb.serve(version, cut=Cut(int(n_step), float(gamma)), port=int(port))
"""
_SERVER_OF_ROWS = """
import sys
import numpy as np
from rl_datasets.serving import packing, reverb
rows = packing.unpack(np.load(sys.argv[1]))
with reverb.ReverbServer(rows, port=int(sys.argv[2]), seed=int(sys.argv[3])) as server:
    print("serving ", flush=True)
    server.wait()
"""


@contextlib.contextmanager
def _serving(*arguments, code=_SERVER):
    """A server in a process of its own, which is killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().startswith("serving ")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _free_port() -> int:
    with socket.create_server(("", 0)) as free:
        return free.getsockname()[1]


def _with_other_rewards(source, index, count):
    for episode in synthetic.read(index, count):
        episode.reward[:-1] += 1000
        yield episode


@pytest.fixture(scope="module")
def other_version(tmp_path_factory):
    """As large as `published` in every way, with other rewards."""
    first = synthetic.unit(0, "", count=12)
    read = functools.partial(_with_other_rewards, "", 0, 12)
    unit = dataclasses.replace(first, read=read)
    return publish_units([unit], synthetic.SPEC, tmp_path_factory.mktemp("other"))


@pytest.mark.parametrize("replaced_by", ["another version", "another cut", "the same"])
def test_a_server_that_is_replaced(published, other_version, replaced_by):
    port = _free_port()
    with _serving(published, port, 2, 0.5):
        feed = ReverbFeed(f"localhost:{port}", 32, timeout=60)
        known = set(load_rows(published, cut=Cut(n_step=2, gamma=0.5))["reward"].tolist())
        assert set(next(feed).reward.tolist()) <= known
    version = other_version if replaced_by == "another version" else published
    gamma = 0.25 if replaced_by == "another cut" else 0.5
    with _serving(version, port, 2, gamma):
        # More than was drawn ahead: a pull is of 4 MB.
        batches = itertools.islice(feed, 20 * feeding.PULL_BYTES // feed.schema.row.itemsize // 32)

        def draw():
            for batch in batches:
                assert set(batch.reward.tolist()) <= known

        if replaced_by == "the same":
            draw()
            return
        message = f"server at localhost:{port} was replaced by one that serves another dataset"
        with pytest.raises(DatasetError, match=message):
            draw()


@pytest.mark.parametrize("is_another", [True, False])
def test_a_server_of_arrays_that_were_never_published_is_replaced(tmp_path, is_another):
    """By one of the same widths and count, or by one of the same rows in another order."""
    data, port = make_transitions(SIZE), _free_port()
    by = data._replace(reward=data.reward + SIZE) if is_another else data
    for name, transitions in (("first", data), ("second", by)):
        np.save(tmp_path / name, pack(transitions))
    with _serving(tmp_path / "first.npy", port, 0, code=_SERVER_OF_ROWS):
        feed = ReverbFeed(f"localhost:{port}", 32, timeout=60)
        assert next(feed).reward.max() < SIZE
    with _serving(tmp_path / "second.npy", port, 1, code=_SERVER_OF_ROWS):
        batches = itertools.islice(feed, 20 * feeding.PULL_BYTES // feed.schema.row.itemsize // 32)
        message = f"server at localhost:{port} was replaced by one that serves another dataset"
        with pytest.raises(DatasetError, match=message) if is_another else contextlib.nullcontext():
            assert all(batch.reward.max() < SIZE for batch in batches)


def test_no_two_servers_of_windows_that_were_never_published_are_one():
    piece = frame_windows.of_episode(make_episode(0, 100))
    layout = segments.layout_of(piece, 101, n_step=1)
    with (
        ReverbServer.of_frame_windows([piece], layout, 100) as one,
        ReverbServer.of_frame_windows([piece], layout, 100) as another,
    ):
        assert one.schema.tag != another.schema.tag


@pytest.mark.parametrize("field", ["fingerprint", "cut", "splits", "num_transitions", "row"])
def test_whatever_a_schema_says_is_in_the_tag_of_its_items(server, field):
    other = {
        "fingerprint": "abd",
        "cut": dataclasses.asdict(Cut(n_step=2)),
        "splits": ("test",),
        "num_transitions": SIZE + 1,
        "row": np.dtype([("reward", np.float32)]),
    }
    schema = dataclasses.replace(server.schema, **{field: other[field]})
    assert schema.tag != server.schema.tag
    assert schemas.COUNTS * (schemas.TAGS - 1) + schemas.BLOCK < 2**53


def test_the_same_schema_has_the_same_tag_in_every_process(server):
    assert Schema.from_json(server.schema.to_json()).tag == server.schema.tag


def test_reverb_says_nothing_where_nothing_is_wrong(published, capfd):
    with ReverbServer.from_published(published) as server:
        next(_feed(server))
    assert "reverb/cc" not in capfd.readouterr().err


def test_a_machine_without_ipv6_serves(monkeypatch):
    """Where the kernel has none; and where it has, but no address of its kind."""
    create = socket.create_server

    def refuse(address, family=socket.AF_INET, **options):
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        return create(address, family=family, **options)

    monkeypatch.setattr(socket, "create_server", refuse)
    ports.check_port(_free_port())
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    port = _free_port()
    ports.check_port(port)
    with create(("", port)), pytest.raises(DatasetError, match=f"cannot listen on port {port}"):
        ports.check_port(port)


def test_a_server_that_is_not_there_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DatasetError, match=f"no Reverb server answers at localhost:{port}"):
        ReverbFeed(f"localhost:{port}", 32, timeout=1)


def test_a_reverb_server_of_something_else_is_refused():
    other = reverb.Server([reverb.Table.queue("replay", 1)])
    try:
        with pytest.raises(DatasetError, match=r"tables \['replay'\]"):
            ReverbFeed(f"localhost:{other.port}", 32, timeout=5)
    finally:
        other.stop()


def test_a_port_that_is_taken_is_named(server):
    port = int(server.address.partition(":")[2])
    with pytest.raises(DatasetError, match=f"cannot listen on port {port}"):
        ReverbServer(make_transitions(3), port=port)


def test_nothing_to_serve_is_refused():
    with pytest.raises(DatasetError, match="no transitions to serve"):
        ReverbServer(make_transitions(0))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 1, "steps": 0},
        {"batch_size": 1, "timeout": 0.0},
        {"batch_size": 1, "timeout": float("nan")},
    ],
)
def test_an_empty_request_is_refused(server, options):
    with pytest.raises(ValueError, match="must be positive"):
        ReverbFeed(server.address, **options)


@hypothesis.given(
    fields=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=10),
        st.tuples(
            st.sampled_from(["f4", "f8", "u1", "i4", "i8", "?"]),
            st.lists(st.integers(1, 5), max_size=3).map(tuple),
        ),
        min_size=1,
        max_size=5,
    ),
    size=st.integers(1, 10**9),
)
@hypothesis.settings(max_examples=50, deadline=None)
def test_the_schema_survives_its_json(fields, size):
    row = np.dtype([(name, kind, shape) for name, (kind, shape) in fields.items()])
    schema = Schema(row, size, 64, "0123", cut=Cut(3, 0.9))
    assert Schema.from_json(schema.to_json()) == schema
    assert (schema.num_blocks - 1) * 64 < size <= schema.num_blocks * 64
