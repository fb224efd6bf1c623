"""The whole suite runs in float64, on one thread, and with the shapes of every public signature checked."""

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Checked at run time in tests only: beartype costs microseconds a call that users need not pay.
install_import_hook("vestige", "beartype.beartype")
settings.register_profile("vestige", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("vestige")
# Here too, for fixtures that are made before the first test: two threads may be 100 times slower.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def exact_arithmetic():
    """float64 by default, and a fixed thread count so that sums are bit-equal between runs."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(torch.float32)
