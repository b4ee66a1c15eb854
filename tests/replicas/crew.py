"""The threads and processes of a run: none outlives it, and what breaks in one ends the run."""

import pathlib
import subprocess
import threading
import time


class Broken(Exception):
    """The harness, not what it tests, cannot go on."""


def until(condition, what, seconds=60):
    """Waits for `condition`, and returns what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    raise Broken(f"waited {seconds} s in vain: {what}")


class Crew:
    def __init__(self):
        self.stopped = threading.Event()
        self.threads = []
        self.processes = []
        self.broken = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for process in list(self.processes):
            self.end(process)
        for thread in self.threads:
            thread.join(15)

    def thread(self, work, *arguments):
        """Runs `work`, which returns when `stopped` is set, in a thread."""

        def run():
            try:
                work(*arguments)
            except Exception as error:
                if not self.stopped.is_set():
                    self.broken = error

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def process(self, command, **options):
        # A session of its own, so that Ctrl-C reaches this program alone, which then ends the others in order.
        process = subprocess.Popen(command, start_new_session=True, **options)
        self.processes.append(process)
        return process

    def end(self, process):
        """Kills a process, if it still runs, and forgets it."""
        process.kill()
        process.wait()
        self.processes.remove(process)
        # What libfaketime leaves behind when it is killed; a later process with this id would stumble over it.
        for name in (f"faketime_shm_{process.pid}", f"sem.faketime_sem_{process.pid}"):
            pathlib.Path("/dev/shm", name).unlink(missing_ok=True)

    def wait(self, seconds):
        """Sleeps; says whether there is still something to do."""
        if self.broken:
            raise self.broken
        return not self.stopped.wait(max(0, seconds))
