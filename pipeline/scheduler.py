"""luigid as this pipeline uses it: `python -m pipeline.scheduler`, or `make scheduler`.

It listens on this machine only, keeps its state and the history of tasks in artifacts/.luigi, and shows what a running
stage says beside its buttons, and the artifacts' pages: the links of tasks lead to them.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import pickle
import socket
import sys
from importlib import resources
from pathlib import Path

import luigi.configuration
import luigi.db_task_history
import luigi.server
import tornado.ioloop
import tornado.web
from luigi.scheduler import Scheduler
from sqlalchemy import URL
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule

from pipeline.page_link import FOLDER_PAGE
from resnet.errors import LockedElsewhere, UserError
from resnet.files import atomic, make_folder, remove_leftovers
from resnet.locks import locked

STATE, HISTORY = "state.pickle", "history.db"
KEPT_SECONDS = 2.0  # between two copies of the state: what a kill can lose
PAGE = "static/visualiser/index.html"
# After the buttons of a task, in both of the page's tables.
BUTTONS_END = ("{{/acceptsMessages}}\n            </div>", "{{/acceptsMessages}}\n                        </td>")
SAID = '{{#statusMessage}}<div class="said" style="white-space: pre-wrap">{{statusMessage}}</div>{{/statusMessage}}'
# What pages of the artifacts may do in a browser. What they open is as free as any page.
SANDBOX = "sandbox allow-scripts allow-downloads allow-popups allow-popups-to-escape-sandbox"


def main() -> int:
    """Serve until a signal comes; returns the exit code."""
    options = _options()
    folder = Path(os.path.abspath(Path(options.artifacts).expanduser())) / ".luigi"
    try:
        make_folder(folder)
        folder.chmod(0o700)  # the state is a pickle; somebody else's folder is refused by this
        with locked(folder):
            remove_leftovers(folder, ".*")
            _require_free(options.address, options.port)
            configure(folder)
            serve(folder, options.address, options.port)
    except LockedElsewhere:
        print(
            f"error: a scheduler runs for {folder.parent} already. Stop it, or give another --artifacts.",
            file=sys.stderr,
        )
        return LockedElsewhere.exit_code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {folder} cannot be used: {error.strerror}. Give another --artifacts.", file=sys.stderr)
        return 1
    return 0


def configure(folder: Path) -> None:
    """Have Luigi keep its state and its history in this folder."""
    config = luigi.configuration.get_config()
    history = URL.create("sqlite", database=str(folder / HISTORY)).render_as_string()
    config.set("scheduler", "state_path", str(folder / STATE).replace("%", "%%"))
    config.set("scheduler", "record_task_history", "true")
    config.set("task_history", "db_connection", history.replace("%", "%%"))
    # It brings tables of Luigi 1 up to date, in a way that SQLAlchemy 2 refuses. Ours are never so old.
    luigi.db_task_history._upgrade_schema = lambda engine: None


def serve(folder: Path, address: str, port: int) -> None:
    """Run luigid with our pages, until it gets a signal."""
    app = luigi.server.app

    def with_pages(scheduler: Scheduler) -> tornado.web.Application:
        application = app(scheduler)
        refused = Rule(Foreign({"127.0.0.1", "localhost", "::1", address, *_own_names(address)}), Refused)
        pages: list = [
            (FOLDER_PAGE, Folder, {"folder": folder.parent}),
            (r"/static/visualiser/index\.html", Visualiser),
            (r"/artifacts/(.*)", Artifacts, {"path": folder.parent}),
        ]
        ours = tornado.web.Application(pages).default_router.rules[:1]
        application.default_router.rules[:0] = [refused, *ours]
        return application

    luigi.server.app = with_pages
    scheduler = Scheduler()
    keeper = Keeper(scheduler, folder / STATE)
    tornado.ioloop.PeriodicCallback(keeper.keep, 1000 * KEPT_SECONDS).start()
    print(
        f"the scheduler's page: http://{address}:{port}   all runs: http://{address}:{port}/artifacts/index.html",
        flush=True,
    )
    luigi.server.run(api_port=port, address=address, scheduler=scheduler)


def _own_names(address: str) -> set[str]:
    """Names under which other machines may ask for this one, if they can reach it at all."""
    return set() if address in ("127.0.0.1", "localhost", "::1") else {socket.gethostname()}


class Keeper:
    """Writes the state as Luigi does at its end, whenever it has changed, so that a killed luigid forgets little."""

    def __init__(self, scheduler: Scheduler, path: Path) -> None:
        self._scheduler, self._path, self._kept = scheduler, path, b""

    def keep(self) -> None:
        """Write it, if it is another than last time."""
        state = pickle.dumps(self._scheduler._state.get_state())
        if state == self._kept:
            return
        try:
            with atomic(self._path) as file:
                file.write(state)
            self._kept = state
        except OSError as error:  # the next copy is tried in a few seconds
            logging.getLogger("luigi.scheduler").warning("%s cannot be written: %s", self._path, error.strerror)


class Foreign(Matcher):
    """Requests of pages of others in the same browser: under a name that they have made lead here, or to Luigi's API
    from another origin. (What is not a browser states none.)"""

    def __init__(self, hosts: set[str]) -> None:
        self._hosts = hosts

    def match(self, request: HTTPServerRequest) -> dict | None:
        is_known = request.host_name.strip("[]") in self._hosts or "0.0.0.0" in self._hosts
        is_across = request.path.startswith("/api/") and _is_of_another_origin(request)
        return {} if is_across or not is_known else None


def _is_of_another_origin(request: HTTPServerRequest) -> bool:
    origin = request.headers.get("Origin")
    is_other_site = request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")
    return is_other_site or (origin is not None and origin.partition("://")[2] != request.host)


class Refused(tornado.web.RequestHandler):
    """The answer to these."""

    def prepare(self) -> None:
        self.set_status(403)
        self.finish("Refused: this scheduler answers at its own address, and its own pages. See --address.")


class Visualiser(tornado.web.RequestHandler):
    """Luigi's page, with what a running stage says beside its buttons instead of behind one of them."""

    def get(self) -> None:
        self.finish(with_messages(resources.files("luigi").joinpath(PAGE).read_text(encoding="utf-8")))


def with_messages(page: str) -> str:
    """Luigi's page with the messages of tasks in sight; as it is where it has changed."""
    for end in BUTTONS_END:
        head, closing = end.split("\n", 1)
        page = page.replace(end, f"{head}\n{SAID}\n{closing}")
    return page


class Folder(tornado.web.RequestHandler):
    """Which artifacts folder this scheduler shows, for tasks that want to link to it."""

    def initialize(self, folder: Path) -> None:
        self._folder = folder

    def get(self) -> None:
        self.finish({"artifacts": str(self._folder)})


class Artifacts(tornado.web.StaticFileHandler):
    """Files of the artifacts folder, to read. No link out of it is followed, and hidden files are not shown."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        try:
            path = Path(absolute_path)
            is_hidden = any(part.startswith(".") for part in path.relative_to(Path(root)).parts)
            is_shown = not is_hidden and path.resolve().is_relative_to(Path(root).resolve())
        except (ValueError, RuntimeError):  # outside; a link that leads to itself
            is_shown = False
        if not is_shown:
            raise tornado.web.HTTPError(403)
        return super().validate_absolute_path(root, absolute_path)

    def compute_etag(self) -> str | None:
        """None: Tornado's would be of the file's first content, and read gigabytes for it."""
        return None

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        # A page that was adopted from elsewhere may show itself, and ask this scheduler for nothing.
        self.set_header("Content-Security-Policy", SANDBOX)

    def get_content_type(self) -> str:
        is_text = self.absolute_path is not None and self.absolute_path.endswith((".txt", ".jsonl", ".toml", ".md"))
        return "text/plain; charset=utf-8" if is_text else super().get_content_type()


def _require_free(address: str, port: int) -> None:
    try:
        if not 0 < port < 1 << 16:
            raise OSError(errno.EINVAL, "ports are numbers from 1 to 65,535")
        family, *_, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(place)
    except OSError as error:
        raise UserError(
            f"the scheduler cannot listen at {address}:{port}: {error.strerror}. Stop what does, or give another "
            "--port (and default-scheduler-port under [core] in luigi.cfg), or another --address."
        ) from None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.scheduler", description=__doc__)
    address = "to listen at (default: this machine only). Anybody who reaches it can read the artifacts and stop runs"
    parser.add_argument("--address", default="127.0.0.1", help=address)
    parser.add_argument("--port", type=int, default=8082)
    parser.add_argument("--artifacts", default="artifacts", help="folder whose pages are shown, and that has .luigi")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
