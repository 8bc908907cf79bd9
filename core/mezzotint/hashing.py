"""SHA-256 of model files, remembered while a file's size and time of change stay the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

HASHED = (".safetensors", ".json", ".txt", ".model")


def hash_model(path: Path) -> str:
    """One digest for a model: of its file, or of its folder."""
    return hash_file(path) if path.is_file() else hash_folder(path)


def hash_folder(folder: Path) -> str:
    """One digest over names and contents of the model's files (weights, configuration, vocabulary)."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in HASHED and p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()


def hash_options(options: Mapping[str, object]) -> dict[str, str]:
    """SHA-256 by option of each file and model folder, and `option.0`, `option.name` … of each file of several."""
    found: dict[str, str] = {}
    for name, value in options.items():
        if isinstance(value, Path):
            found |= {name: hash_model(value)} if value.exists() else {}
        elif isinstance(value, list | tuple | Mapping):
            several = value if isinstance(value, Mapping) else dict(enumerate(value))
            for key, path in several.items():
                if isinstance(path, Path) and path.is_file():
                    found[f"{name}.{key}"] = hash_file(path)
    return found


def hash_file(path: Path) -> str:
    """SHA-256 of a file; large files are read once and looked up afterwards."""
    from platformdirs import user_cache_path

    status = path.stat()
    if status.st_size < 2**20:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    key = hashlib.sha256(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()
    remembered = user_cache_path("mezzotint") / "hashes" / f"{key}.json"
    try:
        return str(json.loads(remembered.read_text())["sha256"])
    except (OSError, ValueError, KeyError):
        pass
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        remembered.write_text(json.dumps({"sha256": sha256, "path": str(path)}))
    except OSError:
        return sha256
    return sha256
