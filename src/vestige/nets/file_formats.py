"""What a file is, told from its first bytes and, for an archive or a folder, from the names in it.

Its own name is asked only for the words of a refusal, where the bytes say nothing.

Weights are read from safetensors, in one file or several, from ONNX and from skops. A pickle of tensors can be
converted. All else is called what it is, with the next step.
"""

import re
import zipfile
from pathlib import Path

EXPORT = "load it where it was made and save the weights as safetensors"
STATE = "load it where it was made and save model.state_dict()"
KINDS = {  # files that are read
    "pickle": "a pickle of tensors",
    "index": "the index of a model in several files",
    "onnx": "an ONNX file",
    "skops": "a skops file of a scikit-learn estimator",
}
SEEN = 4096  # bytes at the start that are looked at
TORCH = b"\xfc\x9cF\xf9 j\xa8P\x19"  # the number with which torch.save begins a pickle, in its last bytes

_MAGIC = {
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first",
    b"\xfd7zXZ": "an xz archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it first",
    b"\x5d\x00\x00": "an lzma archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a rar archive: unpack it first",
    b"\x89HDF": f"an HDF5 (Keras) file, which is not read; {EXPORT}",
    b"\x93NUMPY": "a NumPy array, not a model",
    b"GGUF": "a GGUF file, which is not read; export the weights as safetensors",
    b"version https://git-lfs": "a Git LFS pointer, not the weights: run `git lfs pull`",
    b"PAR1": "a Parquet table, not a model",
    b"\x7fELF": "a program, not a model",
    b"MATLAB ": f"a MATLAB file, which is not read; {EXPORT}",
    b"RDX": f"an R workspace, which is not read; {EXPORT}",
    b"lmgg": "a GGML file, which is not read; export the weights as safetensors",
    b"ARROW1": "an Arrow table, not a model",
    b"tree\nversion=": "a LightGBM model, of trees: only networks are read",
    b"<?xml": f"XML text, such as an OpenVINO network, which is not read; {EXPORT}",
}
PROGRAMS = {b"TFL3": "a TensorFlow Lite file", b"ET12": "an ExecuTorch program", b"ET13": "an ExecuTorch program"}
# What only a name says, of bytes that say nothing themselves.
_NAMED = (
    (r".*\.msgpack", "a Flax file"),
    (r".*\.mlmodel", "a Core ML model"),
    (r".*\.(engine|plan|trt)", "a TensorRT program"),
    (r".*\.params", "an MXNet file"),
    (r".*\.pb", "a TensorFlow graph"),
    (r".*\.ubj", "an XGBoost model, of trees"),
    (r".*\.data-\d+-of-\d+", "a part of a TensorFlow checkpoint"),
)
DISTRIBUTED = (
    "a distributed checkpoint of torch, which is not read; make one file of its folder with "
    "torch.distributed.checkpoint.format_utils.dcp_to_torch_save"
)
# A name in a folder that says what the whole is.
_FOLDERS = (
    (r"saved_model\.pb", f"a TensorFlow SavedModel, a program, which is not run; {EXPORT}"),
    (r"_METADATA|_CHECKPOINT_METADATA|manifest\.ocdbt", f"an Orbax checkpoint of JAX, which is not read; {EXPORT}"),
    (r".*\.distcp", DISTRIBUTED),
    (r"zero_pp_rank.*|zero_to_fp32\.py", "a DeepSpeed checkpoint, which is not read; make one file of it with its "
     "zero_to_fp32.py"),
    (r"Manifest\.json", f"a Core ML package, which is not read; {EXPORT}"),
)  # fmt: skip
_HOLDS = re.compile(r".*\.(safetensors|safetensors\.index\.json|pt|pth|ckpt|bin|onnx|skops)")
# Names in an archive, the first that fits: a TorchScript file has a data.pkl too.
_ARCHIVES = (
    (r"(.*/)?(archive_format|models/.*\.json|serialized_exported_program\.json)",
     f"a program that torch.export wrote (.pt2), which is not read; {STATE}"),
    (r"(.*/)?(constants\.pkl|code/.*\.py)", f"TorchScript, a program, which is not run; {STATE}"),
    (r"model\.weights\.h5|keras_metadata\.pb", f"a Keras model, which is not read; {EXPORT}"),
    (r"schema\.json", "skops"),
    (r"(.*/)?data\.pkl", "pickle"),
    (r"[^/]*\.npy", f"NumPy arrays (.npz), not a weights file; {EXPORT}"),
    (r"\[Content_Types\]\.xml", "an office document, not a model"),
)  # fmt: skip


def format_of(path: Path) -> str:
    """One of KINDS, or what else the file is and what to do; "" where nobody can tell."""
    with path.open("rb") as stream:
        head = stream.read(SEEN)
    if path.suffix == ".distcp":  # an archive after another
        return DISTRIBUTED
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if named := next((words for magic, words in _MAGIC.items() if head.startswith(magic)), None):
        return named
    if re.fullmatch(rb"\x80[\x02-\x05].*", head, re.DOTALL):
        return _pickled(head)
    if head[257:262] == b"ustar":
        return f"a tar archive (an old PyTorch or NeMo file?), which is not read; {STATE}"
    if head[4:8] in PROGRAMS:
        return f"{PROGRAMS[head[4:8]]}, which is not read; {EXPORT}"
    if re.match(rb"\(?[dl]p\d|c[\w.]+\n\w+\n", head):
        return f"a pickle in text, a program, which is not run; {STATE} with torch.save"
    if head[:1] == b"\x08" and (
        path.suffix == ".onnx" or re.search(rb"\x12.{1,2}(pytorch|onnx|tf2onnx|skl2onnx)", head)
    ):
        return "onnx"
    if re.match(rb"\s*\{[\s\x20-\x7e\x80-\xff]{9}", head):
        return _text(head)
    if head[:1] == b"\x78" and path.suffix in (".joblib", ".pkl", ".gz"):
        return f"a compressed joblib file, a pickle, which is not run; {EXPORT}"
    if path.name == "saved_model.pb":
        return f"a TensorFlow SavedModel, a program, which is not run; {EXPORT}"
    named = next((words for pattern, words in _NAMED if re.fullmatch(pattern, path.name)), "")
    return _said(head) or (f"{named}, by its name, which is not read; {EXPORT}" if named else "")


def folder_kind(path: Path) -> str:
    """What a folder that was given for a file is: another program's checkpoint, or one that holds files to give."""
    inside = sorted(each.name for each in path.iterdir())
    for pattern, words in _FOLDERS:
        if any(re.fullmatch(pattern, name) for name in inside):
            return words
    held = [name for name in inside if _HOLDS.fullmatch(name)]
    listed = f" that holds {', '.join(held[:5])}{', ...' if held[5:] else ''}" if held else ""
    return f"a folder{listed}; give a file"


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged archive: truncated? Download or copy it again"
    for pattern, words in _ARCHIVES:
        if any(re.fullmatch(pattern, name) for name in names[:100_000]):
            return words
    return "a zip archive, not a weights file: unpack it first"


def _pickled(head: bytes) -> str:
    for word, words in ((b"sklearn", "a pickled scikit-learn estimator"), (b"joblib", "a joblib file"),
                        (b"xgboost", "a pickled XGBoost model"), (b"keras", "a pickled Keras model")):  # fmt: skip
        if word in head:
            return f"{words}, a program, which is not run; {EXPORT}"
    if TORCH not in head[:64]:
        return f"a pickle that torch.save did not write, a program, which is not run; {STATE} with torch.save"
    return "pickle"


def _text(head: bytes) -> str:
    if b"weight_map" in head:
        return "index"
    if b'"learner"' in head:
        return "an XGBoost model, of trees: only networks are read"
    return "JSON text, a configuration or numbers as text, not weights; save those as safetensors"


def _said(head: bytes) -> str:
    """The words of a file of text; "" for bytes."""
    text = head.decode("utf-8", "replace")
    words = " ".join(text.split())[:60]
    return (
        f"text ({words!r}), not weights: did the download fail?"
        if words and words.isprintable() and words.isascii()
        else ""
    )
