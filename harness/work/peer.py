"""A worker of a job other than the first, started by :mod:`harness.work.peers` as ``python -m harness.work.peer``.

The first line of its standard input is its task (:class:`harness.work.peers.PeerPlace`). Its standard output has lines
of JSON: ``{"ready": true}`` once it can meet the others, ``{"error": "..."}`` if it fails. It does the same work as the
first worker on its share of the data, and leaves no file and no record.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from select import select
from typing import TextIO

import torch

from accounting.study.folder import StudyFolder
from accounting.study.plugins import PluginFile, use
from harness.config.study import DatasetConfig
from harness.data.registry import open_dataset
from harness.data.sized import splits_at
from harness.errors import typed_line
from harness.jobs.spec import from_json
from harness.jobs.work import SharedWork
from harness.training.loop import seed_everything
from harness.training.workers import joined
from harness.work.bench import Bench
from harness.work.peers import PeerPlace
from harness.work.shared import shared_work

LOOK_S = 0.5
EXIT_CODE = 75
"""``EX_TEMPFAIL``, as for a worker that has lost its place."""


def main() -> None:
    """Work until the job is done or the first worker is gone."""
    first = os.getppid()
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library's output is not a message
    place: PeerPlace = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(first,), name="first worker", daemon=True).start()
    try:
        _work(place, said)
    except BaseException as error:
        print(json.dumps({"error": typed_line(error)}), file=said)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # does not wait for anything that a broken connection blocks


def _end_with(first: int) -> None:
    """End this process when the first worker is gone: its end of the pipe closes, or the parent process changes."""
    while os.getppid() == first:
        readable, _, _ = select([sys.stdin], [], [], LOOK_S)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
    os._exit(EXIT_CODE)


def _work(place: PeerPlace, said: TextIO) -> None:
    use(tuple(PluginFile.from_dict(file) for file in place["plugins"]))
    job = from_json(place["job"])  # type: ignore[arg-type]  # a spec, as the first worker wrote it
    torch.set_num_threads(place["num_threads"])
    seed_everything(job.seed, 0)
    splits = splits_at(open_dataset(DatasetConfig.model_validate(place["dataset"])).splits(), job.image_size)
    device = torch.device(place["torch_device"])
    if device.type == "cuda":
        device = torch.device("cuda", place["rank"])
    print(json.dumps({"ready": True}), file=said)
    with joined(place["rank"], place["size"], Path(place["store"]), device) as crew:
        paths = StudyFolder(Path(place["root"]))
        every_s = place["checkpoint_every_s"]
        bench = Bench(job, paths, splits, device, lambda epochs: None, lambda epoch: None, crew, every_s=every_s)
        if not isinstance(job.work, SharedWork):
            raise ValueError(f"{job.name} is not a job that several workers share")
        shared_work(job.work, bench)


if __name__ == "__main__":
    main()
