"""The memory of one lingpai on all cores through COMPARE_REQUESTS requests of every kind, as run memory says."""

import os
import tempfile
from pathlib import Path

from servers import Lingpai

REQUESTS = int(os.environ.get("COMPARE_REQUESTS", 10_000_000))
SECONDS = 10


def main():
    with tempfile.TemporaryDirectory() as name:
        lingpai = Lingpai(Path(name))
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        server = lingpai.serve(cores=cores)
        try:
            soak(lingpai, server, cores)
        finally:
            server.stop()


def soak(lingpai, server, cores):
    server.ask("POST", "/token", lingpai.basic)
    idle, _ = server.memory()
    print(f"\n{'answers':>12}{'KiB':>8}{'most':>8}\n{1:12,}{idle:8,}", flush=True)
    lingpai.prepare(server)
    kinds = "create", "repeated", "distinct", "refresh"
    loads = [lingpai.load("lingpai", server, kind, cores=cores) for kind in kinds]
    done = shown = 0
    while done < REQUESTS:
        for load in loads:
            done += load.run(min(SECONDS, 1 + REQUESTS // 1_000_000))["requests"]
        if done - shown >= REQUESTS // 10:
            shown = done
            resident, most = server.memory()
            print(f"{done:12,}{resident:8,}{most:8,}", flush=True)
    resident, most = server.memory()
    print(f"\nmemory  {idle} KiB idle, {resident} KiB after {done:,} answers, {most} KiB at most")


main()
