"""A made-up audit of twelve digits, shaped like a real one."""

import pytest
import torch
from sklearn.datasets import load_digits


def made_up(*, scored: bool = True, name: str = "model.safetensors") -> tuple[dict, dict, dict, list]:
    """manifest, results, tensors, progress."""
    draw = torch.Generator().manual_seed(0)
    truth = torch.as_tensor(load_digits().images[:12] / 16.0)[:, None]
    noise = torch.linspace(0.02, 0.6, 12).reshape(-1, 1, 1, 1)
    samples = (truth + noise * torch.randn(truth.shape, generator=draw)).clamp(0, 1)
    similarity = torch.linspace(0.995, 0.55, 12)
    threshold = 0.87
    null = {"count": 1777, "n_recovered": 0, "n_ssim": 1, "median": 0.74, "max": 0.862}
    score = {
        "n": 12,
        "n_recovered": int((similarity >= threshold).sum()),
        "rate": 1e-3,
        "metric": "NCC",
        "threshold": threshold,
        "similarity": similarity.tolist(),
        "match": [*range(11), -1],
        "recovered": (similarity >= threshold).tolist(),
        "precision": 0.75,
        "candidates": 12,
        "n_ssim": 9,
        "median": float(similarity.median()),
        "max": float(similarity.max()),
        "nulls": [
            {"name": "held-out samples", **null},
            {"name": "first-layer rows", **null, "count": 1000, "median": 0.4, "max": 0.7},
            {"name": "white noise", **null, "count": 1000, "n_ssim": None, "median": None, "max": None},
        ],
    }
    found = {
        "outcome": "budget_spent",
        "outcome_message": "It used all its steps before reaching the tolerance.",
        "solver": "default",
        "n_candidates": 40,
        "restarts": 4,
        "gradient_evaluations": 10_000,
        "seconds": 21.3,
        "identifiable": 12,
        "collapse": False,
        "residual_best": 0.043,
        "residual_per_layer": {"1.weight": 0.031, "1.bias": 0.12, "3.weight": 0.27},
        "confidence": torch.linspace(0.97, 0.2, 12).tolist(),
        "support": [4, 4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1],
        "verified": [True, True, *[False] * 10],
    }
    results = {
        "format": 1,
        "level": "leaks" if scored else "some",
        "verdict": "8 of the 12 training samples were read back from the weights alone." if scored else "Likely.",
        "model": {
            "path": name,
            "sha256": "ab" * 32,
            "architecture": "mlp:64-1000-10",
            "parameters": 75_010,
            "input_shape": [1, 8, 8],
            "outputs": 10,
            "loss": "cross_entropy",
            "loss_source": "from the model file",
            "weight_decay": 1e-3,
            "space": {"low": 0.0, "high": 1.0},
        },
        "theory": {
            "homogeneous": True,
            "degree": 2,
            "max_gap": 3e-16,
            "layers": [
                {
                    "name": "1",
                    "kind": "Linear",
                    "covered": True,
                    "reason": "linear, bias in the first layer",
                    "falls": "",
                },
                {"name": "2", "kind": "ReLU", "covered": True, "reason": "positively homogeneous", "falls": ""},
                {"name": "3", "kind": "Linear", "covered": True, "reason": "linear without bias", "falls": ""},
            ],
        },
        "reconstruction": found,
        "score": score if scored else None,
        **({"unlearn": f"vestige unlearn {name} --data ... --forget leaked"} if scored else {}),
        "stationarity": {"residual": 0.21, "residual_clarke": 0.0034, "kink_fraction": 0.31, "smallest_margin": 2.5}
        if scored
        else None,
        "warnings": ["31 % of the gates stand within 1e-4 of a kink: the plain residual overstates the distance."],
        "citations": "@misc{haim2022:2206.07758,\n  title = {Reconstructing & <more>}\n}",
    }
    rates = torch.logspace(-5, 0, 40)
    tensors = {
        "samples": samples,
        "singular_values": torch.cat([torch.linspace(4, 1, 12), torch.full((52,), 1e-7)]),
        **({"truth": truth, "false_rate": rates, "true_rate": rates.pow(0.1)} if scored else {}),
    }
    manifest = {
        "key": "cd" * 32,
        "started": "2026-01-01T00:00:00+00:00",
        "config": {"verb": "audit", "seed": 0, "vestige": "0.1.0"},
        "environment": {"system": "Linux", "threads": 1, "packages": {"torch": "2.13.0+cpu", "absent": None}},
    }
    progress = [
        {"index": i, "total": 400, "value": 1.0 / i, "note": "anneal" if i < 300 else "polish"} for i in range(1, 400)
    ]
    return manifest, results, tensors, progress


@pytest.fixture(scope="session")
def audit():
    """The builder, for tests that vary it."""
    return made_up
