"""Data that do not belong to a model are told from data that do, and the usual mistakes are named."""

import json

import pytest
import torch

import vestige as vg
from vestige.audit import audit_unlearning
from vestige.audit.fit import fit_of
from vestige.audit.target import Stated, read_target
from vestige.core.space import InputSpace
from vestige.data.dataset import DataSet
from vestige.report import Level, verdict

MEAN = 0.6


@pytest.fixture(scope="module")
def trained():
    """A network of 10 digits, fitted to pixels minus MEAN."""
    torch.set_default_dtype(torch.float64)
    chosen, _ = vg.data.sample(vg.load_data("digits"), 40)
    start = vg.nets.mlp([64, 60, 10])
    fitted = vg.train_to_margin(start, chosen.x - MEAN, chosen.y, loss="cross_entropy", steps=400).model
    return fitted, chosen


def targeted(model, mean=MEAN):
    return read_target(model, input_shape=(1, 8, 8), space=InputSpace(mean=mean), loss="cross_entropy")


def data(chosen, x=None, y=None):
    x, y = chosen.x if x is None else x, chosen.y if y is None else y
    return DataSet(name="d", x=x, y=y, classes=tuple(map(str, range(10))), space=InputSpace(-1e9, 1e9))


def test_training_data_fit(trained):
    model, chosen = trained
    fit = fit_of(targeted(model), data(chosen))
    assert fit.fits and fit.accuracy == 1 and fit.loss < fit.loss_of_zero and fit.reasons == ()
    assert fit.loss_of_zero == pytest.approx(torch.tensor(10.0).log().item())


def test_where_the_classes_are_right_the_loss_is_named(trained):
    model, chosen = trained
    target = read_target(model, input_shape=(1, 8, 8), space=InputSpace(mean=MEAN), loss="mse")
    fit = fit_of(target, data(chosen))
    assert not fit.fits and fit.accuracy == 1 and "another loss (--loss)" in fit.reasons[1]


MISTAKES = {
    "labels from 1": (lambda x, y: (x, (y + 1).clamp(max=9)), "labels one smaller"),
    "bytes / 255 of 16": (lambda x, y: (x * 16 / 255, y), None),
    "inverted": (lambda x, y: (1 - x, y), "light and dark exchanged"),
    "bytes": (lambda x, y: (255 * x, y), None),
    "shuffled labels": (lambda x, y: (x, y.roll(7)), None),
    "noise": (lambda x, y: (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)), y), None),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_data_on_another_scale_or_with_other_labels_do_not(case, trained):
    change, cause = MISTAKES[case]
    model, chosen = trained
    fit = fit_of(targeted(model), data(chosen, *change(chosen.x, chosen.y)))
    assert not fit.fits and "by chance" in fit.reasons[0]
    assert cause is None or cause in fit.reasons[1]


def test_a_mean_that_nobody_stated_is_named_and_can_be_stated(trained):
    model, chosen = trained
    bare = read_target(model, input_shape=(1, 8, 8), space=(0.0, 1.0), loss="cross_entropy")
    fit = fit_of(bare, data(chosen))
    told = read_target(model, input_shape=(1, 8, 8), space=Stated(limits=(0, 1), mean=MEAN), loss="cross_entropy")
    assert fit_of(told, data(chosen)).accuracy == 1 > fit.accuracy


def test_another_order_of_the_classes_is_named(trained):
    model, chosen = trained
    fit = fit_of(targeted(model), data(chosen, y=9 - chosen.y))
    assert not fit.fits and "another order (9 for 0, 8 for 1" in fit.reasons[1]


def test_colors_that_were_flattened_last_are_named():
    draw = torch.Generator().manual_seed(0)
    x, y = torch.rand(30, 3, 4, 4, generator=draw), torch.arange(30) % 3
    x[torch.arange(30), y] /= 4
    start = vg.nets.mlp([48, 30, 3])
    model = vg.train_to_margin(start, x.movedim(1, -1).flatten(1), y, loss="cross_entropy", steps=400).model
    read = read_target(model, input_shape=(3, 4, 4), space=InputSpace(), loss="cross_entropy")
    fit = fit_of(read, DataSet(name="d", x=x, y=y, classes=tuple("abc")))
    assert not fit.fits and "channels come last (Keras, Flax) the accuracy is 100.0%" in fit.reasons[1]


def test_one_sample_and_one_class_are_no_reason(trained):
    model, chosen = trained
    assert fit_of(targeted(model), data(chosen, chosen.x[:1], chosen.y[:1])).fits


def test_an_untrained_network_fits_nothing(trained):
    _, chosen = trained
    plain = vg.nets.mlp([64, 60, 10], init_scale=10.0, generator=torch.Generator().manual_seed(1))
    assert not fit_of(targeted(plain), data(chosen)).fits


def test_the_verdict_is_inconclusive_only_where_nothing_was_found(trained):
    model, chosen = trained
    fit = fit_of(targeted(model), data(chosen, y=chosen.y.roll(7))).summary
    json.dumps(fit, allow_nan=False)
    nothing = {"reconstruction": {}, "score": {"n": 20, "n_recovered": 0, "rate": 1e-3}}
    level, said = verdict({**nothing, "fit": fit})
    assert level is Level.UNKNOWN and said.startswith("Inconclusive: these data do not fit this model")
    assert verdict({**nothing, "fit": {**fit, "fits": True}})[0] is Level.NOTHING
    found = {"reconstruction": {}, "score": {"n": 20, "n_recovered": 20, "rate": 1e-3}}
    assert verdict({**found, "fit": fit})[0] is Level.LEAKS


def test_unlearning_is_refused_before_any_work(trained):
    model, chosen = trained
    shape = {"input_shape": (1, 8, 8), "space": InputSpace(mean=MEAN), "loss": "cross_entropy"}
    with pytest.raises(ValueError, match="do not fit this model"):
        audit_unlearning(model, data=(chosen.x, chosen.y.roll(7)), forget=[0], **shape)
