"""Run as a script by `vestige.nets.convert`: reads tensors from a pickle in a process that may do little.

Arguments: input path, output path, limit of memory in bytes. The limits and the empty network are in place before torch
opens the file; torch's `weights_only` reader builds tensors and plain containers only; it is never retried without.
"""

import ctypes
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SECONDS, NESTED = 300, ("state_dict", "model_state_dict", "model", "net", "weights")


def confine(memory: int) -> None:
    """No network where the kernel allows an unprivileged namespace; limits on memory, time and processor core dumps."""
    try:
        ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET)
    except (OSError, AttributeError, TypeError):
        pass  # another system: the limits below and weights_only remain
    try:
        import resource
    except ImportError:
        return
    for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(kind, (limit, limit))


def tensors_of(loaded, torch) -> dict:
    """The state dict in what was loaded: itself, or under one of the usual keys."""
    for key in NESTED:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not loaded:
        raise ValueError(f"it holds a {type(loaded).__name__}, not a dictionary of tensors (save model.state_dict())")
    odd = [key for key, value in loaded.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if odd:
        raise ValueError(f"{len(odd)} of {len(loaded)} entries are not named tensors, first {str(odd[0])[:80]!r}")
    # Tied weights share memory in a pickle; a copy of each is what safetensors can hold.
    return {key: value.detach().to_dense().clone().contiguous() for key, value in loaded.items()}


def main() -> int:
    source, target, memory = sys.argv[1], sys.argv[2], int(sys.argv[3])
    confine(memory)
    import torch
    from safetensors.torch import save_file

    try:
        save_file(tensors_of(torch.load(source, map_location="cpu", weights_only=True), torch), target)
    except BaseException as error:  # anything at all is reported to the parent, which names it
        text = " ".join(str(error).split())
        print(f"{type(error).__name__}: {text[:600]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
