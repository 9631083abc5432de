"""Container images as OCI archives: layers of files, a configuration, an index. Nothing in them depends on the machine or the hour."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A file, folder (`content` and `link` None) or symbolic link of an image; `name` without a leading slash."""

    name: str
    content: bytes | None = None
    mode: int = 0o644
    owner: int = 0
    link: str | None = None


@dataclass(frozen=True)
class Layer:
    """A layer in both forms: the digest of the plain one identifies its content, the packed one is stored."""

    plain_digest: str
    packed: bytes


@dataclass
class Image:
    """What is in an image and how it starts."""

    name: str
    layers: list[Layer]
    entrypoint: list[str]
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    folder: str = "/"
    user: str = "65532:65532"


def digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def layer(entries: Iterable[Entry]) -> Layer:
    """Packs entries, sorted by name, with dates of zero."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in sorted(entries, key=lambda entry: entry.name):
            info = tarfile.TarInfo(entry.name)
            info.mode, info.uid, info.gid = entry.mode, entry.owner, entry.owner
            if entry.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, entry.link
                archive.addfile(info)
            elif entry.content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(entry.content)
                archive.addfile(info, io.BytesIO(entry.content))
    plain = sink.getvalue()
    return Layer(digest(plain), gzip.compress(plain, mtime=0))


def _descriptor(blob: bytes, media: str, **more: object) -> dict[str, object]:
    return {"mediaType": media, "digest": digest(blob), "size": len(blob), **more}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def write(image: Image, tags: list[str], out: Path) -> str:
    """Writes `out`, an archive for `docker load`, `ctr images import` and `kind load image-archive`; returns the manifest's digest."""
    config = _json({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": image.user, "Entrypoint": image.entrypoint, "Cmd": image.command, "WorkingDir": image.folder,
            "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
            "Volumes": {path: {} for path in image.volumes}, "ExposedPorts": {f"{port}/tcp": {} for port in image.ports},
            "Labels": {"org.opencontainers.image.title": f"fogflow/{image.name}", "org.opencontainers.image.licenses": "Apache-2.0"},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.plain_digest for layer in image.layers]},
    })
    manifest = _json({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [_descriptor(layer.packed, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in image.layers],
    })
    references = [f"docker.io/fogflow/{image.name}:{tag}" for tag in tags]
    index = _json({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            _descriptor(manifest, "application/vnd.oci.image.manifest.v1+json", platform={"architecture": "amd64", "os": "linux"},
                        annotations={"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rsplit(":", 1)[1]})
            for reference in references
        ],
    })
    blobs = {digest(blob): blob for blob in (config, manifest, *(layer.packed for layer in image.layers))}
    # `docker load` of engines before 25 reads only this older index beside the OCI one.
    legacy = _json([{"Config": f"blobs/sha256/{digest(config)[7:]}", "RepoTags": references,
                     "Layers": [f"blobs/sha256/{digest(layer.packed)[7:]}" for layer in image.layers]}])
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, "manifest.json": legacy}
    members |= {f"blobs/sha256/{key[7:]}": blob for key, blob in blobs.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in sorted(members.items()):
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    return digest(manifest)
