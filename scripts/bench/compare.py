"""Runs the measurements on the poolers given and prints markdown tables.

Called by scripts/bench-compare, which starts PostgreSQL and the poolers. Every figure is the
median over the pairs; every ratio is the median of the pairs' own ratios, pgweir to PgBouncer,
so that a machine that slows down half way moves both sides of it.
"""

import argparse
import dataclasses
import os
import platform
import statistics
import sys
import time

import pgbench
import procfs
import wire


@dataclasses.dataclass
class Pooler:
    name: str
    kind: str
    pid: int
    port: int


def arguments():
    parser = argparse.ArgumentParser()
    for option in ("--pgbench", "--work-dir"):
        parser.add_argument(option, required=True)
    for option in ("--pairs", "--seconds", "--idle-clients", "--scale"):
        parser.add_argument(option, required=True, type=int)
    for option in ("--clients", "--modes", "--parts"):
        parser.add_argument(option, required=True, type=str.split)
    parser.add_argument("poolers", nargs="+", help="NAME:KIND:PID:PORT")
    args = parser.parse_args()
    args.poolers = [
        Pooler(name, kind, int(pid), int(port)) for name, kind, pid, port in (each.split(":") for each in args.poolers)
    ]
    args.failures = []
    return args


def interleaved(args, poolers, measure, what, pairs=None):
    """Calls measure(pooler) in turn, A B A B, and returns {name: [result of each pair]}.

    A pooler that fails is left out from then on: half a pair tells nothing, and the program
    says so and ends with 1 after all else has been measured.
    """
    pairs = pairs or args.pairs
    results = {pooler.name: [] for pooler in poolers}
    for pair in range(pairs):
        for pooler in poolers:
            print(f"  {what}: pair {pair + 1} of {pairs}, {pooler.name}", file=sys.stderr, flush=True)
            try:
                results[pooler.name].append(measure(pooler))
            except (RuntimeError, OSError) as error:
                args.failures.append(f"{what}, {pooler.name}: {error}")
                print(f"  FAILED: {error}", file=sys.stderr, flush=True)
                poolers = [other for other in poolers if other is not pooler]
    return results


def cells(results, field, digits):
    """Median of a field for PgBouncer and for pgweir, and the ratio between them."""
    medians = {}
    for name in ("pgbouncer", "pgweir"):
        values = [getattr(result, field) for result in results.get(name, [])]
        medians[name] = f"{statistics.median(values):,.{digits}f}" if values else "–"
    ratios = [
        getattr(ours, field) / getattr(theirs, field)
        for theirs, ours in zip(results.get("pgbouncer", []), results.get("pgweir", []))
        if getattr(theirs, field)
    ]
    return [medians["pgbouncer"], medians["pgweir"], f"**{statistics.median(ratios):.2f}**" if ratios else "–"]


def table(title, first, fields, rows):
    """fields: (heading, field name, digits); rows: (first cells, results)."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(first) + "".join(f" | {heading}: PgBouncer | pgweir | ratio" for heading, _, _ in fields) + " |")
    print("|" + " --- |" * len(first) + " ---: |" * (3 * len(fields)))
    for cells_before, results in rows:
        line = [str(cell) for cell in cells_before]
        for _, field, digits in fields:
            line += cells(results, field, digits)
        print("| " + " | ".join(line) + " |", flush=True)


def of_kind(args, kind):
    return [pooler for pooler in args.poolers if pooler.kind == kind]


def transactions(args):
    poolers = of_kind(args, "trust")
    rows = []
    for mode in args.modes:
        # PgBouncer before 1.21 keeps no prepared statements in transaction mode.
        able = [pooler for pooler in poolers if mode != "prepared" or pooler.name == "pgweir"]
        for clients in map(int, args.clients):
            def measure(pooler, mode=mode, clients=clients):
                return pgbench.run(args.pgbench, pooler, args.work_dir, args.seconds, clients, mode, args.scale)

            rows.append(((mode, clients), interleaved(args, able, measure, f"{mode}, {clients} clients")))
    fields = [("tps", "tps", 0), ("CPU µs/transaction", "cpu_us", 1), ("p50 ms", "p50_ms", 2), ("p99 ms", "p99_ms", 2)]
    table("pgbench -S, 20 server connections", ["mode", "clients"], fields, rows)
    table("Share of the pooler's CPU time in user space", ["mode", "clients"], [("%", "user_percent", 1)], rows)


@dataclasses.dataclass
class Bulk:
    mb_per_s: float
    cpu_ms_per_mb: float


def bulk(args):
    """One client moving 5 x 100 MB, so that the CPU clock's 10 ms are a small part."""
    jobs = {
        "COPY out": lambda sock: wire.query(sock, "COPY wide TO STDOUT"),
        "COPY in": lambda sock: wire.copy_in(sock, "COPY sink FROM STDIN WHERE false", 100_000_000),
        "100 MB result": lambda sock: wire.query(sock, "SELECT text FROM wide"),
    }

    def measure(pooler, job):
        sock = wire.connect(pooler.port)
        job(sock)
        cpu, start = sum(procfs.cpu_seconds(pooler.pid)), time.monotonic()
        megabytes = sum(job(sock) for _ in range(5)) / 1e6
        elapsed, cpu = time.monotonic() - start, sum(procfs.cpu_seconds(pooler.pid)) - cpu
        sock.close()
        return Bulk(megabytes / elapsed, cpu * 1000 / megabytes)

    rows = [
        ([name], interleaved(args, of_kind(args, "trust"), lambda pooler, job=job: measure(pooler, job), name))
        for name, job in jobs.items()
    ]
    table("Bulk data, one client", ["what"], [("MB/s", "mb_per_s", 0), ("CPU ms/MB", "cpu_ms_per_mb", 3)], rows)


def logins(args):
    """pgbench -C: a new connection for each SELECT, from 8 clients."""
    rows = []
    for name, sslmode in (("SCRAM", "disable"), ("SCRAM, TLS", "require")):
        def measure(pooler, sslmode=sslmode):
            return pgbench.run(
                args.pgbench, pooler, args.work_dir, args.seconds, 8, "simple", args.scale, ["-C"], {"PGSSLMODE": sslmode}
            )

        rows.append(([name], interleaved(args, of_kind(args, "scram"), measure, f"logins with {name}")))
    fields = [("logins/s", "tps", 0), ("CPU µs/login", "cpu_us", 0), ("p99 ms", "p99_ms", 1)]
    table("Logins, each with one SELECT, 8 clients", ["authentication"], fields, rows)


@dataclasses.dataclass
class Memory:
    bytes_per_client: float


def memory(args):
    """Fresh poolers: one that has freed memory before would hide what a client needs."""
    warm = min(100, args.idle_clients // 2)

    def measure(pooler, tls):
        with wire.idle_clients(pooler.port, args.idle_clients, tls) as log_in:
            for count in log_in:
                if count == warm:
                    before = procfs.resident_bytes(pooler.pid)
            time.sleep(3)  # what is given back when a client falls idle has been given back
            after = procfs.resident_bytes(pooler.pid)
        return Memory((after - before) / (args.idle_clients - warm))

    rows = [
        ([name], interleaved(args, of_kind(args, kind), lambda pooler, tls=tls: measure(pooler, tls), f"idle clients, {name}", 1))
        for name, kind, tls in (("plain", "idle-plain", False), ("TLS", "idle-tls", True))
    ]
    title = f"Resident memory per idle client, {args.idle_clients:,} clients after one query each, measured once"
    table(title, ["connection"], [("bytes", "bytes_per_client", 0)], rows)


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown CPU")
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}"


def main():
    args = arguments()
    parts = {"pgbench": transactions, "copy": bulk, "logins": logins, "memory": memory}
    print(f"{machine()}; {args.pairs} pairs of {args.seconds} s")
    for part in args.parts:
        parts[part](args)
    if args.failures:
        sys.exit("these failed:\n" + "\n".join(args.failures))


if __name__ == "__main__":
    main()
