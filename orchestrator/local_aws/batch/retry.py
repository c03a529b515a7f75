"""Whether a failed attempt is tried again: retryStrategy and its evaluateOnExit.

Rules (API reference, EvaluateOnExit and RetryStrategy): conditions of one entry are ANDed; the
first entry that matches decides; when none matches, the job is retried; a pattern matches the whole
text, or with a `*` at its end the beginning of it. Timed out and terminated jobs are never retried.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.local_aws.batch.refusals import refuse

_TEXT = re.compile(r"[A-Za-z0-9.:\s]*\*?")
_NUMBER = re.compile(r"[0-9]*\*?")
_CONDITIONS = {"onExitCode": _NUMBER, "onReason": _TEXT, "onStatusReason": _TEXT}
_LONGEST_PATTERN = 512


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of evaluateOnExit. A pattern that is None was not given."""

    retry: bool
    on_exit_code: str | None = None
    on_reason: str | None = None
    on_status_reason: str | None = None

    def matches(self, exit_code: int | None, reason: str, status_reason: str) -> bool:
        """All conditions that were given; an attempt without exit code matches no exit code."""
        code = "" if exit_code is None else str(exit_code)
        return (
            (self.on_exit_code is None or (code != "" and _matches(self.on_exit_code, code)))
            and (self.on_reason is None or _matches(self.on_reason, reason))
            and (self.on_status_reason is None or _matches(self.on_status_reason, status_reason))
        )


@dataclass(frozen=True, slots=True)
class RetryStrategy:
    """`attempts` in all, the first one included."""

    attempts: int = 1
    rules: tuple[Rule, ...] = ()

    def retries(
        self, attempts_made: int, exit_code: int | None, reason: str, status_reason: str
    ) -> bool:
        """Whether an attempt that failed like this is followed by another."""
        if attempts_made >= self.attempts:
            return False
        for rule in self.rules:
            if rule.matches(exit_code, reason, status_reason):
                return rule.retry
        return True


def _matches(pattern: str, text: str) -> bool:
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern


def normalised(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The strategy as AWS gives it back: actions in lower case. Refuses what AWS refuses."""
    if given is None:
        return None
    attempts = given.get("attempts")
    entries = given.get("evaluateOnExit") or []
    if attempts is not None and not 1 <= attempts <= 10:
        refuse("retryStrategy.attempts must be between 1 and 10")
    if entries and attempts is None:
        refuse("retryStrategy.attempts must be specified with evaluateOnExit")
    if len(entries) > 5:
        refuse("evaluateOnExit can have at most 5 entries")
    return {
        "attempts": attempts or 1,
        "evaluateOnExit": [_normalised_entry(entry) for entry in entries],
    }


def _normalised_entry(entry: Mapping[str, Any]) -> dict[str, str]:
    action = str(entry.get("action", "")).lower()
    if action not in ("retry", "exit"):
        refuse(f"evaluateOnExit action {entry.get('action')!r} must be RETRY or EXIT")
    conditions = {name: entry[name] for name in _CONDITIONS if name in entry}
    if not conditions:
        refuse("evaluateOnExit needs at least one of onExitCode, onReason, onStatusReason")
    for name, pattern in conditions.items():
        if len(pattern) > _LONGEST_PATTERN or not _CONDITIONS[name].fullmatch(pattern):
            refuse(f"evaluateOnExit {name} {pattern!r} is not valid: `*` may only be at its end")
    return {**conditions, "action": action}


def parse(strategy: Mapping[str, Any] | None) -> RetryStrategy:
    """From a normalised strategy."""
    if not strategy:
        return RetryStrategy()
    return RetryStrategy(
        attempts=int(strategy.get("attempts") or 1),
        rules=tuple(
            Rule(
                retry=str(entry.get("action", "")).lower() == "retry",
                on_exit_code=entry.get("onExitCode"),
                on_reason=entry.get("onReason"),
                on_status_reason=entry.get("onStatusReason"),
            )
            for entry in strategy.get("evaluateOnExit") or ()
        ),
    )
