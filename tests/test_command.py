"""python -m resnet, without Luigi."""

import os
import subprocess
import sys

import pytest

from resnet.__main__ import main
from resnet.progress import ENVIRONMENT


def test_a_printed_recipe_works_as_a_recipe_file(capsys, tmp_path):
    assert main(["recipe", "--recipe", "imagenet-resnet50", "--override", "training.epochs=3"]) == 0
    path = tmp_path / "mine.toml"
    path.write_text(capsys.readouterr().out)
    assert main(["recipe", "--recipe", str(path)]) == 0
    assert capsys.readouterr().out == path.read_text()
    assert "epochs = 3" in path.read_text()


def test_a_user_error_is_one_line_on_standard_error(capsys):
    assert main(["recipe", "--recipe", "digits", "--override", "training.epoch=3"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: recipe ")
    assert "did you mean training.epochs?" in error
    assert error.count("\n") == 1


def test_a_stage_with_an_incomplete_input_names_that_input(capsys, tmp_path):
    assert main(["report", "--artifacts", str(tmp_path)]) == 1
    assert "report depends on convert, which is incomplete" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--workers=-1", "--devices=-1", "--cpu-devices=-1", "--replicas-at-once=-1"])
def test_negative_numbers_of_workers_and_devices_are_refused(capsys, tmp_path, option):
    assert main(["convert", "--artifacts", str(tmp_path), option]) == 1
    assert "cannot be negative" in capsys.readouterr().err


def test_an_error_goes_to_the_parent_process_instead_of_the_console(capsys, monkeypatch, tmp_path):
    reading, writing = os.pipe()
    monkeypatch.setenv(ENVIRONMENT, str(writing))
    assert main(["convert", "--artifacts", str(tmp_path), "--recipe", "imagefolder"]) == 1
    os.close(writing)
    with open(reading) as pipe:
        assert '"error": "this recipe needs images' in pipe.read()
    assert capsys.readouterr().err == ""


def test_an_unwritable_folder_is_an_error_of_the_user(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["convert", "--artifacts", str(tmp_path / "file")]) == 1
    assert "cannot create the folder" in capsys.readouterr().err


def test_a_command_whose_output_cannot_be_written_fails():
    """What it prints is all that it makes."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "resnet", "recipe"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr == "error: No space left on device: standard output\n"


# Runs `python -m resnet recipe`, while a thread waits for standard input.
WAITING = """
import runpy, sys, threading

threading.Thread(target=sys.stdin.read).start()
sys.argv[1:] = ["recipe"]
runpy.run_module("resnet", run_name="__main__", alter_sys=True)
"""


def test_a_command_whose_reader_has_read_enough_ends_though_its_input_goes_on():
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE
    ) as process:
        os.close(writing)
        try:
            assert process.wait(timeout=60) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()


# Runs `python -m resnet recipe`; Ctrl-C comes during the import of a module.
INTERRUPTED_IMPORT = """
import os, runpy, signal, sys

class CtrlC:
    def __init__(self, module, is_hidden):
        self.module, self.is_hidden = module, is_hidden

    def find_spec(self, name, path, target=None):
        if name == self.module:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                if self.is_hidden:
                    raise ImportError("initialization failed")
                raise

sys.meta_path.insert(0, CtrlC(sys.argv[1], sys.argv[2] == "hidden"))
sys.argv[1:] = ["recipe"]
runpy.run_module("resnet", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("how", ["shown", "hidden"])
@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("resnet.stages", "interrupted; the same command continues"),
        ("tqdm", "interrupted; the same command continues"),
        ("resnet.stage_table", "interrupted; the same command continues"),
        ("resnet.commands.recipe", "recipe was interrupted\n"),
    ],
)
def test_ctrl_c_during_an_import_ends_with_one_line(module, said, how):
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT, module, how], capture_output=True, text=True)
    assert ended.returncode == 130
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr


@pytest.mark.parametrize(
    "given", [['["training.epochs=3", "model.depth=32"]'], ["training.epochs=3", "model.depth=32"]]
)
def test_overrides_are_a_json_list_or_one_by_one(capsys, given):
    assert main(["recipe", *(f"--override={text}" for text in given)]) == 0
    printed = capsys.readouterr().out
    assert "epochs = 3" in printed
    assert "depth = 32" in printed


@pytest.mark.parametrize("text", ["[training.epochs=3]", '["training.epochs=3"', "['training.epochs=3']"])
def test_overrides_that_are_nearly_a_json_list_are_refused_with_the_way_to_write_them(capsys, text):
    assert main(["recipe", "--override", text]) == 1
    said = capsys.readouterr().err
    assert f"--override {text}: this is no JSON list" in said
    assert "with both kinds of quotes" in said
