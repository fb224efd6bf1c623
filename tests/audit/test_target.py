"""Shape, loss, decay and space of the audited model: from the option, else the file, else said to be guessed."""

import json
from importlib import import_module

import pytest
import torch

from vestige.audit.target import UNSCALED, Stated, read_target
from vestige.core.margins import Loss
from vestige.core.space import InputSpace
from vestige.nets.checkpoint import save_model
from vestige.nets.fully_connected import mlp


def saved(tmp_path, widths=(4, 8, 3), **metadata):
    path = tmp_path / "m.safetensors"
    save_model(mlp(widths, generator=torch.Generator().manual_seed(0)), path, metadata=metadata)
    return path


def test_everything_from_the_file(tmp_path):
    path = saved(
        tmp_path,
        input_shape="[1, 2, 2]",
        loss="mse",
        weight_decay="0.001",
        space=json.dumps({"low": 0.0, "high": 1.0}),
    )
    target = read_target(path)
    assert target.input_shape == (1, 2, 2) and target.outputs == 3 and target.parameters == 4 * 8 + 8 + 8 * 3
    assert target.loss is Loss.MSE and target.loss_source == "from the model file" and target.weight_decay == 1e-3
    assert target.space is not None and target.shown_space.high == 1 and not target.warnings


@pytest.mark.parametrize(("outputs", "loss"), [(1, Loss.LOGISTIC), (3, Loss.CROSS_ENTROPY)])
def test_a_guess_is_said(outputs, loss, tmp_path):
    target = read_target(saved(tmp_path, (4, 8, outputs)))
    assert target.loss is loss and target.loss_source == "guessed" and target.weight_decay is None
    assert any("guessed" in w for w in target.warnings) and any("range of its inputs" in w for w in target.warnings)
    assert target.input_shape == (4,)


def test_options_win(tmp_path):
    target = read_target(saved(tmp_path, loss="mse"), loss="huber", weight_decay=0.0, input_shape=(2, 2))
    assert target.loss is Loss.HUBER and target.loss_source == "given" and target.input_shape == (2, 2)
    assert target.weight_decay == 0.0 and target.decay is None  # known, and none


def test_a_given_range_keeps_the_normalization_of_the_file(tmp_path):
    bare = read_target(saved(tmp_path), space=(-1.0, 1.0))
    assert bare.space is not None and (bare.space.low, bare.space.high, bare.space.mean) == (-1, 1, 0)
    assert not any("range of its inputs" in w for w in bare.warnings)
    path = tmp_path / "centered.safetensors"
    stored, mean = {"space": json.dumps({"low": 0.0, "high": 1.0})}, torch.full((4,), 0.5)
    save_model(mlp((4, 8, 3)), path, metadata=stored, tensors={"mean": mean})
    space = read_target(path, space=(0.0, 255.0)).space
    assert space is not None and (space.low, space.high) == (0, 255) and torch.equal(torch.as_tensor(space.mean), mean)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "hinge"}, "hinge"),
        ({"space": (1.0, 0.0)}, "range 1 0"),
        ({"space": (0.0, float("nan"))}, "range"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"weight_decay": float("nan")}, "finite"),
        ({"input_shape": (5,)}, "input_shape"),
        ({"architecture": "mlp:4-9-3"}, "8"),
        ({"architecture": "transformer"}, "transformer"),
    ],
)
def test_what_does_not_fit_is_refused(options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        read_target(saved(tmp_path), **options)


@pytest.mark.parametrize("metadata", [{"weight_decay": "much"}, {"loss": "hinge"}, {"input_shape": "[-1]"}])
def test_hostile_metadata_is_a_named_error(metadata, tmp_path):
    with pytest.raises(ValueError):
        read_target(saved(tmp_path, **metadata))


def test_a_module_needs_a_shape_and_has_no_architecture_to_give():
    model = mlp((4, 8, 3))
    assert read_target(model).input_shape == (4,) and read_target(model).loaded.architecture == "mlp:4-8-3"
    with pytest.raises(ValueError, match="input_shape"):
        read_target(torch.nn.Linear(4, 3), loss="mse")
    with pytest.raises(ValueError, match="with a file only"):
        read_target(model, architecture="mlp:4-8-3")
    assert read_target(model).loaded.sha256 == read_target(mlp((4, 8, 3))).loaded.sha256
    assert read_target(model).model is not model


def test_the_shape_of_the_inputs_is_that_of_the_data_where_nothing_else_says_it(tmp_path):
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(12, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 3)
    )
    data = (torch.rand(4, 1, 3, 4), torch.arange(4) % 3)
    assert read_target(model, like=data).input_shape == (1, 3, 4)
    assert read_target(model, input_shape=(12,), like=data).input_shape == (12,)
    with pytest.raises(ValueError, match=r"does not say the shape .*--input-shape"):
        read_target(model)
    other = (torch.rand(4, 7), torch.arange(4) % 3)
    with pytest.raises(ValueError, match="does not accept inputs of shape 7"):
        read_target(model, like=other)


class Asked(Exception):
    """What a verb gives to `read_target`."""


@pytest.mark.parametrize("place", ["weights.audit", "robustness.audit_robustness", "unlearning.audit_unlearning",
                                   "membership.audit_membership"])  # fmt: skip
def test_each_verb_takes_the_shape_of_the_inputs_from_its_data(place, monkeypatch):
    module, verb = place.split(".")
    home = import_module(f"vestige.audit.{module}")

    def asked(model, **said):
        raise Asked(said["like"].data)

    monkeypatch.setattr(home, "read_target", asked)
    with pytest.raises(Asked, match="digits"):
        getattr(home, verb)("m.safetensors", data="digits", **({"eps": 0.1} if module == "robustness" else {}))


class Drawn(torch.utils.data.Dataset):
    """Samples that are counted as they are read."""

    def __init__(self):
        self.read = 0

    def __len__(self):
        return 6

    def __getitem__(self, k):
        self.read += 1
        return torch.full((1, 3, 4), k / 6), k % 3


@pytest.mark.parametrize(("place", "more"), [("weights.audit", {"steps": 1}), ("membership.audit_membership", {}),
                                             ("robustness.audit_robustness", {"eps": 0.1})])  # fmt: skip
def test_data_are_read_once(place, more, tmp_path):
    module, verb = place.split(".")
    data = Drawn()
    getattr(import_module(f"vestige.audit.{module}"), verb)(saved(tmp_path, (12, 5, 3)), data=data, **more)
    assert data.read == 6


def test_a_width_is_no_shape_where_the_data_are_images(tmp_path):
    images = (torch.zeros(5, 3, 2, 2), torch.zeros(5, dtype=torch.int64))
    path = saved(tmp_path, (12, 4, 2))
    assert read_target(path, like=images).input_shape == (3, 2, 2)
    assert read_target(path).input_shape == (12,)
    assert read_target(path, like=images, input_shape=(12,)).input_shape == (12,)
    assert read_target(path, like=(torch.zeros(5, 1, 3, 3), images[1])).input_shape == (12,)  # refused with the data
    assert read_target(torch.nn.Sequential(torch.nn.Linear(12, 2)), like=images).input_shape == (12,)  # no Flatten
    told = saved(tmp_path, (12, 4, 2), input_shape="[12]")
    assert read_target(told, like=images).input_shape == (12,)


def test_a_normalization_that_nobody_states_is_asked_for(tmp_path):
    path = saved(tmp_path)
    asked = [read_target(path, space=space).warnings for space in (None, (0, 1), Stated(limits=(0, 1)))]
    assert all(UNSCALED in notes for notes in asked)
    for space in (Stated(mean=0.5), Stated(std=2.0), InputSpace()):
        assert UNSCALED not in read_target(path, space=space).warnings
    told = saved(tmp_path, space='{"low": 0, "high": 1}')
    assert UNSCALED not in read_target(told, space=(0, 1)).warnings
