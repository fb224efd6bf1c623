"""Plant each fault of mutants.toml in a copy of the source and run its tests: one that no test catches is printed.

python tests/mutants/plant.py             all of them; exit code 1 with survivors
python tests/mutants/plant.py momentum    those whose path or fault has the word
"""

import importlib
import os
import shutil
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src" / "vestige"
KILLED, SURVIVED, BROKEN = 1, 0, 3  # exit codes of pytest; any other than the first two says that no test could run
# What the tests import besides vestige is loaded once: each mutant's tests run in a fork, a second instead of ten.
LOADED = "pytest hypothesis beartype jaxtyping torch torch._dynamo scipy.optimize scipy.stats sklearn.metrics".split()
LOADED += "sklearn.datasets safetensors.torch matplotlib.figure PIL.Image jinja2 filelock typer rich".split()
OPTIONS = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]


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


def run(mutant: Mutant, copy: Path) -> int:
    """Exit code of the mutant's tests, against a copy of the source that is whole again afterwards."""
    target = copy / "vestige" / mutant.path
    whole = target.read_text(encoding="utf-8")
    target.write_text(mutant.planted(whole), encoding="utf-8")
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _test(mutant, output.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        target.write_text(whole, encoding="utf-8")
        output.seek(0)
        text = output.read().decode(errors="replace")
    if code == KILLED and " failed" not in text:  # pytest itself failed, before a test did
        code = BROKEN
    if code not in (KILLED, SURVIVED):
        print(text[-2000:])
    return code


def _test(mutant: Mutant, output: int) -> NoReturn:
    code = BROKEN
    try:
        for stream in (1, 2):
            os.dup2(output, stream)
        code = int(sys.modules["pytest"].main([*OPTIONS, *mutant.tests]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def main(words: list[str]) -> int:
    chosen = [m for m in mutants() if all(word in f"{m.path} {m.fault}" for word in words)]
    survivors, broken = [], []
    sys.dont_write_bytecode = True
    for name in LOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(SOURCE, copy / "vestige", ignore=shutil.ignore_patterns("__pycache__"))
        sys.path.insert(0, folder)
        os.environ |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        os.chdir(REPOSITORY)
        for number, mutant in enumerate(chosen, 1):
            code = run(mutant, copy)
            verdict = {KILLED: "caught", SURVIVED: "SURVIVED"}.get(code, f"tests ended with {code}")
            print(f"{number}/{len(chosen)} {verdict}: {mutant.path}: {mutant.fault}", flush=True)
            (survivors if code == SURVIVED else broken if code != KILLED else []).append(mutant)
    print(f"{len(chosen) - len(survivors) - len(broken)} of {len(chosen)} caught")
    return 1 if survivors or broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
