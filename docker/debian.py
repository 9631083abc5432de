"""Files of Debian packages and of all that they need, for images without a shell and without a package manager.

Uses the machine's own apt: where it reaches a mirror, this works, with or without an image registry.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from oci import Entry

# Asked for by packages for their installation scripts, which do not run here.
_ONLY_FOR_INSTALLING = {"debconf", "dpkg", "perl-base", "tar", "cdebconf", "install-info", "readline-common", "adduser", "passwd"}
_LEFT_OUT = re.compile(r"^usr/share/(doc|man|locale|info|lintian|bash-completion|pixmaps|applications)(/|$)")


def _closure(packages: list[str]) -> dict[str, str]:
    """Names and versions of the packages and their dependencies, as apt resolves them on an empty machine."""
    with tempfile.TemporaryDirectory() as folder:
        status = Path(folder) / "status"
        status.touch()
        plan = subprocess.run(
            ["apt-get", "-qq", "--simulate", "--no-install-recommends", "-o", f"Dir::State::status={status}", "install", *packages],
            check=True, capture_output=True, text=True).stdout
    return {name: version for name, version in re.findall(r"^Inst (\S+) \((\S+) ", plan, re.MULTILINE) if name not in _ONLY_FOR_INSTALLING}


def files(packages: list[str]) -> list[Entry]:
    """All files, folders and links of the packages, without documentation; owned by root, never setuid.

    Raises `CalledProcessError` when apt knows no such package or cannot fetch one.
    """
    found: dict[str, Entry] = {}
    with tempfile.TemporaryDirectory() as folder:
        wanted = [f"{name}={version}" for name, version in sorted(_closure(packages).items())]
        subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *wanted], cwd=folder, check=True, capture_output=True)
        for package in sorted(Path(folder).glob("*.deb")):
            tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
            with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
                for member in archive:
                    name = member.name.removeprefix("./").strip("/")
                    if not name or name == "." or _LEFT_OUT.match(name):
                        continue
                    if member.isdir():
                        found[name] = Entry(name, mode=member.mode & 0o1777)
                    elif member.issym():
                        found[name] = Entry(name, link=member.linkname, mode=0o777)
                    elif content := archive.extractfile(member):  # also resolves hard links
                        found[name] = Entry(name, content.read(), member.mode & 0o777)
    return list(found.values())
