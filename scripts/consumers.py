#!/usr/bin/env python3
"""Which of Debian's programs that link libevent start on duolu's, and do what they do on C libevent.

consumers.py [--fetch DIR] LIBRARIES [PACKAGE ...]

LIBRARIES is the folder of the libraries (target/dist/lib/duolu). Each package of crates/conform/data/consumers.tsv is looked
at as it is installed; with --fetch it and what it depends on are downloaded to DIR (apt-get download, 200 MB in all) and
unpacked there, and nothing is installed. Looked at is every ELF file in it whose libraries name
libevent 2.1. Programs are run with --version, --help and the like, on C libevent and on LIBRARIES, with every symbol bound
at once (LD_BIND_NOW); what they print and how they exit must be equal. Libraries and plugins are loaded with every symbol
bound (ld.so --list with LD_WARN, as ldd -r does), and what stays undefined must be equal. Writes a Markdown table to stdout;
exit code 1 where something differs.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

LIST = Path(__file__).resolve().parent.parent / "crates/conform/data/consumers.tsv"
# What part two brings; programs that use it must start all the same.
LATER = ("evhttp", "evdns", "openssl")
QUESTIONS = (["--version"], ["-V"], ["--help"], ["-h"], ["-v"])
# What it logs of a function of part two.
NOT_YET = re.compile(r"\[warn\] \w+ is not in duolu's libevent yet: the call fails\n")
SYSTEM = ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib", "/usr/local/lib"]


def fetch(package, folder):
    """Downloads a package and what it needs and this machine lacks, once, and unpacks it."""
    debs, root = folder / "debs", folder / "root"
    debs.mkdir(parents=True, exist_ok=True)
    root.mkdir(exist_ok=True)
    ask = ["apt-get", "install", "--no-install-recommends", "--print-uris", "-y", "-qq", package]
    told = subprocess.run(ask, capture_output=True, text=True).stdout
    names = {unquote(line.split()[1]).split("_")[0] for line in told.splitlines() if line.startswith("'")} | {package}
    for name in sorted(names):
        if not any(debs.glob(f"{name}_*.deb")):
            subprocess.run(["apt-get", "download", "-qq", name], cwd=debs, check=False)
            for deb in debs.glob(f"{name}_*.deb"):
                subprocess.run(["dpkg", "-x", deb, root], check=True)
    return root


def files_of(package, root):
    """The files of a package: as dpkg has installed them, or as they are unpacked under the root."""
    deb = next(iter(sorted((root.parent / "debs").glob(f"{package}_*.deb"))), None) if root else None
    if deb is None:
        listed = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True)
        return [Path(line) for line in listed.stdout.splitlines()]
    listed = subprocess.run(["dpkg-deb", "-c", deb], capture_output=True, text=True, check=True).stdout
    return [root / line.split(None, 5)[5].split(" -> ")[0].lstrip("./") for line in listed.splitlines()]


def is_elf(path):
    try:
        if not path.is_file() or path.is_symlink():
            return False
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def environment(first, root):
    """The library path: the libevent that is tried, and what the unpacked packages bring."""
    places = [str(first)] if first else []
    if root:
        places += [f"{root}{place}" for place in SYSTEM]
        places += sorted({str(path.parent) for path in Path(root).glob("usr/lib/**/*.so*")} - set(places))
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LD_", "DUOLU", "EVENT_"))}
    variables.update(LD_LIBRARY_PATH=":".join(places), LD_BIND_NOW="1", LC_ALL="C", HOME="/nonexistent")
    variables.update(QT_QPA_PLATFORM="offscreen", DISPLAY="", TERM="dumb", COLUMNS="80")
    return variables


def loader(path, variables, warn):
    """What ld.so says of a file's libraries; with `warn` also which symbols stay undefined."""
    variables = dict(variables, LD_TRACE_LOADED_OBJECTS="1", **({"LD_WARN": "1"} if warn else {}))
    ld = "/lib64/ld-linux-x86-64.so.2"
    done = subprocess.run([ld, str(path)], env=variables, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def undefined(text):
    return sorted(set(re.findall(r"undefined symbol: (\S+?)[,\s]", text)))


def libevents(text):
    return re.findall(r"(libevent\S*-2\.1\.so\.7) => (\S+)", text)


def run(path, question, variables):
    try:
        done = subprocess.run(
            [str(path), *question], env=variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, cwd="/"
        )
    except subprocess.TimeoutExpired:
        return ("runs on", "")
    except OSError as error:
        return (str(error), "")
    # Addresses, times and process numbers differ from run to run.
    text = (done.stdout + done.stderr).decode(errors="replace")
    text = NOT_YET.sub("", text)
    text = re.sub(r"0x[0-9a-f]+|\b\d{2}:\d{2}:\d{2}(\.\d+)?|\[\d+\]|\d{4,}", "#", text)
    return (done.returncode, text)


def judge(path, ours, root):
    """How a file fares: (verdict, is it well)."""
    theirs_env, ours_env = environment(None, root), environment(ours, root)
    with_ours = loader(path, ours_env, True)
    got = libevents(with_ours)
    if not got:
        return None
    wrong = [f"{name} from {place}" for name, place in got if not place.startswith(str(ours))]
    missing = re.findall(r"(\S+) => not found", with_ours)
    lost = [name for name in undefined(with_ours) if name not in undefined(loader(path, theirs_env, True))]
    if lost:
        return (f"lacks {', '.join(lost)}", False)
    note = f" ({'; '.join(wrong)})" if wrong else ""
    if missing:
        return (f"not tried: lacks {', '.join(sorted(set(missing)))}{note}", True)
    header = subprocess.run(["readelf", "-lW", str(path)], capture_output=True, text=True).stdout
    if "INTERP" not in header or ".so" in path.name:
        return (f"every symbol bound{note}", True)
    for question in QUESTIONS:
        theirs, mine = run(path, question, theirs_env), run(path, question, ours_env)
        if theirs != mine:
            again = run(path, question, theirs_env)
            if again != theirs:
                continue  # it says something else each time
            return (f"`{' '.join(question)}`: {theirs[0]} on C libevent, {mine[0]} on ours", False)
        if theirs[0] == 0 or (theirs[1].strip() and not isinstance(theirs[0], str) and theirs[0] > 0):
            return (f"starts (`{' '.join(question)}`, exit {theirs[0]}){note}", True)
    return (f"the same on both ({theirs[0]}){note}", True)


def main():
    arguments, folder, root = sys.argv[1:], None, None
    if arguments[:1] == ["--fetch"] and len(arguments) > 2:
        folder, arguments = Path(arguments[1]).resolve(), arguments[2:]
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    ours, wanted = Path(arguments[0]).resolve(), arguments[1:]
    rows = [line.split("\t") for line in LIST.read_text().splitlines()[1:] if line]
    well = True
    print("| package | needs of part two | files on our library |\n|---|---|---|")
    for package, *families in rows:
        if wanted and package not in wanted:
            continue
        later = ", ".join(family for family in LATER if family in families[0].split())
        verdicts = {}
        root = fetch(package, folder) if folder else None
        for path in files_of(package, root):
            verdict = judge(path, ours, root) if is_elf(path) else None
            if verdict:
                # What fails for want of part two is listed, and expected.
                well &= verdict[1] or bool(later)
                verdicts.setdefault(verdict[0], []).append(path.name)
        cells = [f"{', '.join(names[:6])}{f' and {len(names) - 6} more' if len(names) > 6 else ''}: {what}"
                 for what, names in verdicts.items()]
        print(f"| {package} | {later} | {'; '.join(cells) or 'not here'} |", flush=True)
    sys.exit(0 if well else 1)


main()
