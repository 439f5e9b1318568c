"""The files of an exported step: what is missing or changed is said, and never used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exported_step import DESCRIPTION, INPUTS, MODULE, STATE, ExportedStep
from safetensors.numpy import save_file
from step_task import StepTask

from resnet.checked_json import Corrupt, write_json
from resnet.errors import UserError
from resnet.files import sha256


@pytest.fixture
def folder(tmp_path) -> Path:
    """An export with two variables, and a module that nobody runs."""
    folder = tmp_path / "step"
    folder.mkdir()
    random = np.random.default_rng(1).standard_normal((50, 40)).astype(np.float32)
    state = {"weights/kernel": 0.3 * random + 2, "momentum/kernel": np.zeros((50, 40), np.float32)}
    (folder / MODULE).write_bytes(b"a module")
    save_file(state, folder / STATE)
    inputs = [{"name": name, "shape": [], "dtype": "float32"} for name in INPUTS]
    variables = [
        {"name": name, "shape": [50, 40], "dtype": "float32", "mean": float(x.mean()), "deviation": float(x.std())}
        for name, x in state.items()
    ]
    results = [{"name": "metrics"}, *({"name": name, "replaces": 3 + i} for i, name in enumerate(state))]
    step = StepTask(20, 2, 8, 10, "float32", "1x1", False, "")._asdict()
    files = {name: sha256(folder / name) for name in (MODULE, STATE)}
    facts = {"step": step, "tensorflow": "2", "stablehlo": "1.0.0", "platform": "CPU", "sha256": files}
    write_json(folder / DESCRIPTION, {"arguments": [*inputs, *variables], "results": results, **facts})
    return folder


def test_a_folder_without_an_export_says_how_to_write_one(tmp_path):
    with pytest.raises(UserError, match=rf"has no {DESCRIPTION}.*train_step.py --export {tmp_path}"):
        ExportedStep.read(tmp_path)


@pytest.mark.parametrize("name", [MODULE, STATE])
def test_a_changed_file_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is not as it was written"):
        ExportedStep.read(folder)


def test_a_changed_description_is_refused(folder):
    content = json.loads((folder / DESCRIPTION).read_text())
    content["results"].reverse()
    (folder / DESCRIPTION).write_text(json.dumps(content))
    with pytest.raises(Corrupt, match="checksum does not match"):
        ExportedStep.read(folder)


def test_a_missing_module_is_refused(folder):
    (folder / MODULE).unlink()
    with pytest.raises(UserError, match=f"{MODULE} is missing"):
        ExportedStep.read(folder)


def test_without_the_state_only_made_numbers_of_its_mean_and_deviation_are_used_and_only_when_asked_for(folder):
    state = ExportedStep.read(folder).state()
    (folder / STATE).unlink()
    step = ExportedStep.read(folder)
    with pytest.raises(UserError, match="--made-state"):
        step.state()
    for made, real in zip(step.made_state(), state, strict=True):
        assert (made.shape, made.dtype) == (real.shape, real.dtype)
        if real.std() == 0:
            np.testing.assert_array_equal(made, real)
        elif real.size > 1000:
            assert made.std() == pytest.approx(real.std(), rel=0.1)


def test_an_export_without_a_state_to_compare_with_says_so(folder):
    with pytest.raises(UserError, match="--check-steps"):
        ExportedStep.read(folder).expected()


def test_reading_an_export_imports_neither_tensorflow_nor_jax(folder):
    code = (
        "import sys; from pathlib import Path; import exported_step, pjrt_step;"
        "exported_step.ExportedStep.read(Path(sys.argv[1])).state();"
        "sys.exit(bool({'tensorflow', 'jax', 'keras', 'torch'} & set(sys.modules)))"
    )
    benchmarks = Path(__file__).parent.parent.parent / "benchmarks"
    assert subprocess.run([sys.executable, "-c", code, folder], cwd=benchmarks).returncode == 0
