"""Plant each fault of mutants.toml in a copy of the source and run its tests: one that no test catches is printed.

python tests/mutants/plant.py             all of them; exit code 1 with survivors
python tests/mutants/plant.py momentum    those whose path or fault has the word
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src" / "vestige"
KILLED, SURVIVED = 1, 0  # exit codes of pytest; any other says that the tests could not run


@dataclass(frozen=True)
class Mutant:
    """One fault: what stands in a file, what is put in its place, and the tests that must notice."""

    fault: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted(self, text: str) -> str:
        """The file with the fault.

        Raises:
            ValueError: the fragment does not stand there exactly once.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.path}: {self.old!r} stands there {text.count(self.old)} times; once is needed.")
        return text.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """The list, in order."""
    listed = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in listed]


def run(mutant: Mutant, folder: Path) -> int:
    """Exit code of the mutant's tests, against a copy of the source in `folder`."""
    copy = folder / "src"
    shutil.copytree(SOURCE, copy / "vestige", ignore=shutil.ignore_patterns("__pycache__"))
    target = copy / "vestige" / mutant.path
    target.write_text(mutant.planted(target.read_text(encoding="utf-8")), encoding="utf-8")
    options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options, *mutant.tests]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (KILLED, SURVIVED):
        print(done.stdout[-2000:], done.stderr[-2000:])
    return done.returncode


def main(words: list[str]) -> int:
    survivors, broken = [], []
    chosen = [m for m in mutants() if all(word in f"{m.path} {m.fault}" for word in words)]
    for number, mutant in enumerate(chosen, 1):
        with tempfile.TemporaryDirectory() as folder:
            code = run(mutant, Path(folder))
        verdict = {KILLED: "caught", SURVIVED: "SURVIVED"}.get(code, f"tests ended with {code}")
        print(f"{number}/{len(chosen)} {verdict}: {mutant.path}: {mutant.fault}", flush=True)
        (survivors if code == SURVIVED else broken if code != KILLED else []).append(mutant)
    print(f"{len(chosen) - len(survivors) - len(broken)} of {len(chosen)} caught")
    return 1 if survivors or broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
