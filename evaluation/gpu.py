"""Measure everything that needs a GPU with one command: correctness in bfloat16, kernels, layers, scan, training step.

    PYTHONPATH=. python evaluation/gpu.py --out results_gpu
    PYTHONPATH=. python evaluation/gpu.py --device cpu --dry --out /tmp/dry      # tries every path, tiny, interpreted

Jobs run in the order of their importance (`gpu_jobs.py`) until the time is up; all ends a minute later. Each one's rows
are written as soon as they are there, a failure as a row with its reason; the same command again goes on where it
stopped, and tries anew what failed, what a gate did not let pass and what other code measured. The jobs run in a second
process: where a job breaks the device, hangs or kills that process, the failure is written down and a new process takes
the next job.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tsfm.evaluation.results import put_rows, read_csv

BROKEN = 3  # exit status of a worker whose device no longer answers
LONGEST = 150.0  # seconds a job may take, compilation included
START = 60.0  # seconds a worker may take to its first job
GRACE = 60.0  # seconds a job that began in time may go on after the time is up
CODE = ("tsfm/kernels/*.py", "tsfm/nn/*.py", "tsfm/models/*.py", "evaluation/gpu*.py", "evaluation/speed_*.py")


def add_rows(folder: Path, table: str, job: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put a job's rows in place of what stood there of it; columns are those of all rows."""
    put_rows(folder / f"{table}.csv", [{"job": job, "error": "", **row} for row in rows], ["job"])


def done(folder: Path, table: str, code: str) -> set[str]:
    """Jobs of a table that need not run again: this code made all their rows, and none is bad."""
    rows = read_csv(folder / f"{table}.csv")
    return {row["job"] for row in rows} - {row["job"] for row in rows if bad(row) or row.get("code") != code}


def bad(row: Mapping[str, Any]) -> bool:
    """Whether a row tells of a job that failed, a gate that did not pass, or a layer of ours that was not timed."""
    ours = str(row.get("way", "")).startswith("ours")
    return bool(row.get("failed") or row.get("passed") == "False" or (ours and row.get("error")))


def failure(folder: Path, table: str, job: str, reason: str, columns: Mapping[str, Any]) -> None:
    """Write a failure down as the job's only row."""
    add_rows(folder, table, job, [{"error": reason[:300], "failed": "yes", **columns}])


def work(options: argparse.Namespace) -> int:
    """Run the jobs that are left; what a worker process does."""
    import torch

    from evaluation.gpu_jobs import Bench, jobs
    from evaluation.speed_layers import code_of, made_by

    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    about, current = {**made_by(device), "code": code_of(*CODE)}, options.out / ".running.json"
    for job in jobs(Bench(device, options.dry)):
        if job.name in done(options.out, job.table, about["code"]) or f"{job.table} {job.name}" in options.skip:
            continue
        if time.time() > options.until:
            print(f"time is up before {job.table}: {job.name}")
            return 0
        current.write_text(json.dumps({"table": job.table, "name": job.name, "since": time.time()}))
        start, reason = time.perf_counter(), ""
        try:
            rows = job.run()
            took = {"job_seconds": time.perf_counter() - start}
            add_rows(options.out, job.table, job.name, [{**row, "failed": "", **took, **about} for row in rows])
            print(f"{time.perf_counter() - start:6.1f} s  {job.table}: {job.name}", flush=True)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".replace("\n", " ")
            failure(options.out, job.table, job.name, reason, about)
            print(f"failed  {job.table}: {job.name}: {reason[:160]}", flush=True)
        if not alive(device):  # a job may have survived what broke it, as a row with an error
            failure(options.out, job.table, job.name, f"the device no longer answers {reason}".strip(), about)
            return BROKEN
    return 0


def alive(device: Any) -> bool:
    """Whether the device still computes; after an illegal access it refuses everything."""
    import torch

    try:
        return float(torch.ones(2, device=device).sum()) == 2
    except RuntimeError:
        return False


def watched(command: list[str], folder: Path, until: float) -> tuple[int | None, dict[str, Any]]:
    """Run a worker; its exit status, None where it was stopped for taking too long, and the job it was at."""
    current, begun, running = folder / ".running.json", time.time(), dict[str, Any]()
    current.unlink(missing_ok=True)
    worker = subprocess.Popen(command, env=os.environ)
    while worker.poll() is None:
        time.sleep(0.2)
        running = at(current) or running
        last = running["since"] + LONGEST if running else begun + START
        if time.time() > min(last, until + GRACE):
            worker.kill()
            worker.wait()
            return None, running
    return worker.returncode, at(current) or running


def at(current: Path) -> dict[str, Any]:
    """The last job that began, empty before the first."""
    try:
        found: dict[str, Any] = json.loads(current.read_text())
    except (OSError, ValueError):
        return {}
    return found


def supervise(options: argparse.Namespace) -> int:
    """Start workers until all jobs are done or the time is up."""
    options.out.mkdir(parents=True, exist_ok=True)
    until, skip = time.time() + 60 * options.minutes, list[str]()
    while time.time() < until:
        command = [sys.executable, __file__, "--out", str(options.out), "--device", options.device, "--worker"]
        command += ["--until", str(until), *(["--dry"] if options.dry else []), *(f"--skip={name}" for name in skip)]
        status, job = watched(command, options.out, until)
        if status == 0:
            break
        if not job:
            print(f"the worker {'hung' if status is None else f'ended with status {status}'} before its first job")
            return 1
        if status != BROKEN:  # else the worker wrote the failure itself
            reason = "took too long" if status is None else f"killed its process (status {status})"
            failure(options.out, job["table"], job["name"], reason, {})
            print(f"failed  {job['table']}: {job['name']}: {reason}", flush=True)
        skip.append(f"{job['table']} {job['name']}")
    (options.out / ".running.json").unlink(missing_ok=True)
    return report(options.out)


def report(folder: Path) -> int:
    """Print what is there; 1 where a gate did not pass, a job failed or a layer of ours was not timed."""
    wrong = 0
    for path in sorted(folder.glob("*.csv")):
        rows = read_csv(path)
        failed = list(dict.fromkeys(row["job"] for row in rows if bad(row)))
        wrong += len(failed)
        print(
            f"{path.name}: {len(rows)} rows, {len(failed)} jobs failed{': ' + '; '.join(failed[:5]) if failed else ''}"
        )
    return int(wrong > 0)


def main() -> int:
    """Watch over a worker, or be one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables; go on with what is there")
    parser.add_argument("--minutes", type=float, default=7.0, help="start no job after this")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dry", action="store_true", help="tiny sizes; on a processor under Triton's interpreter")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--skip", action="append", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cpu":
        if not options.dry:
            parser.error("--device cpu is for --dry: without a GPU there is nothing to measure here")
        os.environ["TRITON_INTERPRET"] = "1"  # before a kernel file is imported
    return work(options) if options.worker else supervise(options)


if __name__ == "__main__":
    sys.exit(main())
