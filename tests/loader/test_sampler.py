import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from resnet.loader.sampler import EvaluationSampler, Share, TrainingSampler, in_pieces, permutation

sizes = st.integers(1, 60)
hosts = st.integers(1, 7)


def stream(sampler: TrainingSampler, steps: int) -> list[int]:
    return [int(i) for step in range(steps) for span in sampler.batch(step) for i in span.records]


@given(records=sizes, batch_size=sizes, seed=st.integers(0, 2**63))
def test_every_record_comes_exactly_once_per_epoch_at_any_batch_size(records, batch_size, seed):
    epochs = 3
    steps = -(-epochs * records // batch_size)
    drawn = stream(TrainingSampler(records, batch_size, seed), steps)
    for epoch in range(epochs):
        assert sorted(drawn[epoch * records : (epoch + 1) * records]) == list(range(records))


@given(records=sizes, seed=st.integers(0, 2**63))
def test_the_sampling_order_does_not_depend_on_the_batch_size(records, seed):
    assert stream(TrainingSampler(records, 1, seed), 70)[:60] == stream(TrainingSampler(records, 7, seed), 10)[:60]


def test_every_epoch_and_seed_has_its_own_order():
    orders = [tuple(permutation(seed, epoch, 1000)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4


def test_the_order_of_a_seed_never_changes():
    # A changed order would silently change what a resumed run trains on.
    assert permutation(3, 5, 10).tolist() == [9, 8, 4, 5, 6, 2, 3, 0, 1, 7]


def test_shuffling_moves_images_far_from_their_place():
    moves = np.abs(permutation(0, 0, 10_000).astype(int) - np.arange(10_000))
    assert abs(moves.mean() - 10_000 / 3) < 100  # a uniform permutation moves by a third on average


@given(records=sizes, batch_size=sizes)
def test_evaluation_shows_every_record_once_and_the_last_batch_is_short(records, batch_size):
    sampler = EvaluationSampler(records, batch_size)
    batches = [np.concatenate([s.records for s in sampler.batch(step)]) for step in range(sampler.steps)]
    assert np.concatenate(batches).tolist() == list(range(records))
    assert all(len(batch) == batch_size for batch in batches[:-1])


def places(sampler: TrainingSampler | EvaluationSampler, step: int) -> list[tuple[int, int, int]]:
    """Of each row of a batch: epoch, position and record."""
    spans = sampler.batch(step)
    return [(epoch, position + i, int(record)) for epoch, position, found in spans for i, record in enumerate(found)]


@given(records=sizes, batch_size=sizes, hosts=hosts, step=st.integers(0, 20), seed=st.integers(0, 2**63))
def test_the_shares_of_all_hosts_are_the_batch_of_one_host(records, batch_size, hosts, step, seed):
    shares = [TrainingSampler(records, batch_size, seed, Share(rank, hosts)) for rank in range(hosts)]
    found = [places(sampler, step) for sampler in shares]
    assert [place for own in found for place in own] == places(TrainingSampler(records, batch_size, seed), step)
    assert [len(own) for own in found] == [sampler.batch_size for sampler in shares]


@given(records=sizes, per_host=sizes, hosts=hosts)
def test_hosts_have_equal_shares_of_a_batch_that_can_be_divided(records, per_host, hosts):
    shares = [TrainingSampler(records, per_host * hosts, 0, Share(rank, hosts)) for rank in range(hosts)]
    assert {sampler.batch_size for sampler in shares} == {per_host}


@given(records=sizes, block=sizes, devices=st.integers(1, 4), hosts=hosts, looks=st.integers(1, 3), step=sizes)
def test_an_evaluation_gives_each_host_the_blocks_of_its_own_devices(records, block, devices, hosts, looks, step):
    whole = EvaluationSampler(records, block * devices * hosts, looks)
    shares = [EvaluationSampler(records, block * devices * hosts, looks, Share(rank, hosts)) for rank in range(hosts)]
    found = [places(sampler, step) for sampler in shares]
    assert [place for own in found for place in own] == places(whole, step)
    assert {sampler.steps for sampler in shares} == {whole.steps}
    assert {sampler.batch_size for sampler in shares} == {block * devices}
    own = block * devices
    assert [len(each) for each in found] == [min(max(sum(map(len, found)) - own * r, 0), own) for r in range(hosts)]


@given(records=sizes, batch_size=sizes, step=st.integers(0, 20), size=st.integers(1, 20))
def test_pieces_add_up_to_the_batch_and_stay_within_an_epoch(records, batch_size, step, size):
    spans = TrainingSampler(records, batch_size, 0).batch(step)
    pieces = list(in_pieces(spans, size))
    assert [row for row, _ in pieces] == np.cumsum([0] + [len(p.records) for _, p in pieces])[:-1].tolist()
    assert all(1 <= len(piece.records) <= size for _, piece in pieces)
    assert all(piece.position + len(piece.records) <= records for _, piece in pieces)
    batch = np.concatenate([span.records for span in spans])
    assert np.concatenate([piece.records for _, piece in pieces]).tolist() == batch.tolist()
