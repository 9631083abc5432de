"""What the benchmarks share: processes on chosen cores, and the table of a document that they write."""

import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import signal
import socket
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def binaries():
    metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT))
    return pathlib.Path(metadata["target_directory"]) / "release"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(url, process, bound):
    """Seconds until the URL answers 200."""
    start = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return time.monotonic() - start
        except OSError:
            pass
        if process.poll() is not None:
            raise SystemExit(f"{process.args[-1]}: ended with {process.returncode} before {url} was ready")
        if time.monotonic() - start > bound:
            raise SystemExit(f"{url} was not ready within {bound} s")
        time.sleep(0.002)


@contextlib.contextmanager
def server(core, arguments, ready, log, bound=120):
    """A process on one core, from its readiness to its orderly end."""
    with open(log, "ab") as output:
        process = subprocess.Popen(["taskset", "-c", str(core), *map(str, arguments)], stdout=output, stderr=output, cwd=log.parent)
    try:
        process.seconds_to_ready = wait_until_ready(ready, process, bound)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def memory(process, key="VmRSS"):
    """Bytes."""
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M).group(1)) * 1024


def generate(directory, *arguments, cores="1"):
    """One run of the generator, as what it printed."""
    command = ["taskset", "-c", cores, str(directory / "fogflow-bench"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Table:
    """The rows that were measured, on their way into a document."""

    HEAD = ["Figure", "Value", "Yardstick", "Share", "Must", "Aim", "Met", "Remark", "Measured"]

    def __init__(self, document):
        self.document, self.rows = document, []

    @staticmethod
    def quiet():
        return os.getloadavg()[0] < 2.5

    def timed(self, name, value, ok, **more):
        """A row about rates or times, which only a quiet machine can judge."""
        if not self.quiet():
            ok, more["note"] = None, "; ".join(part for part in [more.get("note", ""), "not judged: the machine was busy"] if part)
        self.row(name, value, ok=ok, **more)

    def row(self, name, value, yardstick="", share="", must="", aim="", ok=None, note=""):
        verdict = "" if ok is None else ("yes" if ok else "**no**")
        self.rows.append([name, value, yardstick, share, must, aim, verdict, note])
        print(f"{name:58} {value:>20} {share:>8}  must {must:>10}  {verdict} {note}", flush=True)

    def write(self):
        """Replaces the rows that were measured, keeps the others."""
        text = self.document.read_text()
        before, rest = text.split(BEGIN, 1)
        old, after = rest.split(END, 1)
        rows = {}
        for line in old.splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if len(cells) == len(self.HEAD) and cells[0] != self.HEAD[0] and not cells[0].startswith("---"):
                rows[cells[0]] = cells
        commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
        measured = f"{datetime.date.today()}, {commit}, load {os.getloadavg()[0]:.0f}"
        rows.update({row[0]: [*row, measured] for row in self.rows})
        cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
        intro = (f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}. *Measured* names the day, the commit and how many programs wanted to run "
                 "at the end: more than the cores means that others took part of the time.")
        lines = ["| " + " | ".join(row) + " |" for row in [self.HEAD, ["---"] * len(self.HEAD), *rows.values()]]
        self.document.write_text(before + BEGIN + "\n" + "\n".join([intro, "", *lines]) + "\n" + END + after)
        print(f"written: {self.document.relative_to(ROOT)}")
