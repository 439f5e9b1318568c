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
        RunTask.event_handler(luigi.Event.FAILURE)(lambda task, error: post(task, "failed", str(error)))


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
    except (OSError, ValueError, HTTPException) as failure:
        place = urlsplit(pipeline().webhook)  # the rest may be a secret
        logger.warning("the webhook %s://%s did not take the news: %s", place.scheme, place.netloc, failure)
