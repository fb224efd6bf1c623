"""Logits are found where they are named or the only table, and asked for elsewhere."""

import pytest
import torch

from vestige.core.outputs import logits_of


def test_a_named_output_of_transformers_is_read():
    outputs = pytest.importorskip(
        "transformers.modeling_outputs", reason="needs transformers: pip install 'vestige[text]'"
    )
    z = torch.zeros(2, 3)
    assert logits_of(outputs.SequenceClassifierOutput(loss=z.sum(), logits=z), 2) is z


@pytest.mark.parametrize("outputs", [(torch.zeros(2, 3), torch.zeros(2, 3)), {"a": torch.zeros(5, 3)}, None, "text"])
def test_what_may_be_the_logits_twice_or_never_is_asked_for(outputs):
    with pytest.raises(ValueError, match=r"nothing named 'logits'; pass a function.*lambda x: model\(x\)\[0\]"):
        logits_of(outputs, 2)
