"""The public names: few at the top, the rest by room, all loaded late, and those that the papers promise."""

import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from operator import attrgetter
from types import ModuleType

import vestige as vg
from vestige.papers import RECORDS

TOP = [name for name in vg.__all__ if not isinstance(getattr(vg, name), ModuleType)]
ROOMS = [name for name in vg.__all__ if isinstance(getattr(vg, name), ModuleType)]


def test_few_names_stand_at_the_top():
    assert 20 <= len(TOP) <= 30


def test_every_name_is_there_and_knows_its_own_name():
    for room in [vg, *(getattr(vg, name) for name in ROOMS)]:
        names = [name for name in getattr(room, "__all__", []) if not isinstance(getattr(room, name), ModuleType)]
        wrong = [name for name in names if getattr(getattr(room, name), "__name__", name) != name]  # RECORDS is a tuple
        assert not wrong, (room.__name__, wrong)


def test_rooms_cost_nothing_until_used():
    rooms = ", ".join(f"v.{room}" for room in ROOMS if hasattr(getattr(vg, room), "__all__"))  # metrics is a module
    code = f"import sys, vestige as v; {rooms}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_module_that_is_imported_first_does_not_take_the_place_of_a_function():
    """Importing `vestige.nets.mlp` sets a module on the package, where `vg.nets.mlp` must stay the function."""
    for module in pkgutil.walk_packages(vg.__path__, "vestige."):
        if not module.name.endswith(("__main__", "unpickle_worker")):  # importing them runs them
            importlib.import_module(module.name)
    for room in ROOMS:
        names = getattr(getattr(vg, room), "__all__", [])
        modules = [name for name in names if isinstance(getattr(getattr(vg, room), name), ModuleType)]
        assert set(modules) <= {"kernels", "metrics"}, room


def test_dir_lists_them_without_loading_torch():
    code = "import sys, vestige as v; assert set(v.__all__) <= set(dir(v)); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_works_by_the_list_of_papers_is_importable():
    promised = {name for record in RECORDS if record.works for name in record.functions}
    assert promised and all(callable(attrgetter(name)(vg)) for name in promised)


def test_the_version_is_the_installed_one():
    assert vg.__version__ == version("vestige")
