"""Trainers of others take a locally optimal step as any optimizer: nothing is called that they do not call."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from vestige.optim import LocallyOptimalStep

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]  # minutes on a busy machine, mostly imports


def data():
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return x, (x[:, 0] > 0).long()


def network():
    torch.set_default_dtype(torch.float32)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def test_lightning(tmp_path):
    lightning = pytest.importorskip("pytorch_lightning", reason="the extra `test`")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            base = torch.optim.AdamW(self.net.parameters(), 1e-6)
            return LocallyOptimalStep(base, self.net, lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]), [data()])

    module, loader = Module(), DataLoader(TensorDataset(*data()), 16)
    trainer = lightning.Trainer(
        max_epochs=6, accumulate_grad_batches=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, loader)
    step = trainer.optimizers[0]
    assert isinstance(step, LocallyOptimalStep) and step.taken == 12
    assert float(nn.functional.cross_entropy(module.net(data()[0]), data()[1])) < 0.3
    trainer.save_checkpoint(tmp_path / "it.ckpt")
    kept = torch.load(tmp_path / "it.ckpt", weights_only=True)["optimizer_states"][0]
    assert torch.equal(kept["step_size"]["numbers"], step.numbers())


def test_hugging_face(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `text`")
    pytest.importorskip("accelerate", reason="the extra `test`")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x, labels):
            logits = self.net(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    model, (x, y) = Model(), data()
    base = torch.optim.SGD(model.parameters(), 1e-6, momentum=0.9)
    step = LocallyOptimalStep(base, model, lambda m, b: m(**b)["loss"], [{"x": x, "labels": y}])
    schedule = torch.optim.lr_scheduler.LambdaLR(base, lambda _: 1.0)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=6, per_device_train_batch_size=16, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    rows = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
    transformers.Trainer(model, arguments, train_dataset=rows, optimizers=(step, schedule)).train()
    assert step.taken == 24
    assert float(model(x, y)["loss"]) < 0.3
