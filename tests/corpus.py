"""Files made to harm, or mistaken for weights: the bytes, and a word of the refusal that each deserves."""

import json
import os
import struct

import torch
from safetensors.torch import save

WEIGHTS = {"1.weight": torch.ones(2, 3), "1.bias": torch.ones(2), "3.weight": torch.ones(1, 2)}


class Touch:
    """Pickles as a call that creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def raw(header: dict | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


FILES = {
    "empty": (b"", "bytes"),
    "short": (b"\x10\x00\x00", "bytes"),
    "web page": (b"\n <!DOCTYPE html><html>not found</html>", "web page"),
    "gzip": (b"\x1f\x8b" + bytes(50), "gzip"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "giant header": (b"\xff" * 8 + b"{}", "safetensors"),
    "giant plausible header": (raw(b"{}", length=2**40), "claims"),
    "header of 99 MB in a small file": (raw(b"{}", length=99 * 2**20), "claims"),
    "truncated": (save(WEIGHTS)[:-3], "truncated"),
    "truncated header": (save(WEIGHTS)[:30], "claims"),
    "overlap": (raw({"a.weight": entry(0, 8, [2]), "b.weight": entry(4, 12, [2])}, bytes(12)), "damaged"),
    "hole": (raw({"a.weight": entry(0, 8, [2]), "b.weight": entry(12, 20, [2])}, bytes(20)), "damaged"),
    "negative offset": (raw({"a.weight": entry(-8, 0, [2])}, bytes(8)), "damaged"),
    "beyond the end": (raw({"a.weight": entry(0, 800, [200])}, bytes(8)), "damaged"),
    "shape overflow": (raw({"a.weight": entry(0, 8, [2**62, 2**62])}, bytes(8)), "damaged"),
    "shape disagrees": (raw({"a.weight": entry(0, 8, [3])}, bytes(8)), "damaged"),
    "unknown dtype": (raw({"a.weight": entry(0, 8, [2], "X9")}, bytes(8)), "damaged"),
    "not JSON": (raw(b"{nonsense}"), "damaged"),
    "metadata is no text": (raw({"__metadata__": {"a": 1}, "a.weight": entry(0, 8, [2])}, bytes(8)), "damaged"),
    "deep JSON": (raw(b'{"a":' * 5000 + b"1" + b"}" * 5000), "damaged"),
    "no tensors": (raw({}), "no linear"),
    "path in a name": (save({"../../etc/passwd": torch.ones(2, 2)}), "names"),
    "dots in a name": (save({"a..weight": torch.ones(2, 2)}), "names"),
    "absolute name": (save({"/root/x.weight": torch.ones(2, 2)}), "names"),
    "markup in a name": (save({"<script>alert(1)</script>.weight": torch.ones(2, 2)}), "names"),
    "escape in a name": (save({"\x1b[2J.weight": torch.ones(2, 2)}), "names"),
    "nan": (save({**WEIGHTS, "3.weight": torch.tensor([[1.0, torch.nan]])}), r"1 of 3 .* '3.weight' \(1 of 2"),
    "infinite half": (save({"0.weight": torch.full((1, 2), torch.inf, dtype=torch.float16)}), "infinite"),
    "code as architecture": (save(WEIGHTS, {"architecture": "os:getcwd"}), "never imported"),
    "huge architecture": (save(WEIGHTS, {"architecture": "mlp:99999999-99999999-99999999-1"}), "do not fit"),
    "endless architecture": (save(WEIGHTS, {"architecture": "mlp:" + "9-" * 10_000 + "1"}), "characters"),
    "wrong shapes": (save(WEIGHTS, {"architecture": "mlp:3-4-1"}), "needs"),
    "shapes do not chain": (save({"0.weight": torch.ones(2, 3), "1.weight": torch.ones(1, 4)}), "do not chain"),
    "integers": (save({"0.weight": torch.ones(2, 3, dtype=torch.int64)}), "int64"),
    "complex": (save({"0.weight": torch.ones(2, 3, dtype=torch.complex64)}), "complex64"),
}
