"""What is asked for scores: a callable or a file, where its inputs lie, and data in its shape."""

import pytest
import torch

from vestige.audit.kernel_machine import BlackBoxModel, read_machine
from vestige.core.space import InputSpace
from vestige.reconstruct.kernels.black_box import Scores

RBF = {"kernel": "rbf:gamma=1", "input_shape": (2, 3)}


def scores(x):
    return x.sum(1)


def box(shape=(2, 3), space=None):
    return BlackBoxModel(
        name="b",
        predict=scores,
        kernel="rbf:gamma=1",
        scores=Scores.RAW if hasattr(Scores, "RAW") else next(iter(Scores)),
        input_shape=shape,
        space=space,
        sha256="",
        parameters=0,
        metadata={},
    )


def test_a_callable_is_known_by_its_name_and_needs_its_facts():
    found = read_machine(scores, **RBF)
    assert found.predict is scores and found.name == f"{__name__}:scores" and found.parameters == 0
    assert found.sha256 != read_machine(torch.sum, **RBF).sha256
    for lacking in ({"kernel": "auto", "input_shape": (3,)}, {"kernel": "rbf:gamma=1"}):
        with pytest.raises(ValueError, match="is a callable: give its kernel"):
            read_machine(scores, **lacking)


def test_a_name_is_imported_and_what_is_there_must_be_called():
    assert read_machine("math:fsum", **RBF).predict([0.1] * 10) == 1
    with pytest.raises(ValueError, match="is a float; a function"):
        read_machine("math:pi", **RBF)
    with pytest.raises(ValueError, match="did not load"):
        read_machine("math:nothing", **RBF)


@pytest.mark.parametrize(
    ("space", "center"),
    [
        (None, 0.0),
        (InputSpace(0.0, 1.0), 0.5),
        (InputSpace(-1.0, 3.0), 1.0),
        (InputSpace(0.0, 1.0, 0.25, 0.5), 0.0),  # the mean itself, as the model takes it
        (InputSpace(0.0, 1.0, 0.0, 0.5), 1.0),  # mid-range, divided by the spread
    ],
)
def test_inputs_lie_around_what_a_user_of_the_model_knows(space, center):
    assert box(space=space).center.tolist() == [center] * 6


def test_a_mean_a_channel_is_the_center_of_each():
    space = InputSpace(0.0, 1.0, torch.tensor([0.2, 0.4]), torch.tensor([1.0, 1.0]))
    assert box((2, 1, 2), space).center.tolist() == [0, 0, 0, 0]
    assert box((4,), InputSpace(0.0, 1.0, torch.zeros(4), 1.0)).center.tolist() == [0.5] * 4


def test_data_are_flat_and_normalized_as_the_model_takes_them():
    x = torch.arange(12.0).reshape(2, 6).float()
    assert torch.equal(box().flat(x), x.double())
    torch.testing.assert_close(box(space=InputSpace(0.0, 20.0, 2.0, 4.0)).flat(x), (x.double() - 2) / 4)
    with pytest.raises(ValueError, match="samples of shape 5, the model takes 2x3"):
        box().flat(torch.zeros(2, 5))
