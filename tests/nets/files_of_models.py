"""Files of all kinds that docs/models.md names, each with the network it should give."""

import pickle
import zipfile

import joblib
import numpy as np
import pytest
import torch
from corpus import FILES
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from test_shards import NAMES, write
from test_skops_file import dump
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)).float()


def stored(change=lambda state: state):
    """A safetensors file of a changed state dict, and the network it should give."""

    def make(folder):
        model = network()
        save_file({k: v.clone().contiguous() for k, v in change(model.state_dict()).items()}, folder / "m.safetensors")
        return folder / "m.safetensors", model

    return make


def pickled(change):
    def make(folder):
        model = network()
        torch.save(change(model), folder / "m.pt")
        return folder / "m.pt", model

    return make


def bytes_of(name):
    def make(folder):
        (folder / "m.safetensors").write_bytes(FILES[name][0])
        return folder / "m.safetensors", None

    return make


def parts(folder, *, whole=True):
    model = network()
    places = {name: NAMES[int(name[0] == "4")] for name in model.state_dict()}
    for place in NAMES:
        save_file({n: t for n, t in model.state_dict().items() if places[n] == place}, folder / place)
    return (write(folder, places) if whole else folder / NAMES[0]), model


def skops(folder, kind="MLPClassifier"):
    draw = np.random.default_rng(0)
    x, y = draw.random((12, 4)), np.arange(12) % 3
    estimator = MLPClassifier((5,), max_iter=1, random_state=0)
    estimator.partial_fit(x, y, classes=[0, 1, 2])
    dump(folder / "m.skops", estimator, __class__=kind)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    for layer, weight, bias in zip(model[::2], estimator.coefs_, estimator.intercepts_, strict=True):
        layer.load_state_dict({"weight": torch.tensor(weight.T), "bias": torch.tensor(bias)})
    return folder / "m.skops", model


def rounded(model, *, rows):
    """int8 numbers and scales of the linear layers, for the whole matrix or each row of it."""
    made = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("weight"):
            scale = tensor.abs().amax(1, keepdim=True) / 127 if rows else tensor.abs().max() / 127
            made[name] = (tensor / scale).round().to(torch.int8)
            made[f"{name}_scale"] = scale
            tensor.copy_(made[name] * scale)
        else:
            made[name] = tensor
    return made


def int8_file(folder):
    model = network()
    save_file({k: v.clone() for k, v in rounded(model, rows=True).items()}, folder / "m.safetensors")
    return folder / "m.safetensors", model


def dynamic(folder):
    """What torch's quantize_dynamic stores, and the network of the rounded weights."""
    model = network()
    made = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    torch.save(made.state_dict(), folder / "m.pt")
    for layer, other in zip(model[::2], made[::2], strict=True):
        layer.weight.data = other.weight().dequantize()
    return folder / "m.pt", model


def four_bits(model):
    return {"w": torch.quantize_per_channel(torch.ones(2, 4), torch.ones(2), torch.zeros(2), 0, torch.quint4x2)}


def qdq(folder):
    pytest.importorskip("onnx", reason="needs the extra onnx: make setup")
    from test_onnx_chain import model, node

    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        node("DequantizeLinear", ["w1", "s1", "z1"], ["w"], axis=0),
        node("Gemm", ["xd", "w", "b1"], ["h"], transB=1),
        node("Relu", ["h"], ["r"]),
        node("DequantizeLinear", ["w2", "s2"], ["v"]),
        node("Gemm", ["r", "v", "b2"], ["out"], transB=1),
    ]
    draw = np.random.default_rng(0)
    numbers = {name: draw.integers(0, 200, shape).astype("u1") for name, shape in (("w1", (5, 6)), ("z1", (5,)))}
    numbers["w2"] = draw.integers(-99, 99, (3, 5)).astype("i1")
    numbers |= {"b1": np.ones(5, "f4"), "b2": np.ones(3, "f4"), "s1": np.linspace(0.1, 0.5, 5, dtype="f4")}
    numbers |= {"s2": np.array(0.25, "f4"), "xs": np.array(0.01, "f4"), "xz": np.array(0, "u1")}
    model(folder / "m.onnx", nodes, numbers, (6,))
    made = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).float()
    made[0].weight.data = torch.tensor((numbers["w1"].astype("f4") - numbers["z1"][:, None]) * numbers["s1"][:, None])
    made[2].weight.data = torch.tensor(numbers["w2"] * np.float32(0.25))
    made[0].bias.data.fill_(1), made[2].bias.data.fill_(1)
    return folder / "m.onnx", made


def integer_arithmetic(folder):
    pytest.importorskip("onnx", reason="needs the extra onnx: make setup")
    from test_onnx_chain import model, node

    model(folder / "m.onnx", [node("DynamicQuantizeLinear", ["x"], ["out", "s", "z"])], {}, (6,))
    return folder / "m.onnx", None


def onnx_file(folder, *, skip=False):
    pytest.importorskip("onnx", reason="needs the extra onnx: make setup")
    from test_onnx_chain import LINEAR, SKIP, TWO, model, weights

    tensors = weights(**({"w1": (5, 6), "b1": (5,), "w2": (6, 5)} if skip else LINEAR))
    model(folder / "m.onnx", SKIP if skip else TWO, tensors, (6,))
    made = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, len(tensors["w2"])))
    if not skip:
        state = {"0.weight": "w1", "0.bias": "b1", "2.weight": "w2", "2.bias": "b2"}
        made.load_state_dict({name: torch.tensor(tensors[held]) for name, held in state.items()})
    return folder / "m.onnx", made


def changed(change):
    """A network that torch's own helpers changed."""

    def make(folder):
        model = network()
        change(model)
        save_file({k: v.clone().contiguous() for k, v in model.state_dict().items()}, folder / "m.safetensors")
        return folder / "m.safetensors", model.eval()

    return make


def written(name, write_it):
    def make(folder):
        write_it(folder / name)
        return folder / name, None

    return make


def flax(state):
    turned = {name.replace("weight", "kernel"): t.T if name.endswith("weight") else t for name, t in state.items()}
    return {f"Dense_{name[0]}.{name[2:]}": t for name, t in turned.items()}


def half(folder):
    model = network().half()
    save_file(model.state_dict(), folder / "m.safetensors")
    return folder / "m.safetensors", model.float()


def renamed(**names):
    return lambda state: {f"{names['_' + k[0]]}{k[1:]}": v for k, v in state.items()}


def averaged(folder):
    model = torch.optim.swa_utils.AveragedModel(network())
    save_file({k: v.clone() for k, v in model.state_dict().items()}, folder / "m.safetensors")
    return folder / "m.safetensors", model.module


def old_weight_norm(model):
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(model[2])
    parametrizations.weight_norm(model[0])


def convolved(folder):
    state = {"0.weight": torch.ones(2, 1, 3, 3), "3.weight": torch.ones(3, 8)}
    save_file(state, folder / "m.safetensors", {"input_shape": "[1, 4, 4]"})
    return folder / "m.safetensors", None


def archive(member):
    def write_it(path):
        with zipfile.ZipFile(path, "w") as made:
            made.writestr(member, b"x")

    return write_it


def folder_with(member):
    def write_it(path):
        path.mkdir()
        (path / member).write_bytes(b"x")

    return written("checkpoint", write_it)


LOOP = {"epoch": 3, "optimizer": {"lr": 0.1}}
MADE = {
    "`.safetensors`": stored(),
    "an index (`model.safetensors.index.json`) with its files beside it": parts,
    "one of several files without the index": lambda folder: parts(folder, whole=False),
    "one of several `.pt` files, by its name (`-00001-of-00002`, `shard2`, `mp_rank_01`)": written(
        "mp_rank_01_model_states.pt", lambda p: torch.save(network().state_dict(), p)
    ),
    "`.pt`, one share of a network split among processes, by its settings (`tp_size`) or tensors (DTensor)": (
        pickled(lambda model: {"model": model.state_dict(), "args": {"tp_size": 2}})
    ),
    "ONNX, a chain of layers (extra `onnx`)": onnx_file,
    "ONNX with integers behind `DequantizeLinear` (QDQ)": qdq,
    "ONNX of quantized arithmetic (`DynamicQuantizeLinear`, `QLinearMatMul`)": integer_arithmetic,
    "ONNX with skips, attention and the like": lambda folder: onnx_file(folder, skip=True),
    "skops, `MLPClassifier` or `MLPRegressor` of scikit-learn": skops,
    "skops, another estimator, several labels a sample, a Poisson loss": lambda folder: skops(
        folder, "LogisticRegression"
    ),
    "`.pt`, a state dict": pickled(lambda model: model.state_dict()),
    "`.ckpt`, a checkpoint of a training loop with settings beside the weights": pickled(
        lambda model: {"state_dict": model.state_dict(), **LOOP}
    ),
    "`.pt`, weights and an epoch or settings in one dictionary": pickled(lambda model: {**model.state_dict(), **LOOP}),
    "`.ckpt` or `.pt`, several state dicts: an average, a teacher, parts": pickled(
        lambda model: {"state_dict": model.state_dict(), "callbacks": {"EMA": {"ema_weights": model.state_dict()}}}
    ),
    "`.pt`, a whole model (`torch.save(model)`)": pickled(lambda model: model),
    "`.pt`, no weights: the state of an optimizer or a scheduler, settings, NumPy arrays": pickled(
        lambda model: torch.optim.Adam(model.parameters()).state_dict()
    ),
    "a pickle that `torch.save` did not write": written(
        "m.pkl", lambda p: p.write_bytes(pickle.dumps(network().state_dict()))
    ),
    "`.pt`, sparse tensors": pickled(lambda model: {"w": torch.eye(3).to_sparse()}),
    "`.pt`, quantized tensors, of `quantize_dynamic` too": dynamic,
    "`.pt`, quantized tensors of 4 bits": pickled(four_bits),
    "TorchScript": written("m.pt", archive("m/constants.pkl")),
    "`torch.export` (`.pt2`)": written("m.pt2", archive("m/archive_format")),
    "Keras (`.keras`, `.h5`)": written("m.h5", lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(60))),
    "a pickled estimator of scikit-learn, or joblib": written("m.pkl", lambda p: joblib.dump(LogisticRegression(), p)),
    "`.npz`": written("m.npz", lambda p: np.savez(p, w=np.ones((2, 2)))),
    "GGUF, MATLAB, TensorFlow": written("m.gguf", lambda p: p.write_bytes(b"GGUF" + bytes(60))),
    "Core ML, ExecuTorch, Flax (`.msgpack`), GGML, MXNet, OpenVINO, R, TensorRT": written(
        "m.msgpack", lambda p: p.write_bytes(b"\x82\xa6params\x81" + bytes(60))
    ),
    "trees: XGBoost, LightGBM": written("m.json", lambda p: p.write_text('{"learner":{"attributes":{}}}')),
    "a checkpoint in a folder: Orbax, SavedModel, `.distcp`, DeepSpeed": folder_with("manifest.ocdbt"),
    "an index of pickles (`pytorch_model.bin.index.json`)": written(
        "pytorch_model.bin.index.json",
        lambda p: p.write_text('{"weight_map": {"0.weight": "pytorch_model-00001-of-00002.bin"}}'),
    ),
    "an archive, a web page, text, a Git LFS pointer": bytes_of("gzip"),
    "numbered layers, or names of which one order chains": stored(),
    "names of which several orders chain": stored(renamed(_0="input", _2="hidden", _4="output")),
    "matrices without biases that chain against the words of their names": stored(
        lambda _: {"hidden.weight": torch.ones(4, 5), "out.weight": torch.ones(5, 3)}
    ),
    "names of attention, embedding tables, adapters, gates, skips, recurrence, graphs or two outputs side by side, "
    "without `--arch`": stored(lambda _: {"fc.lora_A.weight": torch.ones(2, 5), "fc.lora_B.weight": torch.ones(3, 2)}),
    "the prefixes of wrappers (`module.`, `_orig_mod.`, `model.`)": stored(
        lambda state: {f"module._orig_mod.{k}": v for k, v in state.items()}
    ),
    "`n_averaged` of an averaged copy": averaged,
    "two networks, side by side or one a copy of the other": stored(
        lambda state: {f"{p}.{k}": v for p in ("net", "ema") for k, v in state.items()}
    ),
    "networks that chain (generator and discriminator), ensembles, repeated blocks, without `--arch`": stored(
        lambda state: {f"net{k}.{n}": v for k in (1, 2) for n, v in state.items() if n[0] != "4"}
    ),
    "the state of a loss or a metric, moments of an optimizer": stored(
        lambda state: {**state, "criterion.weight": torch.ones(3), "adam.0.weight.exp_avg": torch.ones(5, 5)}
    ),
    "a low-rank adapter (LoRA) beside its layers, merged": stored(
        lambda state: {k.replace(".", ".base_layer."): v for k, v in state.items()}
    ),
    "a low-rank adapter (LoRA) beside its layers, not merged": stored(
        lambda state: {**state, "0.lora_A.x.weight": torch.ones(2, 5), "0.lora_B.x.weight": torch.ones(5, 2)}
    ),
    "weight norm, old and new": changed(old_weight_norm),
    "spectral norm": changed(lambda model: spectral_norm(model[0])),
    "pruning masks": changed(lambda model: prune.l1_unstructured(model[0], "weight", 0.5)),
    "an orthogonal parametrization, or one of your own": changed(lambda model: parametrizations.orthogonal(model[0])),
    "dense kernels of Keras or Flax, stored (in, out)": stored(flax),
    "convolutions of Keras or Flax": stored(lambda state: {"Conv_0.kernel": torch.ones(3, 3, 1, 2)}),
    "half precision, bfloat16, float8": half,
    "int8 or float8 beside a scale (`weight_scale`, `scale`, `SCB`), for all, a row or a group": int8_file,
    "packed integers of 4 bits (`qweight`, `absmax`)": stored(
        lambda state: {
            "0.qweight": torch.ones(2, 5).int(),
            "0.scales": torch.ones(1, 5),
            "0.qzeros": torch.ones(1).int(),
        }
    ),
    "integers without a scale": stored(lambda state: {k: v.int() for k, v in state.items()}),
    "NaN or infinite values": bytes_of("nan"),
    "BatchNorm, without `--arch`": stored(lambda state: {**state, "1.running_mean": torch.ones(5)}),
    "convolutions that make the image smaller, without `--arch`": convolved,
}
