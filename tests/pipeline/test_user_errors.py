"""What the `luigi` command says, and exits with, where the user can mend something."""

import fcntl
import json

import pytest


def message(result, *words: str) -> None:
    """One message with these words, and no traceback."""
    said = result.stdout + result.stderr
    assert "Traceback" not in said, said
    for word in words:
        assert said.count(word) == 1, said


def test_a_folder_of_images_that_does_not_exist(luigi, tmp_path):
    result = luigi("FullRun", "--recipe", "imagefolder", "--data", tmp_path / "nowhere", "--artifacts", tmp_path)
    assert result.returncode == 20
    message(result, f"error: no images: {tmp_path / 'nowhere'}: there is no such folder")
    assert list(tmp_path.iterdir()) == []  # a start that fails leaves no folders


def test_no_folder_of_images_given(luigi, tmp_path):
    result = luigi("FullRun", "--recipe", "imagenet-resnet50", "--artifacts", tmp_path)
    assert result.returncode == 20
    message(result, "say where they are with --data")


def test_tfrecords_with_missing_files(luigi, tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "train-00001-of-00003").touch()
    overrides = '["dataset.source=tfrecords"]'
    result = luigi(
        "FullRun",
        "--recipe",
        "imagefolder",
        "--data",
        tmp_path / "records",
        "--artifacts",
        tmp_path,
        "--override",
        overrides,
    )
    assert result.returncode == 35
    message(result, "of the 3 files like train-00001-of-00003, these are missing: 00000, 00002")


def test_an_empty_class_folder(luigi, tmp_path):
    (tmp_path / "images/cat").mkdir(parents=True)
    (tmp_path / "images/dog").mkdir()
    (tmp_path / "images/dog/1.jpg").write_bytes(b"?")
    result = luigi(
        "ConvertRecords", "--recipe", "imagefolder", "--data", tmp_path / "images", "--artifacts", tmp_path / "a"
    )
    assert result.returncode == 30
    message(result, f"ConvertRecords failed: {tmp_path / 'images/cat'} is empty")


def test_an_unreadable_image(luigi, tmp_path, photo_folder):
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i, path in enumerate(sorted((photo_folder / "val/china").iterdir())[:3]):
            (tmp_path / "images" / name / f"{i}.jpg").write_bytes(path.read_bytes())
    (tmp_path / "images/dog/2.jpg").write_bytes(b"no image")
    options = ["--recipe", "imagefolder", "--data", tmp_path / "images", "--artifacts", tmp_path / "a"]
    result = luigi("ConvertRecords", *options)
    assert result.returncode == 30
    message(
        result, "1 image cannot be read", "dog/2.jpg: OpenCV cannot decode it: it is not an image, or it is truncated"
    )
    accepted = luigi("ConvertRecords", *options, "--override", '["records.max_rejected=1"]')
    assert accepted.returncode == 0, accepted.stderr
    assert "1 unreadable image left out" in accepted.stdout


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ('["training.epoch=3"]', "unknown setting training.epoch; did you mean training.epochs?"),
        ("training.epoch=3", "unknown setting training.epoch; did you mean training.epochs?"),
        ('["trainig.epochs=3"]', "unknown section [trainig]; did you mean training?"),
        ('["training.epochs=soon"]', "training.epochs: it should be a valid integer, but is 'soon'"),
    ],
)
def test_a_setting_that_does_not_exist_or_cannot_be_used(luigi, tmp_path, override, words):
    result = luigi("FullRun", "--override", override, "--artifacts", tmp_path)
    assert result.returncode == 35
    message(result, words)


def test_images_for_a_recipe_that_reads_none(luigi, photo_folder, tmp_path):
    result = luigi("FullRun", "--run", "mine", "--data", photo_folder, "--artifacts", tmp_path)
    assert result.returncode == 35
    message(result, f"--data {photo_folder}: recipe digits reads no folder, since scikit-learn bundles its images.")
    assert not (tmp_path / "runs").exists()


def test_a_recipe_that_does_not_exist(luigi, tmp_path):
    result = luigi("FullRun", "--recipe", "digit", "--artifacts", tmp_path)
    assert result.returncode == 35
    message(result, "there is no recipe 'digit'; did you mean digits?")


@pytest.mark.parametrize("said", ["many", "-3", "2.5", ""])
def test_a_value_in_luigi_cfg_that_is_not_a_number(luigi, tmp_path, monkeypatch, said):
    (tmp_path / "mine.cfg").write_text(f"[pipeline]\nworkers = {said}\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "mine.cfg"))
    result = luigi("FullRun", "--artifacts", tmp_path)
    assert result.returncode == 35
    message(result, f"error: luigi.cfg: {said!r} must be a whole number, 0 or more (worker processes;")


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("gpu = all", "'all' must be a whole number, -1 or more"),
        ("step_minutes = half", "'half' must be a number, 0 or more"),
        ("step_minutes = -1", "'-1' must be a number, 0 or more"),
        ("step_minutes = inf", "'inf' must be a number, 0 or more"),
    ],
)
def test_other_numbers_in_luigi_cfg(luigi, tmp_path, monkeypatch, setting, rule):
    (tmp_path / "luigi.cfg").write_text(f"[pipeline]\n{setting}\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    result = luigi("ConvertRecords", "--recipe", "digits", "--artifacts", tmp_path / "artifacts")
    message(result, f"error: luigi.cfg: {rule}")


def test_an_artifacts_folder_that_cannot_be_written(luigi, tmp_path):
    (tmp_path / "file").write_text("a file where a folder should be")
    result = luigi("FullRun", "--artifacts", tmp_path / "file/artifacts")
    assert result.returncode == 35
    message(result, f"error: cannot create the folder {tmp_path / 'file/artifacts/runs/digits'}")


def test_a_run_that_another_process_has_locked(luigi, tmp_path):
    folder = tmp_path / "runs/digits"
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as lock:
        lock.write("pid 1\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = luigi("FullRun", "--artifacts", tmp_path)
    assert result.returncode == 10
    message(result, f"error: another process (pid 1) has locked {folder}")


def test_a_lock_folder_of_luigi_that_belongs_to_another_user_does_not_matter(luigi, tmp_path, monkeypatch):
    (tmp_path / "luigi").touch()  # where no lock can be written, whoever runs the tests
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    result = luigi("Images", "--artifacts", tmp_path / "artifacts")
    assert result.returncode == 0
    message(result)


def test_a_run_name_that_would_leave_the_folder(luigi, tmp_path):
    result = luigi("FullRun", "--run", "../elsewhere", "--artifacts", tmp_path)
    assert result.returncode == 35
    message(result, "--run '../elsewhere': use letters, digits")


def test_changed_images_are_converted_again_and_the_old_records_kept(luigi, tmp_path, photo_folder):
    options = ["--recipe", "imagefolder", "--data", tmp_path / "images", "--artifacts", tmp_path / "a"]
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i, path in enumerate(sorted((photo_folder / "val/china").iterdir())[:3]):
            (tmp_path / "images" / name / f"{i}.jpg").write_bytes(path.read_bytes())
    assert luigi("ConvertRecords", *options).returncode == 0
    (tmp_path / "images/cat/0.jpg").unlink()
    again = luigi("ConvertRecords", *options)
    assert again.returncode == 0
    assert "ConvertRecords: starting (the images have changed)" in again.stdout
    record = json.loads((tmp_path / "a/records/images/stage.json").read_text())
    assert sum(record["images"].values()) == 5
    assert len(list((tmp_path / "a/trash").iterdir())) == 1


def test_weights_to_start_from_that_are_not_there_stop_before_the_conversion(luigi, tmp_path, photo_folder):
    options = ["--recipe", "finetune", "--data", photo_folder, "--artifacts", tmp_path / "a"]
    result = luigi("FullRun", *options, "--override", "training.start_from=gone.pth")
    assert result.returncode == 35
    message(result, "gone.pth cannot be read: No such file or directory. Give a file (with a / in it, or")
    assert not (tmp_path / "a").exists()
