"""The scheduler of this pipeline: its page, its history, and what it does not show."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import pytest
from chromium import CHROMIUM, browser
from luigi.scheduler import Scheduler
from waiting import until

from pipeline.scheduler import PAGE, SAID, Keeper, with_messages
from resnet.training.log_format import read_log

LUIGI = Path(sys.executable).with_name("luigi")
SETTINGS = [
    "model.depth=8",
    "dataset.validation_fraction=0.9",
    "training.batch_size=2",
    "training.replica_batch_size=2",
    "training.epochs=400",
    "training.checkpoint_steps=100000",
]


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


class Server:
    """The scheduler of an artifacts folder, which may be killed and started again at the same port."""

    def __init__(self, artifacts: Path) -> None:
        self.artifacts, self.port = artifacts, free_port()
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "pipeline.scheduler", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--artifacts", str(self.artifacts)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until(lambda: self.get("/history")[0] == 200 or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        assert self.process
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return 0, ""

    def call(self, method: str, **arguments: object):
        return json.loads(self.get(f"/api/{method}?{urllib.parse.urlencode({'data': json.dumps(arguments)})}")[1])[
            "response"
        ]

    def running(self) -> dict[str, dict]:
        """The trainings that run, by the ids of their tasks."""
        tasks = self.call("task_list", status="RUNNING", upstream_status="")
        return {name: task for name, task in tasks.items() if name.startswith("Train_")}

    def trains(self) -> bool:
        """Whether a training has done a step."""
        return any((task["progress_percentage"] or 0) > 0 for task in self.running().values())

    def ask(self, content: str) -> str:
        """The answer of the training to a message on the page."""
        (name,) = self.running()
        worker = self.running()[name]["worker_running"]
        number = self.call("send_scheduler_message", worker=worker, task=name, content=content)["message_id"]
        answer: list[str] = []

        def answered() -> bool:
            found = self.call("get_scheduler_message_response", task_id=name, message_id=number)["response"]
            answer.extend([found] if found else [])
            return bool(answer)

        until(answered)
        return answer[0]


@contextlib.contextmanager
def serving(artifacts: Path) -> Iterator[Server]:
    artifacts.mkdir()
    server = Server(artifacts)
    try:
        server.start()
        yield server
    finally:
        if server.process and server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    with serving(tmp_path / "artifacts") as server:
        yield server


@pytest.fixture(scope="module")
def idle(tmp_path_factory) -> Iterator[Server]:
    """A scheduler that nobody gives anything to do. It stays up."""
    with serving(tmp_path_factory.mktemp("idle") / "artifacts") as server:
        yield server


@pytest.fixture
def luigi(server, tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """luigi("Train"): the command, which reports to the server."""
    started = []

    def start(task: str, *arguments: str) -> subprocess.Popen:
        command = [str(LUIGI), "--module", "pipeline", task, "--scheduler-port", str(server.port), "--recipe", "digits"]
        command += ["--artifacts", str(server.artifacts), "--override", json.dumps(SETTINGS), *arguments]
        with open(tmp_path / f"output-{len(started)}", "w") as output:
            started.append(subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def listeners(port: int) -> set[str]:
    """The addresses that something listens at on a port, as in /proc/net."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            place, state = line.split()[1], line.split()[3]
            if state == "0A" and int(place.partition(":")[2], 16) == port:
                found.add(place.partition(":")[0])
    return found


def test_it_listens_on_this_machine_only_and_ends_without_a_traceback(server):
    assert listeners(server.port) == {"0100007F"}
    code, said = server.end()
    assert code == 0
    assert "Traceback" not in said


def test_its_folder_is_private(idle):
    assert oct((idle.artifacts / ".luigi").stat().st_mode & 0o777) == "0o700"


def test_it_shows_files_of_the_artifacts_and_nothing_else(idle, tmp_path):
    folder = idle.artifacts / "runs" / "mine" / "train"
    folder.mkdir(parents=True)
    (folder / "log-1.txt").write_text("<b>epoch 1</b>")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (idle.artifacts / "elsewhere").symlink_to(tmp_path)
    assert idle.get("/artifacts/runs/mine/train/log-1.txt") == (200, "<b>epoch 1</b>")
    for path in (
        "runs/mine/train/out.txt",
        "elsewhere/secret.txt",
        ".luigi/history.db",
        "../secret.txt",
        "..%2f..%2fsecret.txt",
    ):
        assert idle.get(f"/artifacts/{path}")[0] in (403, 404), path
    with urllib.request.urlopen(f"http://127.0.0.1:{idle.port}/artifacts/runs/mine/train/log-1.txt") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_two_schedulers_do_not_share_a_folder_or_a_port(idle, tmp_path):
    command = [sys.executable, "-m", "pipeline.scheduler", "--port", str(idle.port), "--artifacts"]
    for folder, words in (
        (idle.artifacts, "a scheduler runs for"),
        (tmp_path / "other", "cannot listen at 127.0.0.1:"),
    ):
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
        assert done.returncode == (10 if folder == idle.artifacts else 1)
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/history", {}, 200),
        ("/history", {"Host": "localhost:1"}, 200),
        ("/history", {"Host": "evil.example:8082"}, 403),
        ("/artifacts/index.html", {"Host": "evil.example"}, 403),
        ("/api/task_list?data={}", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/api/task_list?data={}", {"Sec-Fetch-Site": "same-site"}, 403),
        ("/api/resource_list?data={}", {"Origin": "http://evil.example"}, 403),
        ("/api/resource_list?data={}", {"Origin": "null"}, 403),
        ("/api/resource_list?data={}", {"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ("/api/resource_list?data={}", {"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_pages_of_others_in_the_same_browser_are_refused(path, headers, code, idle):
    request = urllib.request.Request(f"http://127.0.0.1:{idle.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
    assert found == code


def test_more_gpus_than_the_scheduler_has_are_not_waited_for(server, luigi, tmp_path, monkeypatch):
    (tmp_path / "luigi.cfg").write_text("[pipeline]\ngpu = 2\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    assert luigi("Train").wait(90) == 25
    assert "Train needs more of the resource gpu than the scheduler has" in (tmp_path / "output-0").read_text()


def test_what_changed_is_shown_at_once(idle):
    for text in ("epoch 1", "epoch 2"):
        (idle.artifacts / "log-1.txt").write_text(text)
        assert idle.get("/artifacts/log-1.txt") == (200, text)
    request = urllib.request.Request(f"http://127.0.0.1:{idle.port}/artifacts/log-1.txt")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert "Etag" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-cache"


def test_an_artifacts_folder_may_have_any_name(tmp_path):
    with serving(tmp_path / "100 % of what?") as server:
        until(lambda: (server.artifacts / ".luigi" / "state.pickle").exists())
        assert (server.artifacts / ".luigi" / "history.db").exists()
        assert server.get("/history")[0] == 200
    assert [path.name for path in tmp_path.iterdir()] == ["100 % of what?"]


@pytest.mark.parametrize("place", [["--port", "99999"], ["--address", "nowhere.invalid"]])
def test_a_place_where_it_cannot_listen_is_one_message(place, tmp_path):
    command = [sys.executable, "-m", "pipeline.scheduler", "--artifacts", tmp_path / "a", *place]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the scheduler cannot listen at ")
    assert "Traceback" not in done.stderr


def test_the_state_is_written_when_it_has_changed_only(tmp_path):
    scheduler = Scheduler()
    keeper = Keeper(scheduler, tmp_path / "state.pickle")
    keeper.keep()
    (tmp_path / "state.pickle").unlink()
    keeper.keep()
    assert not (tmp_path / "state.pickle").exists()
    scheduler.add_task(task_id="Train_1", worker="one")
    keeper.keep()
    assert (tmp_path / "state.pickle").exists()


def test_luigis_page_has_room_for_what_running_tasks_say():
    page = resources.files("luigi").joinpath(PAGE).read_text(encoding="utf-8")
    assert with_messages(page).count(SAID) == 2  # in the list of tasks, and in that of workers


def test_without_a_scheduler_luigi_says_within_seconds_what_to_do(tmp_path):
    command = [LUIGI, "--module", "pipeline", "Train", "--scheduler-port", str(free_port()), "--artifacts", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 35
    assert "error: no scheduler answers at http://localhost:" in done.stderr
    assert "start one (`make scheduler`, or `python -m pipeline.scheduler --port " in done.stderr
    assert "or add --local-scheduler" in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_training_is_on_the_page_answers_and_goes_on_while_the_scheduler_is_killed(workers, server, luigi, tmp_path):
    process = luigi("Train", "--workers", workers)
    until(server.trains)
    ((name, task),) = server.running().items()
    assert name.startswith("Train_digits_")
    assert len(name) < 40
    assert "recipe=digits" in task["display_name"]
    assert str(server.artifacts) not in task["display_name"]
    until(lambda: "loss" in server.running()[name]["status_message"])
    until(lambda: server.running()[name]["tracking_url"])
    assert server.get(urllib.parse.urlsplit(server.running()[name]["tracking_url"]).path)[0] == 200
    assert "steps" in server.ask("status")
    assert server.ask("checkpoint").startswith("the checkpoint of step ")
    until(lambda: (server.artifacts / ".luigi" / "state.pickle").exists())  # copied every few seconds
    server.end(signal.SIGKILL)
    log = server.artifacts / "runs/digits/train/log.jsonl"
    size = log.stat().st_size
    until(lambda: log.stat().st_size > size)  # training goes on
    server.start()
    before = server.running()[name]["status_message"]
    until(lambda: server.running()[name]["status_message"] != before)  # and is on the page again
    assert server.ask("stop").startswith("it saves, and stops")
    assert process.wait(60) == 30
    assert "was interrupted; the same command continues it" in (tmp_path / "output-0").read_text()
    assert "Train" in server.get("/history")[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_with_two_workers_a_signal_to_luigi_orphans_nothing_and_the_training_is_saved(number, server, luigi):
    process = luigi("Train", "--workers", "2")
    until(server.trains)
    folder = server.artifacts / "runs/digits/train"
    os.kill(process.pid, number)
    until(lambda: process.poll() is not None)
    until(lambda: not processes_of(process.pid))
    newest = max(folder.glob("checkpoints/*.safetensors"))
    assert int(newest.stem.partition("-")[2]) >= read_log(folder / "log.jsonl")[-1]["step"]
    assert (folder / "begun.json").exists()


def processes_of(session: int) -> list[int]:
    """The processes of a session that are still there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == session and words[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_two_runs_that_need_one_gpu_queue(server, luigi, tmp_path, monkeypatch):
    (tmp_path / "luigi.cfg").write_text("[pipeline]\ngpu = 1\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    luigi("Train", "--run", "first")
    until(server.trains)
    luigi("Train", "--run", "second")
    until(lambda: "Train waits for the scheduler's resource gpu" in (tmp_path / "output-1").read_text())
    assert [name.rpartition("_")[0] for name in server.running()] == ["Train_first"]
    assert server.ask("stop")
    until(lambda: [name.rpartition("_")[0] for name in server.running()] == ["Train_second"])


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look at the page with")
def test_a_page_of_the_artifacts_shows_itself_and_can_ask_the_scheduler_for_nothing(idle):
    ask = "fetch('/api/task_list?data={}').then(() => 'answered', () => 'refused').then(word => document.title = word)"
    (idle.artifacts / "mine.html").write_text(f"<title>waits</title><h1>A page</h1><script>{ask}</script>")
    with browser() as page:
        page.open(f"http://127.0.0.1:{idle.port}/artifacts/mine.html")
        assert "A page" in page.evaluate("document.body.innerText")
        until(lambda: page.evaluate("document.title") == "refused")
    (idle.artifacts / "mine.html").write_text("<meta http-equiv=refresh content=1><h1>Again</h1>")
    with browser() as page:
        page.open(f"http://127.0.0.1:{idle.port}/artifacts/mine.html")
        (idle.artifacts / "mine.html").write_text("<h1>And again</h1>")
        until(lambda: "And again" in page.evaluate("document.body.innerText"))


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look at the page with")
def test_the_page_in_a_browser_shows_names_progress_and_messages_and_its_history_stays(server, luigi):
    process = luigi("Train", "--run", "seen")
    until(lambda: any("loss" in (task["status_message"] or "") for task in server.running().values()))
    with browser() as page:
        page.open(f"http://127.0.0.1:{server.port}/static/visualiser/index.html")
        until(lambda: "training: " in (text := page.evaluate("document.body.innerText")) and "loss" in text)
        text = page.evaluate("document.body.innerText")
        assert "run=seen" in text
        assert str(server.artifacts) not in text
        page.evaluate("location.hash = 'tab=workers'")
        until(lambda: page.evaluate("document.querySelectorAll('.worker-table .taskProgressBar').length") == 1)
        assert "%" in page.evaluate("document.querySelector('.worker-table .taskProgressBar').innerText")
        (name,) = server.running()
        page.evaluate(f"location.hash = 'tab=graph&taskId={name}'")
        until(lambda: "ConvertRecords" in (page.evaluate("document.querySelector('svg')?.textContent") or ""))
    assert server.ask("stop")
    assert process.wait(60) == 30
    server.end()
    server.start()
    with browser() as page:
        page.open(f"http://127.0.0.1:{server.port}/history")
        assert "Train" in page.evaluate("document.body.innerText")


def test_three_luigis_convert_in_parts_and_one_of_them_may_be_killed(server, luigi):
    parts = ["--run", "parts", "--override", "records.parts=3"]
    first, second, third = (luigi("ConvertRecords", *parts) for _ in range(3))
    until(lambda: any((server.artifacts / "records").glob("*/begun.json")))
    os.killpg(first.pid, signal.SIGKILL)
    codes = {second.wait(120), third.wait(120)}
    assert codes <= {0, 10, 25}  # what another one is at work on is not theirs
    if 0 not in codes:  # the parts of the killed one are given out again when its worker has been silent for a minute
        assert luigi("ConvertRecords", *parts).wait(180) in (0, 10, 25)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "resnet",
            "convert",
            "--recipe",
            "digits",
            "--run",
            "parts",
            "--artifacts",
            str(server.artifacts),
            *(f"--override={one}" for one in [*SETTINGS, "records.parts=3"]),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    verified = subprocess.run(
        [sys.executable, "-m", "resnet", "verify", "--artifacts", str(server.artifacts)], capture_output=True, text=True
    )
    assert verified.returncode == 0, verified.stdout
