"""What every environment of this project keeps to: the CPU build of torch, and no torchvision."""

import importlib.util

import torch

assert torch.version.cuda is None, f"torch {torch.__version__} is a CUDA build; the CPU build is wanted"
assert importlib.util.find_spec("torchvision") is None, "something pulled in torchvision"
print(f"torch {torch.__version__}, no CUDA, no torchvision")
