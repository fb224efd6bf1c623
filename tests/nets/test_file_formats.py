"""Files that are no safetensors are called what they are, by their content, with the next step."""

import io
import lzma
import pickle
import tarfile
import zipfile

import joblib
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from vestige.nets.checkpoint import CheckpointError, convert, load_model


def archive(path, *names):
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            made.writestr(name, b"x")


def tar(path):
    with tarfile.open(path, "w") as made:
        made.addfile(tarfile.TarInfo("pickle"), io.BytesIO())


def script(path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 1), torch.ones(1, 2)), path)


def program(path):
    torch.export.save(torch.export.export(nn.Linear(2, 1), (torch.ones(1, 2),)), path)


FORMATS = {
    "TorchScript": (script, "TorchScript, a program.*state_dict"),
    "torch.export": (program, r"torch\.export.*state_dict"),
    "keras": (lambda p: archive(p, "metadata.json", "config.json", "model.weights.h5"), "Keras.*safetensors"),
    "skops": (lambda p: archive(p, "schema.json", "1.npy"), "skops"),
    "npz": (lambda p: np.savez(p.open("wb"), w=np.ones(2)), r"NumPy arrays \(\.npz\)"),
    "zip": (lambda p: archive(p, "readme"), "zip archive"),
    "damaged zip": (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(60)), "damaged archive"),
    "joblib": (lambda p: joblib.dump(LogisticRegression(), p), "scikit-learn estimator, a program"),
    "npy": (lambda p: np.save(p.open("wb"), np.ones(3)), "NumPy array"),
    "onnx": (lambda p: p.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x051.0.0" + bytes(60)), "ONNX"),
    "tflite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(60)), "TensorFlow Lite"),
    "executorch": (lambda p: p.write_bytes(b"\x1c\0\0\0ET12" + bytes(60)), "ExecuTorch"),
    "lzma": (lambda p: p.write_bytes(lzma.compress(bytes(60), lzma.FORMAT_ALONE)), "lzma archive"),
    "pickle in text": (lambda p: p.write_bytes(pickle.dumps({"weights": [1, 2]}, 0)), "a pickle in text"),
    "hdf5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(60)), "HDF5"),
    "tar": (tar, "tar archive"),
    "index": (
        lambda p: p.write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'),
        "several files|is not there",
    ),
    "pickle.dump": (lambda p: p.write_bytes(pickle.dumps({"w": 1})), "torch.save did not write.*torch.save"),
    "matlab": (lambda p: p.write_bytes(b"MATLAB 5.0 MAT-file, Platform" + bytes(99)), "MATLAB"),
    "words": (lambda p: p.write_text("Entry not found\n"), r"text \('Entry not found'\), not weights"),
    "json": (lambda p: p.write_text('{ "hidden": 3, "layers": 2 }'), "JSON"),
}


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
@pytest.mark.parametrize("case", FORMATS)
@pytest.mark.filterwarnings("ignore")  # torch's of TorchScript and of export
def test_each_format_has_its_name(case, name, tmp_path):
    make, said = FORMATS[case]
    torch.set_default_dtype(torch.float32)
    make(tmp_path / name)
    for read in (load_model, lambda p: convert(p, tmp_path / "out.safetensors")):
        with pytest.raises(CheckpointError, match=said) as error:
            read(tmp_path / name)
        assert "weights_only" not in str(error.value) and "pickle (a PyTorch" not in str(error.value)


def test_a_pickle_is_read_by_its_content_whatever_its_name(tmp_path):
    path = tmp_path / "m.safetensors"
    torch.save(nn.Linear(2, 1).state_dict(), path)
    with pytest.raises(CheckpointError, match=r"m-converted\.safetensors"):
        load_model(path)
    convert(path, tmp_path / "m-converted.safetensors")
    for loaded in (load_model(tmp_path / "m-converted.safetensors"), load_model(path, trust_pickle=True)):
        assert loaded.architecture == "mlp:2-1"


def test_a_whole_model_is_refused_by_the_class_at_fault(tmp_path):
    torch.save(nn.Linear(2, 1), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"object of torch\.nn\.modules\.linear\.Linear") as error:
        convert(tmp_path / "m.pt", tmp_path / "out.safetensors")
    assert "weights_only" not in str(error.value) and "\x1b" not in str(error.value)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    torch.save({"w": torch.zeros(2000, 2000)}, tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as plain, zipfile.ZipFile(tmp_path / "b.pt", "w", 8) as packed:
        for info in plain.infolist():
            packed.writestr(info.filename, plain.read(info))
    with pytest.raises(CheckpointError, match="PyTorch does not compress"):
        convert(tmp_path / "b.pt", tmp_path / "out.safetensors")


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_what_torch_saved_in_any_of_its_ways_can_be_converted(options, tmp_path):
    torch.save({"0.weight": torch.ones(2, 3)}, tmp_path / "m.pt", **options)
    convert(tmp_path / "m.pt", tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").architecture == "mlp:3-2:bias=none"


def test_what_a_pickle_holds_instead_of_weights_is_said_and_is_no_damage(tmp_path):
    torch.save(torch.optim.Adam([torch.ones(2, requires_grad=True)]).state_dict(), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"m\.pt: it holds the state of an optimizer") as error:
        convert(tmp_path / "m.pt", tmp_path / "out.safetensors")
    assert "damaged" not in str(error.value)
