"""The installed package from another folder: the papers that work are importable, and an audit runs end to end."""

import json
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import vestige as vg

assert Path(vg.__file__).is_relative_to(sys.prefix), f"not the installed wheel: {vg.__file__}"
rows = json.loads(Path(sys.argv[1]).read_text())
assert len(rows) == 30 and all(sorted(row) == ["functions", "paper", "status", "title"] for row in rows)
working = [row for row in rows if row["status"].startswith("works")]
missing = {name for row in working for name in row["functions"] if not callable(attrgetter(name)(vg))}
assert working and not missing, f"said to work and not there: {sorted(missing)}"


def vestige(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "vestige", *arguments], check=True, stdin=subprocess.DEVNULL)


vestige("train", "--n", "4", "--arch", "mlp:64-100-10", "--out", "small.safetensors")
vestige("audit", "small.safetensors", "--data", "digits", "--out", "audit")
results = json.loads(Path("audit/results.json").read_text())
assert results["score"]["n"] == 4 and Path("audit/report.html").stat().st_size > 1_000
vestige("cite", "audit")
print(f"smoke: {len(working)} papers work, {results['score']['n_recovered']} of 4 digits recovered")
