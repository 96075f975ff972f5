"""Makes ``napari.yaml`` visible inside the package of an editable install."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManifestLink(BuildHookInterface):  # type: ignore[type-arg]
    """Link the manifest into the package folder; a wheel gets it by ``force-include`` instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Link (or copy, where links are refused) on editable builds only."""
        if version != "editable":
            return
        link = Path(self.root, "napari_seedlab", "napari.yaml")
        link.unlink(missing_ok=True)
        try:
            link.symlink_to(Path("..", "napari.yaml"))
        except OSError:
            shutil.copyfile(Path(self.root, "napari.yaml"), link)
