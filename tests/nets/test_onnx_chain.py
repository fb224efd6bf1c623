"""Chains in ONNX files compute what onnx's own evaluator computes; what is no chain is refused by its operation."""

import json

import numpy as np
import pytest
import torch

from vestige.nets.checkpoint import CheckpointError, convert, load_model

reference = pytest.importorskip("onnx.reference", reason="needs the extra onnx: make setup")
onnx = pytest.importorskip("onnx", reason="needs the extra onnx: make setup")
node = onnx.helper.make_node
DRAW = np.random.default_rng(0)


def weights(**shapes):
    return {name: DRAW.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def model(path, nodes, tensors, shape, outputs=("out",)):
    inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", *shape])]
    given = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    held = [onnx.numpy_helper.from_array(t, name) for name, t in tensors.items()]
    graph = onnx.helper.make_graph(nodes, "g", inputs, given, initializer=held)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], producer_name="pytorch")
    made.ir_version = 9
    onnx.save(made, path)
    return made


LINEAR = {"w1": (5, 6), "b1": (5,), "w2": (3, 5), "b2": (3,)}
TWO = [
    node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
    node("Relu", ["h"], ["r"]),
    node("Gemm", ["r", "w2", "b2"], ["out"], transB=1),
]
CHAINS = {
    "gemm": (TWO, LINEAR, (6,), "mlp:6-5-3:bias=all"),
    "matmul and add": (
        [
            node("Flatten", ["x"], ["f"]),
            node("MatMul", ["f", "w1"], ["m"]),
            node("Add", ["m", "b1"], ["h"]),
            node("Gelu", ["h"], ["r"]),
            node("MatMul", ["r", "w2"], ["out"]),
        ],
        {"w1": (8, 5), "b1": (5,), "w2": (5, 3)},
        (2, 2, 2),
        "mlp:8-5-3:gelu",
    ),
    "convolutions": (
        [
            node("Conv", ["x", "k1", "c1"], ["h"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("LeakyRelu", ["h"], ["r"]),
            node("AveragePool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["p", "k2"], ["h2"], kernel_shape=[2, 2]),
            node("LeakyRelu", ["h2"], ["r2"]),
            node("Reshape", ["r2", "shape"], ["f"]),
            node("Gemm", ["f", "w"], ["out"], transB=1),
        ],
        {"k1": (4, 1, 3, 3), "c1": (4,), "k2": (2, 4, 2, 2), "w": (3, 2)},
        (1, 8, 8),
        "cnn:1x8x8-c4k3s2-a2-c2k2p0-3:leaky_relu",
    ),
    "silu as torch exports it": (
        [
            node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
            node("Sigmoid", ["h"], ["s"]),
            node("Mul", ["h", "s"], ["r"]),
            node("Gemm", ["r", "w2", "b2"], ["out"], transB=1),
        ],
        LINEAR,
        (6,),
        "mlp:6-5-3:silu:bias=all",
    ),
    "weights that are turned and named again": (
        [
            node("Transpose", ["w1"], ["t"], perm=[1, 0]),
            node("Identity", ["b1"], ["b"]),
            node("MatMul", ["x", "t"], ["m"]),
            node("Add", ["m", "b"], ["h"]),
            *TWO[1:],
        ],
        LINEAR,
        (6,),
        "mlp:6-5-3:bias=all",
    ),
    "pooling before the activation": (
        [
            node("Conv", ["x", "k1"], ["h"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("MaxPool", ["h"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Relu", ["p"], ["r"]),
            node("Flatten", ["r"], ["f"]),
            node("Gemm", ["f", "w"], ["out"], transB=1),
        ],
        {"k1": (4, 1, 3, 3), "w": (3, 36)},
        (1, 6, 6),
        "cnn:1x6x6-c4k3-m2-3:bias=none",
    ),
    "pooling": (
        [
            node("Conv", ["x", "k1"], ["h"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Sigmoid", ["h"], ["s"]),
            node("Mul", ["s", "h"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[3, 3], strides=[3, 3]),
            node("Conv", ["p", "k2"], ["h2"], kernel_shape=[2, 2]),
            node("Sigmoid", ["h2"], ["s2"]),
            node("Mul", ["h2", "s2"], ["r2"]),
            node("GlobalAveragePool", ["r2"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "w"], ["out"], transB=1),
        ],
        {"k1": (4, 1, 3, 3), "k2": (2, 4, 2, 2), "w": (3, 2)},
        (1, 10, 10),
        "cnn:1x10x10-c4k3-m3-c2k2p0-a2-3:silu:bias=none",
    ),
}


@pytest.mark.parametrize("case", CHAINS)
def test_a_chain_computes_what_the_file_does(case, tmp_path):
    nodes, shapes, shape, text = CHAINS[case]
    tensors = weights(**shapes) | ({"shape": np.array([-1, 2])} if case == "convolutions" else {})
    made = model(tmp_path / "m.onnx", nodes, tensors, shape)
    loaded = load_model(tmp_path / "m.onnx")
    assert loaded.architecture == text and loaded.input_shape == shape and loaded.warnings == ()
    x = DRAW.normal(size=(7, *shape)).astype("float32")
    expected = reference.ReferenceEvaluator(made).run(None, {"x": x})[0]
    with torch.no_grad():
        np.testing.assert_allclose(loaded.model(torch.tensor(x)).numpy(), expected, rtol=2e-5, atol=2e-5)


def test_a_softmax_at_the_end_is_left_off_and_said(tmp_path):
    ends = [*TWO[:2], node("Gemm", ["r", "w2", "b2"], ["o"], transB=1), node("Softmax", ["o"], ["out"])]
    tensors = weights(**LINEAR)
    model(tmp_path / "a.onnx", TWO, tensors, (6,))
    model(tmp_path / "b.onnx", ends, tensors, (6,))
    plain, ended = load_model(tmp_path / "a.onnx"), load_model(tmp_path / "b.onnx")
    assert "Softmax" in ended.warnings[0] and plain.sha256 != ended.sha256
    assert torch.equal(plain.model[3].weight, ended.model[3].weight)


SKIP = [*TWO[:2], node("Gemm", ["r", "w2"], ["o"], transB=1), node("Add", ["o", "x"], ["out"])]
BROKEN = {
    "several labels": (
        [*TWO[:2], node("Gemm", ["r", "w2", "b2"], ["o"], transB=1), node("Sigmoid", ["o"], ["out"])],
        LINEAR,
        "several labels a sample",
    ),
    "a skip": (SKIP, {"w1": (5, 6), "b1": (5,), "w2": (6, 5)}, "a skip or a branch before Add"),
    "no activation": (
        [node("Gemm", ["x", "w1", "b1"], ["h"], transB=1), node("Gemm", ["h", "w2", "b2"], ["out"], transB=1)],
        LINEAR,
        "without an activation",
    ),
    "another slope": ([TWO[0], node("LeakyRelu", ["h"], ["r"], alpha=0.2), TWO[2]], LINEAR, "slope 0.2"),
    "a product of two": (
        [TWO[0], node("Sigmoid", ["h"], ["s"]), node("Mul", ["s", "s"], ["r"]), TWO[2]],
        LINEAR,
        "a skip or a branch before Mul",
    ),
    "a gate that is used twice": (
        [TWO[0], node("Sigmoid", ["h"], ["s"]), node("Mul", ["h", "s"], ["r"]), node("Mul", ["r", "s"], ["out"])],
        {"w1": (5, 6), "b1": (5,)},
        "a skip or a branch before Mul",
    ),
    "an approximate gelu": ([TWO[0], node("Gelu", ["h"], ["r"], approximate="tanh"), TWO[2]], LINEAR, "approximate"),
    "a scale": ([node("Gemm", ["x", "w1", "b1"], ["h"], transB=1, alpha=2.0), *TWO[1:]], LINEAR, "scales"),
    "another operation": ([TWO[0], node("Erf", ["h"], ["r"]), TWO[2]], LINEAR, "the operation Erf"),
    "an activation at the end": ([TWO[0], node("Relu", ["h"], ["out"])], LINEAR, "activation at its end"),
    "a bias in the second": (
        [node("Gemm", ["x", "w1"], ["h"], transB=1), *TWO[1:]],
        {"w1": (5, 6), "w2": (3, 5), "b2": (3,)},
        "biases in some layers only",
    ),
    "weights that are computed": (
        [node("Abs", ["x"], ["w"]), node("Gemm", ["x", "w"], ["out"])],
        {},
        "the operation Abs",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_chain_is_refused_by_name(case, tmp_path):
    nodes, shapes, said = BROKEN[case]
    model(tmp_path / "m.onnx", nodes, weights(**shapes), (6,))
    with pytest.raises(CheckpointError, match=said):
        load_model(tmp_path / "m.onnx")


def test_overlapping_pools_and_groups_are_refused(tmp_path):
    conv = node("Conv", ["x", "k"], ["h"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    pool = node("AveragePool", ["r"], ["p"], kernel_shape=[2, 2], strides=[1, 1])
    rest = [node("Relu", ["h"], ["r"]), pool, node("Flatten", ["p"], ["f"]), node("Gemm", ["f", "w"], ["out"])]
    model(tmp_path / "m.onnx", [conv, *rest], weights(k=(2, 2, 3, 3), w=(18, 3)), (2, 4, 4))
    with pytest.raises(CheckpointError, match="blocks overlap"):
        load_model(tmp_path / "m.onnx")
    for pool, said in (
        (node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), "beyond the image"),
        (node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1]), "beyond the image"),
    ):
        model(tmp_path / "m.onnx", [conv, rest[0], pool, *rest[2:]], weights(k=(2, 2, 3, 3), w=(8, 3)), (2, 4, 4))
        with pytest.raises(CheckpointError, match=said):
            load_model(tmp_path / "m.onnx")
    early = [conv, node("MaxPool", ["h"], ["p"], kernel_shape=[2, 2], strides=[2, 2]), node("Gelu", ["p"], ["g"])]
    ends = [node("Flatten", ["g"], ["f"]), node("Gemm", ["f", "w"], ["out"])]
    model(tmp_path / "m.onnx", [*early, *ends], weights(k=(2, 2, 3, 3), w=(8, 3)), (2, 4, 4))
    with pytest.raises(CheckpointError, match="a pooling before Gelu"):
        load_model(tmp_path / "m.onnx")
    grouped = node("Conv", ["x", "k"], ["h"], kernel_shape=[3, 3], group=2)
    model(tmp_path / "m.onnx", [grouped, *rest], weights(k=(2, 1, 3, 3), w=(18, 3)), (2, 4, 4))
    with pytest.raises(CheckpointError, match="groups"):
        load_model(tmp_path / "m.onnx")


def test_weights_elsewhere_and_damage_are_refused(tmp_path):
    made = model(tmp_path / "m.onnx", TWO, weights(**LINEAR), (6,))
    onnx.save(made, tmp_path / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(CheckpointError, match="in another file"):
        load_model(tmp_path / "e.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    for cut in (20, len(whole) // 2, len(whole) - 3):
        (tmp_path / "cut.onnx").write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match="ONNX file"):
            load_model(tmp_path / "cut.onnx")
    with pytest.raises(CheckpointError, match="read as it is"):
        convert(tmp_path / "m.onnx", tmp_path / "out.safetensors")
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_model(tmp_path / "m.onnx", sha256="0" * 64)
    assert json.loads(load_model(tmp_path / "m.onnx").metadata["input_shape"]) == [6]


def test_nodes_that_change_numbers_are_refused(tmp_path):
    rest = [node("Gemm", ["c", "w1"], ["h"], transB=1), *TWO[1:]]
    train = weights(**LINEAR) | {"ratio": np.array(0.5, "f4"), "on": np.array(True)}
    for first in (node("Cast", ["x"], ["c"], to=onnx.TensorProto.INT32), node("Dropout", ["x", "ratio", "on"], ["c"])):
        model(tmp_path / "m.onnx", [first, *rest], train, (6,))
        with pytest.raises(CheckpointError, match=f"a {first.op_type} that changes numbers"):
            load_model(tmp_path / "m.onnx")


@pytest.mark.parametrize(("bias", "is_read"), [((4, 1, 1), True), ((4,), False)])
def test_a_bias_of_a_convolution_runs_along_the_channels(bias, is_read, tmp_path):
    nodes = [
        node("Conv", ["x", "k"], ["m"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Add", ["m", "b"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("Gemm", ["f", "w"], ["out"]),
    ]
    model(tmp_path / "m.onnx", nodes, weights(k=(4, 1, 3, 3), b=bias, w=(64, 3)), (1, 4, 4))
    if is_read:
        assert load_model(tmp_path / "m.onnx").architecture == "cnn:1x4x4-c4k3-3"
        return
    with pytest.raises(CheckpointError, match="an Add that is no bias"):
        load_model(tmp_path / "m.onnx")
