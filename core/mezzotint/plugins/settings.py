"""What the person decided about plugins: which are off, which alone may load, whether failures are fatal.

From the environment (`MEZZOTINT_PLUGINS`, `MEZZOTINT_DISABLE`, `MEZZOTINT_STRICT`) and from a TOML file,
`config.toml` in the platform's configuration folder or at `MEZZOTINT_CONFIG`:

    [plugins]
    disabled = ["freeu"]
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import MezzotintError, suggest

DISABLE, ONLY = "MEZZOTINT_DISABLE", "MEZZOTINT_PLUGINS"


@dataclass(frozen=True)
class Settings:
    """Decisions that hold for every pipeline of this person."""

    disabled: Mapping[str, str]
    """Name of a plugin or distribution → who said so."""
    only: frozenset[str] | None = None
    """If given, no other plugin is imported."""
    strict: bool = False
    """Whether a plugin that fails to load is an error instead of a row in the listing."""

    def reason_to_skip(self, plugin: str, distribution: str) -> str | None:
        """Why a plugin must not be imported, or `None`."""
        names = {_canonical(plugin), _canonical(distribution)}
        for name, who in self.disabled.items():
            if _canonical(name) in names:
                return f"disabled by {who}"
        if self.only is not None and not names & {_canonical(name) for name in self.only}:
            return f"not in {ONLY}"
        return None

    def misspelt(self, installed: Collection[str]) -> list[str]:
        """A sentence for each name in the environment that is neither a plugin nor a distribution of `installed`.

        Names in the file may be of what is not installed any more.
        """
        known = {_canonical(name) for name in installed}
        given = [(DISABLE, name) for name, who in self.disabled.items() if who == DISABLE]
        given += [(ONLY, name) for name in sorted(self.only or ())]
        return [
            f"{variable} names {name!r}, which is not installed; {suggest(name, installed)}"
            for variable, name in given
            if _canonical(name) not in known
        ]


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force.

    Raises:
        MezzotintError: the configuration file is not valid TOML or has another shape.
    """
    path = config_path(environ)
    disabled = {name: str(path) for name in read_disabled(path)}
    disabled |= dict.fromkeys(_split(environ.get(DISABLE, "")), DISABLE)
    only = environ.get(ONLY)
    return Settings(
        disabled,
        None if only is None else frozenset(_split(only)),
        environ.get("MEZZOTINT_STRICT", "") not in ("", "0"),
    )


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the configuration file is, or would be."""
    from platformdirs import user_config_path

    return Path(environ.get("MEZZOTINT_CONFIG") or user_config_path("mezzotint") / "config.toml")


def read_disabled(path: Path) -> list[str]:
    """Names that a configuration file disables; none where it is absent."""
    plugins = _read(path).get("plugins", {})
    if not isinstance(plugins, dict):
        raise MezzotintError(f"{path}: plugins must be a table, [plugins]")
    names = plugins.get("disabled", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MezzotintError(f"{path}: [plugins] disabled must be a list of names")
    return names


def write_disabled(path: Path, names: list[str]) -> None:
    """Store the names to disable and keep the rest of the file's values."""
    import tomli_w

    content = _read(path)
    content.setdefault("plugins", {})["disabled"] = sorted(set(names))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(tomli_w.dumps(content), encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, dict[str, object]]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise MezzotintError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MezzotintError(f"{path} is not valid TOML: {error}") from None
    except RecursionError:
        raise MezzotintError(f"{path}: lists or tables in it are nested too deeply to read") from None


def _canonical(name: str) -> str:
    """`Mezzotint_LoRA` and `mezzotint-lora` are one distribution."""
    return name.lower().replace("_", "-").replace(".", "-")


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
