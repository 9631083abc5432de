"""The images that the tests need, as archives."""

from __future__ import annotations

import os
from pathlib import Path

from cluster import ROOT, run

IMAGES = ["broker", "discovery", "designer", "master", "worker", "task-python", "task-javascript", "operator-forward"]


def images(folder: Path | None, programs: Path | None = None) -> list[Path]:
    """The archives: those of a folder, or made of programs that are there, or made from the sources."""
    if folder is None:
        folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / ("images-for-tests" if programs else "images")
        run([str(ROOT / "docker/build"), "--out", str(folder), *(("--programs", str(programs)) if programs else ()), "--only", *IMAGES], seconds=3600)
    return [folder / f"{name}.tar" for name in IMAGES]
