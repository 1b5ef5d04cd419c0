"""Runs pgbench once and measures the pooler's CPU over the same window as the throughput.

The window opens at pgbench's first progress report and closes at its last one: logins,
warm-up and the end of the run are in neither figure.
"""

import dataclasses
import glob
import os
import re
import subprocess

import procfs

PROGRESS = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps")
MAX_LOGGED_TPS = 4000  # of latencies per second: enough for a p99, too few to cost pgbench time


@dataclasses.dataclass
class Run:
    tps: float
    cpu_us: float  # of the pooler, user and system, per transaction
    user_percent: float  # of cpu_us
    p50_ms: float
    p99_ms: float


def run(pgbench, pooler, work_dir, seconds, clients, mode, scale, options=(), env=None):
    """One pgbench -S of `seconds` after one second of warm-up."""
    prefix = os.path.join(work_dir, "latency")
    for path in glob.glob(prefix + ".*"):
        os.remove(path)
    command = [
        pgbench, "-n", "-S", "-s", str(scale), "-M", mode, "-c", str(clients), "-j", str(min(2, clients)),
        "-T", str(seconds + 1), "-P", "1", "-p", str(pooler.port),
        "-l", "--log-prefix", prefix, "--sampling-rate", "0.2", *options,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    samples, errors, last = [], [], 0.0
    for line in process.stderr:
        match = PROGRESS.match(line)
        if match:
            now, tps = map(float, match.groups())
            samples.append((procfs.cpu_seconds(pooler.pid), tps * (now - last), now - last))
            last = now
        elif "error" in line or "fatal" in line:
            errors.append(line.strip())
    output = process.stdout.read()
    if process.wait() != 0 or errors or len(samples) < 2:
        raise RuntimeError(f"pgbench on {pooler.name} failed:\n" + "\n".join(errors[:5] or [output]))
    transactions = sum(count for _, count, _ in samples[1:])
    (user0, system0), (user1, system1) = samples[0][0], samples[-1][0]
    cpu = user1 - user0 + system1 - system0
    p50, p99 = percentiles(latencies_us(prefix), (0.50, 0.99))
    return Run(
        tps=transactions / sum(length for _, _, length in samples[1:]),
        cpu_us=cpu / max(transactions, 1) * 1e6,
        user_percent=100 * (user1 - user0) / cpu if cpu else 0.0,
        p50_ms=p50 / 1000,
        p99_ms=p99 / 1000,
    )


def latencies_us(prefix):
    """The third field of each line that pgbench -l wrote."""
    values = []
    for path in glob.glob(prefix + ".*"):
        with open(path) as file:
            values.extend(int(fields[2]) for line in file if (fields := line.split())[2].isdigit())
    return values


def percentiles(values, points):
    values = sorted(values)
    if not values:
        return [float("nan")] * len(points)
    return [values[min(len(values) - 1, int(len(values) * point))] for point in points]
