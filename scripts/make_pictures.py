"""Makes the README's pictures from the real app: plays the demo and keeps some of its screenshots.

Run with a display, or ``xvfb-run -a -s "-screen 0 1920x1080x24" python scripts/make_pictures.py``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
KEEP = {  # screenshot: picture
    "odd": "odd",
    "training": "labelling",
    "gallery": "gallery",
    "figures": "figures",
    "strokes": "strokes",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "napari_seedlab", "demo", "--autoplay", "--screenshots", folder]
        subprocess.run([*command, "--size", "1920x1080", "--json"], check=True)
        PICTURES.mkdir(parents=True, exist_ok=True)
        for shot, name in KEEP.items():
            shutil.copyfile(next(Path(folder).glob(f"*-{shot}.png")), PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
