"""A perceptron in a skops file computes what the estimator does; nothing in the file is built or run."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier, MLPRegressor

from vestige.nets.checkpoint import CheckpointError, load_model


def value(content):
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(content)}


def dump(path, estimator, arrays=None, **changed):
    """As skops 0.16 writes it: a tree of nodes, and a file for each array."""
    fields = {"activation": value(estimator.activation), "out_activation_": value(estimator.out_activation_)}
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("coefs_", "intercepts_"):
            nodes = []
            for k, array in enumerate(getattr(estimator, name)):
                file = f"{name}{k}.npy"
                stream = io.BytesIO()
                np.save(stream, array)
                archive.writestr(file, (arrays or {}).get(file, stream.getvalue()))
                nodes.append({"__class__": "ndarray", "__loader__": "NdArrayNode", "type": "numpy", "file": file})
            fields[name] = {"__class__": "list", "__loader__": "ListNode", "content": nodes}
        kind = {"__class__": type(estimator).__name__, "__module__": "sklearn.neural_network._multilayer_perceptron"}
        tree = {**kind, "__loader__": "ObjectNode", "content": {"__class__": "dict", "content": fields}, **changed}
        archive.writestr("schema.json", json.dumps(tree))


@pytest.fixture(scope="module")
def data():
    draw = np.random.default_rng(0)
    return draw.random((30, 4)), np.arange(30) % 3


def fitted(kind, data, classes=3, **options):
    x, y = data
    return kind(hidden_layer_sizes=(5, 6), max_iter=5, random_state=0, **options).fit(x, y % classes)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_classifier_has_the_estimators_probabilities(activation, classes, data, tmp_path):
    estimator = fitted(MLPClassifier, data, classes, activation=activation)
    dump(tmp_path / "m.skops", estimator)
    loaded = load_model(tmp_path / "m.skops")
    outputs = loaded.model(torch.tensor(data[0]))
    expected = estimator.predict_proba(data[0])
    found = torch.sigmoid(outputs[:, 0]) if classes == 2 else outputs.softmax(1)
    np.testing.assert_allclose(found.detach(), expected[:, 1] if classes == 2 else expected, atol=1e-12)
    assert loaded.architecture.startswith("mlp:4-5-6-") and "no weight_decay" in loaded.warnings[0]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_regressor_says_its_loss(data, tmp_path):
    estimator = fitted(MLPRegressor, data)
    dump(tmp_path / "m.skops", estimator)
    loaded = load_model(tmp_path / "m.skops")
    np.testing.assert_allclose(
        loaded.model(torch.tensor(data[0]))[:, 0].detach(), estimator.predict(data[0]), atol=1e-12
    )
    assert loaded.metadata["loss"] == "mse"


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_outputs_that_are_no_class_scores_or_numbers_are_refused(data, tmp_path):
    x, y = data
    dump(tmp_path / "m.skops", fitted(MLPClassifier, (x, np.stack([y % 2, y // 2], 1)), 2))
    with pytest.raises(CheckpointError, match="several labels for each sample"):
        load_model(tmp_path / "m.skops")
    counts = fitted(MLPRegressor, data)
    counts.out_activation_ = "exp"  # of its Poisson loss
    dump(tmp_path / "m.skops", counts)
    with pytest.raises(CheckpointError, match="outputs under 'exp'"):
        load_model(tmp_path / "m.skops")


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_what_is_no_perceptron_or_damaged_is_refused(data, tmp_path):
    estimator = fitted(MLPClassifier, data)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 5)})
    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object))
    cases = [
        ({"__class__": "SVC"}, {}, "holds a SVC"),
        ({"__class__": "Pipeline"}, {}, "Dump its last step; the mean_ of a StandardScaler"),
        ({"__class__": "GridSearchCV"}, {}, "Dump its best_estimator_"),
        ({"content": {"content": {}}}, {}, "was not fitted"),
        ({"content": []}, {}, "not a fitted perceptron"),
        ({}, {"coefs_0.npy": huge.getvalue()}, "claims"),
        ({}, {"coefs_0.npy": objects.getvalue()}, "objects"),
        ({}, {"coefs_0.npy": b"\x93NUMPY"}, "not a fitted perceptron"),
    ]
    for changed, arrays, said in cases:
        dump(tmp_path / "m.skops", estimator, arrays, **changed)
        with pytest.raises(CheckpointError, match=said):
            load_model(tmp_path / "m.skops")
    dump(tmp_path / "m.skops", fitted(MLPClassifier, data, activation="logistic"))
    with pytest.raises(CheckpointError, match="logistic"):
        load_model(tmp_path / "m.skops")
    estimator.coefs_[0] = np.zeros((4, 2000))
    dump(tmp_path / "m.skops", estimator)
    with zipfile.ZipFile(tmp_path / "m.skops") as plain, zipfile.ZipFile(tmp_path / "b.skops", "w", 8) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match="unpacks"):
        load_model(tmp_path / "b.skops", max_bytes=(tmp_path / "b.skops").stat().st_size)
