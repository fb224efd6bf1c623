"""Run folders: every state comes back, another configuration is refused, torn lines do no harm."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.runs.folder import RunError, RunFolder, RunMismatch, RunState, content_key
from vestige.runs.signals import Interrupted

CONFIG = {"verb": "audit", "model": "ab" * 32, "seed": 0, "loss": None}


def test_manifest_comes_first_and_results_last(tmp_path):
    run = RunFolder.open(tmp_path / "r", CONFIG)
    assert {p.name for p in run.path.iterdir()} == {".lock", "manifest.json"}
    assert run.state is RunState.STARTED and run.results() is None
    run.finish({"found": 3})
    assert run.state is RunState.FINISHED and run.results() == {"found": 3}


@pytest.mark.parametrize("end", ["", "interrupt", "fail", "finish"])
def test_every_state_survives_a_round_trip(end, tmp_path):
    run = RunFolder.open(tmp_path, CONFIG)
    actions = {"interrupt": run.interrupt, "fail": lambda: run.fail("why"), "finish": lambda: run.finish({}), "": bool}
    actions[end]()
    run.close()
    assert RunFolder.read(tmp_path).state is run.state
    again = RunFolder.open(tmp_path, CONFIG)
    assert again.state is (RunState.FINISHED if end == "finish" else RunState.STARTED)
    assert again.config == run.config


def test_results_count_even_when_the_manifest_was_not_updated(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as run:
        (tmp_path / "results.json").write_text('{"found": 1}')  # killed between the two writes of finish
    assert RunFolder.open(tmp_path, CONFIG).state is RunState.FINISHED
    assert run.results() == {"found": 1}


@pytest.mark.parametrize("change", [{"seed": 1}, {"model": "cd" * 32}, {"loss": "mse"}, {"data": "xyz"}])
def test_another_configuration_is_refused_by_name(change, tmp_path):
    RunFolder.open(tmp_path, CONFIG).finish({"found": 3})
    with pytest.raises(RunMismatch, match=rf"{next(iter(change))}: .* there, .* now"):
        RunFolder.open(tmp_path, {**CONFIG, **change})


def test_a_run_that_failed_before_it_kept_anything_gives_way(tmp_path):
    with pytest.raises(ValueError, match="bad"), RunFolder.open(tmp_path, CONFIG) as run:
        run.log({"index": 1})
        raise ValueError("bad")
    with pytest.raises(ValueError, match="bad"), RunFolder.open(tmp_path, {**CONFIG, "seed": 1}) as run:
        assert run.progress() == [] and run.config["seed"] == 1
        run.save_tensors("checkpoint", {"x": torch.ones(1)})
        raise ValueError("bad")
    with pytest.raises(RunMismatch, match="seed"):
        RunFolder.open(tmp_path, CONFIG)


def test_another_version_is_refused(tmp_path, monkeypatch):
    RunFolder.open(tmp_path, CONFIG)
    monkeypatch.setattr("vestige.runs.folder.versions", lambda names: {"vestige": "9.9.9"})
    with pytest.raises(RunMismatch, match=r"vestige: '.*' there, '9.9.9' now"):
        RunFolder.open(tmp_path, CONFIG)


def test_no_resume(tmp_path):
    RunFolder.open(tmp_path, CONFIG)
    with pytest.raises(RunError, match="another folder"):
        RunFolder.open(tmp_path, CONFIG, resume=False)


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="not an empty folder"):
        RunFolder.open(tmp_path, CONFIG)
    with pytest.raises(RunError, match=r"no manifest\.json"):
        RunFolder.read(tmp_path)


@given(content=st.binary(max_size=60))
def test_any_manifest_ends_in_a_named_error(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(RunError):
        RunFolder.read(folder)


def test_a_torn_line_costs_only_itself(tmp_path):
    run = RunFolder.open(tmp_path, CONFIG)
    run.log({"step": 1})
    with (tmp_path / "progress.jsonl").open("ab") as file:
        file.write(b'{"step": 2, "val')
    assert run.progress() == [{"step": 1}]
    run.log({"step": 3})
    assert run.progress() == [{"step": 1}, {"step": 3}]


@given(tail=st.binary(max_size=40))
def test_any_progress_file_is_read(tail, tmp_path_factory):
    run = RunFolder.open(tmp_path_factory.mktemp("run"), CONFIG)
    run.log({"step": 1})
    with (run.path / "progress.jsonl").open("ab") as file:
        file.write(tail)
    run.log({"step": 2})
    steps = run.progress()
    assert steps[0] == {"step": 1} and steps[-1] == {"step": 2}


def test_tensors_come_back_bit_for_bit(tmp_path):
    run = RunFolder.open(tmp_path, CONFIG)
    saved = {"x": torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), "step": torch.tensor(7)}
    checkpoint = run.checkpoint()
    assert checkpoint.load() is None
    checkpoint.save(saved)
    loaded = checkpoint.load()
    assert loaded is not None and all(
        torch.equal(saved[k], loaded[k]) and saved[k].dtype == loaded[k].dtype for k in saved
    )
    run.save_tensors("checkpoint", {"x": torch.zeros(1)})
    assert torch.equal(loaded["x"], saved["x"])
    checkpoint.discard()
    checkpoint.discard()
    assert checkpoint.load() is None


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a b", ""])
def test_tensor_names_stay_in_the_folder(name, tmp_path):
    with pytest.raises(ValueError, match="stays in the folder"):
        RunFolder.open(tmp_path, CONFIG).save_tensors(name, {})


def test_nan_never_reaches_a_file(tmp_path):
    run = RunFolder.open(tmp_path, CONFIG)
    for write in (run.log, run.finish):
        with pytest.raises(ValueError):
            write({"x": float("nan")})
    assert run.progress() == [] and run.state is RunState.STARTED


def test_key_is_a_pure_function_of_content():
    assert content_key(CONFIG) == content_key(json.loads(json.dumps(CONFIG)))
    assert content_key(CONFIG) != content_key({**CONFIG, "seed": 1})


@pytest.mark.parametrize(
    ("error", "state"), [(Interrupted(), RunState.INTERRUPTED), (ValueError("bad"), RunState.FAILED)], ids=str
)
def test_an_attempt_writes_down_how_it_ended_and_hides_nothing(tmp_path, error, state):
    run = RunFolder.open(tmp_path / "run", {"a": 1})
    with pytest.raises(type(error)), run:
        raise error
    assert run.state is state


def test_a_folder_is_for_one_process_until_it_is_closed(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as run:
        with pytest.raises(RunError, match="in use by another process"):
            RunFolder.open(tmp_path, CONFIG)
        assert RunFolder.read(tmp_path).state is RunState.STARTED  # looking needs no lock
        code = f"from vestige.runs.folder import RunFolder; RunFolder.open({str(tmp_path)!r}, {CONFIG!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.returncode != 0 and "in use by another process" in done.stderr
        run.log({"step": 1})
    again = RunFolder.open(tmp_path, CONFIG)
    assert again.progress() == [{"step": 1}]
    again.close()


def test_a_refused_configuration_leaves_the_folder_unlocked(tmp_path):
    RunFolder.open(tmp_path, CONFIG).close()
    for _ in range(2):
        with pytest.raises(RunMismatch):
            RunFolder.open(tmp_path, {**CONFIG, "seed": 1})
    RunFolder.open(tmp_path, CONFIG).close()


def test_an_error_after_the_results_leaves_the_run_finished(tmp_path):
    with pytest.raises(ValueError), RunFolder.open(tmp_path, CONFIG) as run:
        run.finish({})
        raise ValueError("in the report")
    assert RunFolder.read(tmp_path).manifest["state"] == "finished"
