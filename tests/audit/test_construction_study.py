"""The page of a construction: sizes and claims of every kind of network; the verdict follows what was derived."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vestige as vg
from vestige.audit import study_construction
from vestige.construct.memorization.memorizer import memorize
from vestige.construct.prune.to_target import prune_to_target
from vestige.construct.robust.two_layer import robust_two_layer
from vestige.construct.transformer.composition.recurrent import build_crq_rnn
from vestige.construct.transformer.counting.counter import build_counter
from vestige.core.rng import child

sys.path.append(str(Path(__file__).parents[1] / "report"))
from pages import HOSTILE, Page

POINTS, LABELS = np.random.default_rng(0).standard_normal((12, 3)), np.random.default_rng(1).integers(0, 3, 12)
KINDS = {
    "exact": lambda: memorize(POINTS, LABELS),
    "chain": lambda: robust_two_layer(torch.randn(6, 40, generator=child(0, "far")), torch.arange(6) % 2),
    "masks": lambda: prune_to_target(vg.nets.mlp([4, 5, 3], bias="all", dtype=torch.float32), tolerance=0.05),
    "transformer": lambda: build_counter(4, 5, dim=4),
    "recurrent": lambda: build_crq_rnn(7, 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_construction_has_a_page_of_what_it_claims_and_one_of_what_is_derived(kind, tmp_path):
    made = KINDS[kind]()
    vg.construct.save(made, tmp_path / "net.safetensors")
    stated = study_construction(tmp_path / "net.safetensors", out=tmp_path / "stated")
    derived = study_construction(
        tmp_path / "net.safetensors", vg.verify(tmp_path / "net.safetensors"), out=tmp_path / "derived"
    )
    for found, names in ((stated, [c.name for c in made.certificate.claims]), (derived, ["digests that differ"])):
        text = (found.folder / "report.html").read_text(encoding="utf-8")
        page = Page(text)
        assert not page.wrong and not page.open and "script" not in page.tags
        assert found.results["holds"] and found.results["level"] == "nothing" and 'class="verdict nothing"' in text
        assert all(name in page.words for name in names)
    assert "vestige verify derives them again" in stated.verdict and "derived again" in derived.verdict
    counts = [row[1] for bars in stated.results["bars"] for row in bars["rows"] if "tensor" in bars["title"]]
    nonzeros = sum(int(w.count_nonzero()) for w in made.to_torch().state_dict().values()) if kind != "exact" else 0
    assert sum(counts) == nonzeros and bool(stated.results["curves"]) == (kind == "exact")
    origins = {row[1]: row[4] for row in derived.results["tables"][0]["rows"]}
    assert origins["digests that differ"] == "of the file itself" and "derived" in origins.values()
    assert origins.get("numbers that are not derived", "stated by the file") == "stated by the file"
    if kind == "exact":
        shares = dict(stated.results["bars"][0]["rows"])
        assert shares["width"] == made.network.width / 12 and "points off target" not in shares
        assert stated.results["bars"][0]["full"] == 1.0  # a claim at its bound fills its bar, whatever the others do
        series = stated.results["curves"][0]["series"]
        assert sum(series["weights other than 0"]) == made.network.nonzeros
        assert max(series["neurons"]) >= made.network.width
        assert max(stated.results["curves"][1]["series"]["bits"]) == made.network.weight_bits


def test_a_false_claim_is_red_and_a_changed_file_has_no_picture(tmp_path):
    """Null: a network of zeros under the same specification, and a file whose digest is another."""
    made, path = memorize(POINTS, LABELS), tmp_path / "net.safetensors"
    other = memorize(POINTS, (LABELS + 1) % 3)
    vg.construct.save(replace(made, network=other.network), path)
    found = study_construction(path, vg.verify(path))
    assert found.results["level"] == "leaks" and not found.results["holds"] and "points off target" in found.verdict
    vg.construct.save(made, path)
    data = bytearray(path.read_bytes())
    place = data.index(b'"sha256":"') + 10
    data[place] = ord("0") if data[place] != ord("0") else ord("1")
    path.write_bytes(bytes(data))
    found = study_construction(path, vg.verify(path))
    assert "digests that differ" in found.verdict and not found.results["curves"]
    assert "not shown: " in found.warnings[0] and "vestige verify" not in found.warnings[0]
    with pytest.raises(ValueError, match="changed after it was written"):
        study_construction(path)


def test_words_of_a_strangers_file_cannot_leave_their_place(tmp_path):
    made, path = memorize(POINTS, LABELS), tmp_path / "net.safetensors"
    vg.construct.save(replace(made, warnings=(HOSTILE,), numbers={HOSTILE: 1}), path)
    found = study_construction(path, vg.verify(path), out=tmp_path / "run")
    page = Page((found.folder / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags and not page.wrong and any(HOSTILE in word for word in page.words)
    assert all(name != "onerror" for _, name, _ in page.attributes)
