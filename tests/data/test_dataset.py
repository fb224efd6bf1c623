"""Drawing, relabeling and centering."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.space import UNBOUNDED
from vestige.data.dataset import DataSet, binarize, center, comparable, sample
from vestige.data.source import DataError


def make(labels, classes=3):
    n = len(labels)
    return DataSet(
        name="toy", x=torch.arange(n)[:, None] / n, y=torch.tensor(labels), classes=tuple("abcdefgh"[:classes])
    )


def one(x):
    return DataSet(name="t", x=x, y=torch.tensor([0]), classes=("a",))


@given(n=st.integers(1, 29), seed=st.integers(0, 5), balanced=st.booleans())
def test_sample_splits_without_loss_or_overlap(n, seed, balanced):
    data = make([0, 1, 2] * 10)
    chosen, rest = sample(data, n, balanced=balanced, generator=torch.Generator().manual_seed(seed))
    assert len(chosen) == n
    together = torch.cat([chosen.x, rest.x]).flatten().sort().values
    assert torch.equal(together, data.x.flatten())
    counts = torch.bincount(chosen.y, minlength=3)
    if balanced:
        assert int(counts.max() - counts.min()) <= 1
    for part in (chosen, rest):  # labels travel with their samples
        assert torch.equal(part.y, (part.x.flatten() * 30).round().long() % 3)


def test_sample_repeats_by_seed_and_leaves_the_generator_alone():
    data, generator = make([0, 1] * 10), torch.Generator().manual_seed(4)
    before = generator.get_state()
    a, _ = sample(data, 6, generator=generator)
    b, _ = sample(data, 6, generator=generator)
    other, _ = sample(data, 6, generator=torch.Generator().manual_seed(5))
    assert torch.equal(a.x, b.x) and not torch.equal(a.x, other.x)
    assert torch.equal(generator.get_state(), before)


def test_binarize_by_index_and_name():
    data = make([0, 1, 2, 2])
    binary = binarize(data, [0, "c"])
    assert binary.y.tolist() == [1, 0, 1, 1]
    assert binary.classes == ("b", "a/c")


def test_centered_has_zero_mean():
    x, mean = center(make([0, 1, 2, 1]))
    torch.testing.assert_close(x.mean(0), torch.zeros(1))
    assert mean.item() == pytest.approx(0.375)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (lambda: make([0, 3]), "labels run from 0 to 3"),
        (lambda: make([-1, 1]), "labels run from -1"),
        (lambda: one(torch.ones(3, 1)), "3 samples with 1 labels"),
        (lambda: one(255 * torch.ones(1, 1)), "divide by 255"),
        (lambda: one(torch.full((1, 1), torch.nan)), "NaN"),
        (lambda: sample(make([0, 1]), 2), "allowed are 1 to 1"),
        (lambda: sample(make([0, 1]), 0), "allowed are 1 to 1"),
        (lambda: sample(make([0, 0, 0, 0, 1]), 4), "class 'b' has fewer than the 2"),
        (lambda: binarize(make([0, 1]), [7]), "no class 7"),
        (lambda: binarize(make([0, 1]), ["zebra"]), "no class 'zebra'"),
        (lambda: binarize(make([0, 1]), [0, 1, 2]), "keep both sides"),
        (lambda: binarize(make([0, 1]), []), "keep both sides"),
    ],
)
def test_bad_input_is_named(action, said):
    with pytest.raises(DataError, match=said):
        action()


def named(classes, y, x=1.0):
    return DataSet(name="d", x=torch.full((len(y), 2), x), y=torch.tensor(y), classes=classes, space=UNBOUNDED)


def test_other_samples_have_the_class_numbers_of_the_data():
    data = named(("ant", "bee", "cat"), [0, 1, 2])
    assert comparable(named(("ant", "cat"), [0, 1]), data, "held_out").y.tolist() == [0, 2]
    assert comparable(named(("0", "1"), [0, 1]), data, "held_out").y.tolist() == [0, 1]
    assert comparable(named(("10", "2"), [0, 1]), named(("1", "10", "2"), [0]), "held_out").y.tolist() == [1, 2]
    with pytest.raises(DataError, match="held_out has the class 'eel', data have ant, bee, cat"):
        comparable(named(("ant", "eel"), [0, 1]), data, "held_out")


@pytest.mark.parametrize("x", [255.0, 1 / 255])
def test_other_samples_on_another_scale_are_refused(x):
    with pytest.raises(DataError, match="another scale"):
        comparable(named(("0",), [0], x), named(("0",), [0]), "held_out")


def test_samples_that_are_all_zero_are_called_so():
    some, none = named(("0",), [0]), named(("0",), [0], 0.0)
    with pytest.raises(DataError, match=r"^held_out: all values are zero"):
        comparable(none, some, "held_out")
    with pytest.raises(DataError, match=r"^data: all values are zero"):
        comparable(some, none, "held_out")


def test_other_samples_of_another_shape_are_refused():
    other = DataSet(name="o", x=torch.ones(1, 3), y=torch.tensor([0]), classes=("0",))
    with pytest.raises(DataError, match=r"held_out has samples of shape \(3,\), data of \(2,\)"):
        comparable(other, named(("0",), [0]), "held_out")
