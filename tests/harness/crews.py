"""Run a function in one process per worker of a crew, joined by gloo."""

import multiprocessing
import pickle
import traceback

import torch

from harness.training.workers import joined


def in_crew(size, folder, work, within_s=120):
    """The results of ``work(crew)`` by rank; an error in any worker is raised here with its traceback."""
    context = multiprocessing.get_context("fork")  # torch is already imported
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "store"
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = [
        context.Process(target=_worker, args=(rank, size, store, work, sender))
        for rank, (_, sender) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    try:
        answers = [
            pickle.loads(receiver.recv_bytes()) if receiver.poll(within_s) else ("error", f"no answer in {within_s} s")
            for receiver, _ in pipes
        ]
    finally:
        for process in processes:
            process.kill()
            process.join()
    errors = [value for kind, value in answers if kind == "error"]
    if errors:
        raise RuntimeError("\n".join(errors))
    return [value for _, value in answers]


def _worker(rank, size, store, work, sender):
    torch.set_num_threads(1)
    try:
        with joined(rank, size, store, torch.device("cpu")) as crew:
            answer = "value", work(crew)
    except BaseException:
        answer = "error", f"worker {rank}: {traceback.format_exc()}"
    sender.send_bytes(pickle.dumps(answer))  # pickle copies tensors; shared handles would end with this process
