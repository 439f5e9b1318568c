"""Tell an address of every task that succeeds or fails: `webhook` under [pipeline] in luigi.cfg."""

from __future__ import annotations

import json
import logging
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

import luigi

from pipeline.configuration import pipeline
from pipeline.run_task import RunTask

logger = logging.getLogger("luigi-interface")
SECONDS = 10.0  # that the address may take; work waits for it


def install() -> None:
    """Have Luigi call this module, if an address is configured."""
    if pipeline().webhook:
        RunTask.event_handler(luigi.Event.SUCCESS)(lambda task: post(task, "succeeded", ""))
        # A process that runs a task, with --workers 2, may be killed before it can say so itself.
        for event in (luigi.Event.FAILURE, luigi.Event.PROCESS_FAILURE):
            RunTask.event_handler(event)(lambda task, error: post(task, "failed", str(error)))


def post(task: RunTask, result: str, error: str) -> None:
    """Send {"task", "run", "artifacts", "result", "error"} as JSON. What prevents it is one warning."""
    run = task.experiment
    body = {"task": task.task_family, "run": run.name, "artifacts": str(run.artifacts)}
    body |= {"result": result, "error": error}
    try:
        request = urllib.request.Request(
            pipeline().webhook, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=SECONDS):
            pass
    except OSError as failure:
        _warn(str(failure))
    except (ValueError, HTTPException):  # what they say has the address in it, which may be a secret
        _warn("the address cannot be used; it is written https://HOST/...")


def _warn(why: str) -> None:
    try:
        host = urlsplit(pipeline().webhook).hostname
    except ValueError:
        host = None
    logger.warning("the webhook%s did not take the news: %s", f" at {host}" if host else "", why)
