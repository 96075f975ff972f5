"""Which digit of the upper row a key is, whatever the keyboard's layout writes on it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent

FIRST_SCAN_CODE = {"linux": 10, "win32": 2}  # of the key that says 1 in most countries; 2…9 and 0 follow
MAC_KEYS = {
    18: 1,
    19: 2,
    20: 3,
    21: 4,
    23: 5,
    22: 6,
    26: 7,
    28: 8,
    25: 9,
    29: 0,
}  # virtual keys are places there


def digit_of_place(event: QKeyEvent, platform: str = sys.platform) -> int | None:
    """The digit of the upper row that stands where the pressed key is; None for other keys.

    With Shift an English layout says ``!`` where a German one does as well and a French one says ``1``;
    without Shift the French one says ``&``. Where the key is does not depend on that.
    """
    if platform == "darwin":
        return MAC_KEYS.get(int(event.nativeVirtualKey())) if event.nativeVirtualKey() else None
    place = int(event.nativeScanCode()) - FIRST_SCAN_CODE.get(platform, FIRST_SCAN_CODE["linux"])
    return (place + 1) % 10 if event.nativeScanCode() and 0 <= place < 10 else None
