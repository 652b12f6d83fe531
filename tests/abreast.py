# SPDX-License-Identifier: ISC
"""Tests that mostly wait, several at a time, each in a process that is its own main thread."""

import contextlib
import io
import multiprocessing
import queue

PROCESSES = multiprocessing.get_context("fork")


def told(run, item):
    """What a test says stays together."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        result = run(item)
    return result, said.getvalue()


def worker(run, items, waiting, results):
    for at in iter(waiting.get, None):
        results.put(told(run, items[at]))


def abreast(jobs, run, items):
    """Yields run(item) for all items, in the order in which they end, and prints what each printed."""
    waiting, results = PROCESSES.Queue(), PROCESSES.Queue()
    workers = [PROCESSES.Process(target=worker, args=(run, items, waiting, results), daemon=True)
               for _ in range(jobs)]
    for each in workers:
        each.start()
    for at in list(range(len(items))) + jobs * [None]:
        waiting.put(at)
    left = len(items)
    while left:
        try:
            result, text = results.get(timeout=1)
        except queue.Empty:
            if any(each.exitcode for each in workers):
                raise RuntimeError("a test has ended its process") from None
            continue
        print(text, end="", flush=True)
        yield result
        left -= 1
    for each in workers:
        each.join()
