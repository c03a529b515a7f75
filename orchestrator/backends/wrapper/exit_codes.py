"""What the wrapper's own exit codes mean. Any other code is the command's.

The manifest is the truth; the code only matters where none was written. A command may end with one
of these codes too: then there is a manifest that says so.
"""

from __future__ import annotations

from enum import IntEnum


class WrapperExit(IntEnum):
    """Exit codes of `wrapper.sh` and of the stage before it."""

    REVOKED = 90  # the bundle is gone or empty: this submission must not run; nothing was run
    TOOLS_MISSING = 91  # the host lacks the tools or the data disk
    ALREADY_BEGUN = 92  # another wrapper has begun this attempt; nothing was run
    LOCALIZATION_FAILED = 93
    INPUT_CHANGED = 94
    DELOCALIZATION_FAILED = 95
    MANIFEST_NOT_WRITTEN = 96
    PLAN_UNREADABLE = 97
    WRAPPER_MISMATCH = 98  # what was fetched to run the job is not what it was submitted with
    TERMINATED = 143  # SIGTERM
