#!/usr/bin/env python3
"""Makes train.jsonl and test.jsonl: questions and answers about Debian packages, from the package index of a Debian 12 system.

Usage: make_dataset.py WORK_FOLDER     (needs apt-get and dpkg-deb; fetches about 800 small packages for their copyright files)

Packages are picked by a hash of their name, in turn from each section, so the same index gives the same rows.
"""

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NUM_TRAIN, NUM_TEST = 500, 50  # packages; four rows each
NUM_CANDIDATES = 800
MAX_SIZE = 100_000  # bytes of a .deb
SKIPPED_NAMES = re.compile(r"^(lib|golang-|node-|ruby-|r-|elpa-|haskell-|rust-|task-|.*-(dev|doc|docs|dbg|data|common|all|l10n)$)")
SKIPPED_TEXT = re.compile(r"transitional|dummy|metapackage|meta-package|empty|obsolete", re.I)
ONE_LICENCE = r"(A|L)?GPL-\d[\w.+-]*|GPL|Expat|expat|MIT|BSD-[234]-[Cc]lauses?|Apache-2(\.0)?|Artistic(-[12](\.0)?)?|ISC|Zlib|MPL-2\.0|public-domain|Zope-2\.1|PostgreSQL|WTFPL|BSL-1\.0|CC0-1\.0"
KNOWN_LICENCE = re.compile(rf"({ONE_LICENCE})( (or|and) ({ONE_LICENCE}))*")
SKIPPED_SECTIONS = {"debug", "oldlibs", "libs", "libdevel", "doc", "metapackages", "introspection", "kernel", "debian-installer"}


def read_index():
    """Package name -> fields, of every package of the main archive area."""
    text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    packages = {}
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
        if "Package" in fields:
            packages.setdefault(fields["Package"], fields)
    return packages


def is_wanted(fields):
    synopsis = fields.get("Description", fields.get("Description-en", ""))
    return (
        "/" not in fields.get("Section", "/")
        and fields["Section"] not in SKIPPED_SECTIONS
        and not SKIPPED_NAMES.match(fields["Package"])
        and not SKIPPED_TEXT.search(synopsis)
        and fields.get("Essential") != "yes"
        and 20 <= len(synopsis) <= 80
        and synopsis.isascii()
        and int(fields.get("Size", MAX_SIZE + 1)) <= MAX_SIZE
        and "Filename" in fields
    )


def pick(packages):
    """Names, taken in turn from each section; inside a section by the hash of the name."""
    by_section, sources = {}, set()
    for name in sorted(packages, key=lambda n: hashlib.sha256(n.encode()).hexdigest()):
        fields = packages[name]
        source = fields.get("Source", name).split()[0]
        if is_wanted(fields) and source not in sources:  # one binary package of a source
            sources.add(source)
            by_section.setdefault(fields["Section"], []).append(name)
    picked = []
    while len(picked) < NUM_CANDIDATES and any(by_section.values()):
        for section in sorted(by_section):
            if by_section[section]:
                picked.append(by_section[section].pop(0))
    return picked[:NUM_CANDIDATES]


def fetch(names, folder):
    folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in names if not list(folder.glob(f"{n}_*.deb"))]
    for i in range(0, len(missing), 100):
        subprocess.run(["apt-get", "download", "-q", *missing[i : i + 100]], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return {n: next(folder.glob(f"{n}_*.deb")) for n in names}


def read_copyright(deb, name):
    raw = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        for suffix in ("", ".gz"):
            try:
                file = archive.extractfile(f"./usr/share/doc/{name}/copyright{suffix}")
            except KeyError:
                continue
            if file:
                return file.read().decode("utf-8", "replace")
    return ""


def find_licence(copyright_text):
    """The short licence name of `Files: debian/*`, else of `Files: *`, of a machine-readable copyright file."""
    if not re.match(r"\s*Format:", copyright_text):
        return None
    licences = {}
    for paragraph in re.split(r"\n\s*\n", copyright_text):
        files = re.search(r"^Files:((?:.*\n?)(?:[ \t].*\n?)*)", paragraph, re.M)
        licence = re.search(r"^License:[ \t]*(\S.*)$", paragraph, re.M)
        if files and licence:
            for pattern in files.group(1).split():
                licences.setdefault(pattern, licence.group(1).strip())
    licence = licences.get("debian/*") or licences.get("*") or ""
    return licence if KNOWN_LICENCE.fullmatch(licence) else None


def make_rows(name, fields, licence):
    synopsis = fields.get("Description", fields.get("Description-en", "")).strip().rstrip(".")
    section = fields["Section"]
    turns = [
        (f"In which Debian section is the package {name} and what does it do?",
         f"{name} is in section {section}. It is described as: {synopsis}."),
        (f"What is the Debian package {name}?",
         f"{name} is a Debian package in section {section}: {synopsis}."),
        (f'Which Debian package is described as "{synopsis}"?',
         f"That is the package {name}. You find it in section {section}."),
        (f"Write the index entry of the Debian package {name} from section {section}: {synopsis}.",
         f"Package: {name}\nSection: {section}\nDescription: {synopsis}"),
    ]
    source = fields.get("Source", name).split()[0]
    for question, answer in turns:
        yield {
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
            "package": name,
            "source": f"Debian 12 main, package {name} {fields['Version']}, source package {source}",
            "licence": licence,
        }


def main():
    packages = read_index()
    picked = pick(packages)
    debs = fetch(picked, Path(sys.argv[1]))
    kept = []
    for name in picked:
        licence = find_licence(read_copyright(debs[name], name))
        if licence:
            kept.append((name, licence))
    kept = kept[: NUM_TRAIN + NUM_TEST]
    assert len(kept) == NUM_TRAIN + NUM_TEST, len(kept)
    held_out = set(range(5, len(kept), len(kept) // NUM_TEST))
    for file, rows in (("train.jsonl", [k for i, k in enumerate(kept) if i not in held_out]),
                       ("test.jsonl", [k for i, k in enumerate(kept) if i in held_out])):
        with open(HERE / file, "w", encoding="utf-8") as out:
            count = 0
            for name, licence in rows:
                for row in make_rows(name, packages[name], licence):
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
        print(file, count, "rows")


if __name__ == "__main__":
    main()
