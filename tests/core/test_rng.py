import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.rng import child, drawing_from, spawn


@given(seed=st.integers(-(2**70), 2**70), names=st.lists(st.text(max_size=5), max_size=3))
def test_same_names_same_stream(seed, names):
    a, b = (torch.randint(2**40, (4,), generator=child(seed, *names)) for _ in range(2))
    assert torch.equal(a, b)


def test_names_and_order_matter():
    seeds = {
        child(*k).initial_seed() for k in [(0,), (1,), (0, "a"), (0, "b"), (0, "a", "b"), (0, "b", "a"), (0, "ab")]
    }
    assert len(seeds) == 7


def test_spawn_leaves_the_users_generator_and_the_global_one_alone():
    generator = torch.Generator().manual_seed(5)
    before, world = generator.get_state(), torch.get_rng_state()
    first = spawn(generator, "x")
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), world)
    assert first.initial_seed() == child(5, "x").initial_seed()
    assert spawn(None, "x").initial_seed() == child(0, "x").initial_seed()


def test_what_draws_from_the_global_generator_draws_from_the_given_one():
    before = torch.get_rng_state()
    with drawing_from(child(0, "layer")):
        one = torch.nn.Linear(3, 2).weight
    with drawing_from(child(0, "layer")):
        same = torch.nn.Linear(3, 2).weight
    assert torch.equal(one, same) and torch.equal(before, torch.get_rng_state())
