#!/usr/bin/env python3
"""The same programs on C libevent and on duolu's, alternating: A B B A B A ...; ratios by pair, median and quartiles.

run.py [--runs N] [--only NAME ...] [--directory DIR]
DIR holds duolu's libevent-2.1.so.7 and its links; without it the crate is built and laid out under target/.
The programs need libevent-dev; the counts need valgrind; memcached is measured where it is installed."""

import argparse
import os
import re
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LINKS = ["libevent-2.1.so.7", "libevent_core-2.1.so.7", "libevent_extra-2.1.so.7", "libevent_pthreads-2.1.so.7"]

# name, program and arguments, environment of ours, aim in words
TIMED = [
    ("persistent, 100 pipes, 10 active", ["events", "persist", "100", "10", "20000", "5"], {}, "<= 0.97"),
    ("persistent, 1,000 pipes, 100 active", ["events", "persist", "1000", "100", "20000", "5"], {}, "<= 0.97"),
    ("persistent, 8,000 pipes, 100 active", ["events", "persist", "8000", "100", "20000", "5"], {}, "<= 0.97"),
    ("persistent on io_uring, 100 pipes, 10 active", ["events", "persist", "100", "10", "20000", "5"], {"DUOLU_BACKEND": "io_uring"}, "<= 0.9"),
    ("persistent on io_uring, 1,000 pipes, 100 active", ["events", "persist", "1000", "100", "20000", "5"], {"DUOLU_BACKEND": "io_uring"}, "<= 0.9"),
    ("persistent on io_uring, 8,000 pipes, 100 active", ["events", "persist", "8000", "100", "20000", "5"], {"DUOLU_BACKEND": "io_uring"}, "<= 0.9"),
    ("not persistent, 100 pipes, 10 active", ["events", "once", "100", "10", "20000", "5"], {}, "<= 0.65"),
    ("not persistent, 1,000 pipes, 100 active", ["events", "once", "1000", "100", "20000", "5"], {}, "<= 0.65"),
    ("event_del + event_add, one event", ["readd", "same", "200000", "3"], {}, "<= 0.1"),
    ("event_del + event_add, once in a turn", ["readd", "each", "200000", "3"], {}, ""),
    ("a million timers added", ["timers", "add", "1000000"], {}, ""),
    ("a million timers fired", ["timers", "fire", "1000000"], {}, "<= 0.125"),
    ("bufferevent echo, 64 B, rate", ["echo", "rate", "64", "50", "1"], {}, ">= 1.3"),
    ("bufferevent echo, 64 B, processor", ["echo", "cpu", "64", "50", "1"], {}, ""),
    ("bufferevent echo, 16 KiB, rate", ["echo", "rate", "16384", "50", "1"], {}, ">= 4"),
    ("bufferevent echo, 16 KiB, processor", ["echo", "cpu", "16384", "50", "1"], {}, ""),
    ("evbuffer: 64 B in and out, ns", ["buffers", "message", "2000000"], {}, ""),
    ("evbuffer: 64 B to the end of a queue, ns", ["buffers", "queue", "2000000"], {}, ""),
    ("evbuffer: 4 KiB in and out, ns", ["buffers", "block", "1000000"], {}, ""),
    ("evbuffer: a line in and out, ns", ["buffers", "line", "1000000"], {}, ""),
    ("evbuffer: printf and drain, ns", ["buffers", "text", "1000000"], {}, ""),
    ("evbuffer: 64 B into another and out, ns", ["buffers", "move", "1000000"], {}, ""),
    ("an idle bufferevent, bytes", ["idle", "5000"], {}, "<= 0.6"),
]
# name, program and arguments with {n} events, aim for ours
COUNTED = [
    ("instructions a persistent event", ["events", "persist", "100", "10", "{n}", "1"], "<= 150"),
    ("instructions a non-persistent event", ["events", "once", "100", "10", "{n}", "1"], "<= 350"),
    ("instructions a timer made, added and fired", ["timers", "fire", "{n}"], ""),
    ("instructions a timer fired and added again", ["timers", "again", "{n}"], ""),
    ("instructions for 64 B in and out of an evbuffer", ["buffers", "message", "{n}"], "<= C's"),
    ("instructions for 64 B to the end of an evbuffer", ["buffers", "queue", "{n}"], "<= C's"),
    ("instructions for 4 KiB in and out of an evbuffer", ["buffers", "block", "{n}"], "<= C's"),
    ("instructions for a line in and out of an evbuffer", ["buffers", "line", "{n}"], "<= C's"),
    ("instructions for printf to an evbuffer and drain", ["buffers", "text", "{n}"], "<= C's"),
    ("instructions for 64 B into another evbuffer and out", ["buffers", "move", "{n}"], "<= C's"),
]


def lay_out():
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "duolu-libevent"], cwd=ROOT, check=True)
    directory = os.path.join(ROOT, "target", "bench-libevent")
    os.makedirs(directory, exist_ok=True)
    for name in LINKS:
        path = os.path.join(directory, name)
        if os.path.lexists(path):
            os.remove(path)
        os.symlink("../release/libduolu_libevent.so" if name == LINKS[0] else LINKS[0], path)
    return directory


def environment(directory, more):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DUOLU_", "EVENT_"))}
    if directory:
        env.update(more, LD_LIBRARY_PATH=directory)
    return env


def number(command, directory, more):
    done = subprocess.run(command, env=environment(directory, more), capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return float(done.stdout.split()[0])


def in_turn(runs, measure, ours):
    """Pairs of (theirs, ours); who goes first alternates."""
    pairs = []
    for run in range(runs):
        first, second = (None, ours) if run % 2 == 0 else (ours, None)
        values = {first: measure(first), second: measure(second)}
        pairs.append((values[None], values[ours]))
    return pairs


def tell(name, pairs, aim):
    ratios = [mine / theirs for theirs, mine in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    theirs = statistics.median(pair[0] for pair in pairs)
    mine = statistics.median(pair[1] for pair in pairs)
    print(f"| {name} | {theirs:,.1f} | {mine:,.1f} | {middle:.3f} | {low:.3f} to {high:.3f} | {aim} |", flush=True)


def instructions(command, directory):
    """Userland instructions that one more event costs: from two runs of different length."""
    counts = []
    for events in (20000, 60000):
        with tempfile.NamedTemporaryFile() as out:
            line = [word.format(n=events) for word in command]
            tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"]
            done = subprocess.run(tool + line, env=environment(directory, {}), capture_output=True, text=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        if not found:
            sys.exit(f"valgrind said: {done.stderr.strip()}")
        counts.append(int(found.group(1)))
    return (counts[1] - counts[0]) / 40000


def spent(pid):
    """Nanoseconds of processor that all threads of a process have had."""
    tasks = f"/proc/{pid}/task"
    return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks))


def memcached(runs, ours):
    """What a get costs memcached's processor, asked by many connections at once (the client here is the slower end)."""
    program = shutil.which("memcached")
    if not program:
        return

    def measure(directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        command = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "1", "-m", "64"] + user
        server = subprocess.Popen(command, env=environment(directory, {}), stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.02)
            before = spent(server.pid)
            answered = ask(port)
            return (spent(server.pid) - before) / answered
        finally:
            server.terminate()
            server.wait()

    def ask(port):
        """Gets over 100 connections, one under way on each, for 2 s; how many were answered."""
        waiting, end, answered = selectors.DefaultSelector(), time.monotonic() + 2, 0
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"get nothing\r\n")
            waiting.register(connection, selectors.EVENT_READ)
        while time.monotonic() < end:
            for key, _ in waiting.select(1):
                if key.fileobj.recv(4096) != b"END\r\n":
                    sys.exit("memcached gave a wrong answer")
                answered += 1
                key.fileobj.sendall(b"get nothing\r\n")
        return answered

    tell("memcached, processor ns a get, 100 connections", in_turn(runs, measure, ours), "<= 1.0")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--directory")
    arguments = parser.parse_args()
    ours = os.path.abspath(arguments.directory) if arguments.directory else lay_out()
    build = os.path.join(ROOT, "target", "bench-libevent", "programs")
    os.makedirs(build, exist_ok=True)
    for name in ("events", "readd", "timers", "echo", "buffers", "idle"):
        subprocess.run(["cc", "-O2", "-o", f"{build}/{name}", f"{HERE}/{name}.c", "-levent"], check=True)
    resource_limit()

    def wanted(name):
        return not arguments.only or any(word in name for word in arguments.only)

    print("| what | C libevent | duolu | ratio, median | quartiles | aim |\n|---|---|---|---|---|---|")
    for name, command, more, aim in TIMED:
        if wanted(name):
            line = [f"{build}/{command[0]}"] + command[1:]
            tell(name, in_turn(arguments.runs, lambda where: number(line, where, more), ours), aim)
    if wanted("memcached"):
        memcached(min(arguments.runs, 7), ours)
    for name, command, aim in COUNTED:
        if wanted(name) and shutil.which("valgrind"):
            line = [f"{build}/{command[0]}"] + command[1:]
            tell(name, [(instructions(line, None), instructions(line, ours))], aim)


def resource_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
