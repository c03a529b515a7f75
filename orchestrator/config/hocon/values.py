"""The only importer of pyhocon: values of a file -> strings, numbers, lists, concatenations.

All values of a file go to pyhocon at once, each under a key of its own, so that it has nothing to
merge and nothing to resolve.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyparsing
from pyhocon import config_tree
from pyhocon.config_parser import NO_SUBSTITUTION, ConfigParser
from pyhocon.exceptions import ConfigException

from orchestrator.config.hocon import syntax

logging.getLogger("pyhocon").addHandler(logging.NullHandler())  # it never speaks to a terminal
logging.getLogger("pyhocon").propagate = False

_ONE_AT_A_TIME = threading.Lock()  # pyhocon changes pyparsing's global white space while it parses


@dataclass(frozen=True, slots=True)
class Hole:
    """What `holes[number]` of the leaf stands for; `space` is the white space after it."""

    number: int
    space: str


@dataclass(frozen=True, slots=True)
class Concatenation:
    """Two or more pieces, or one that is only known when substitutions are."""

    pieces: tuple[Any, ...]  # Hole, str, list, or a piece of text with the space after it


def fill(block: syntax.Block) -> None:
    """Parse every leaf of a file. Raises InvalidConfig at the leaf that pyhocon refuses."""
    leaves = syntax.leaves(block)
    try:
        parsed = _parse(leaves)
    except (ConfigException, pyparsing.ParseBaseException):
        for leaf in leaves:
            try:
                _parse([leaf])
            except (ConfigException, pyparsing.ParseBaseException):
                raise leaf.source.error(
                    leaf.offset,
                    "this value is not valid",
                    "strings, lists and blocks cannot be joined with each other",
                ) from None
        raise  # never: what is refused together is refused alone
    for leaf, value in zip(leaves, parsed, strict=True):
        leaf.parsed = value


def _parse(leaves: Sequence[syntax.Leaf]) -> list[Any]:
    text = "\n".join(f"v{index} = {leaf.text}" for index, leaf in enumerate(leaves))
    with _ONE_AT_A_TIME:
        parse: Any = ConfigParser.parse
        tree = parse(text, resolve=False, unresolved_value=NO_SUBSTITUTION)
    found = dict(tree.items())
    return [_plain(found[f"v{index}"]) for index in range(len(leaves))]


def _plain(value: Any) -> Any:
    """pyhocon's classes -> ours."""
    if isinstance(value, config_tree.ConfigValues):
        return Concatenation(tuple(_plain(token) for token in value.tokens))
    if isinstance(value, config_tree.ConfigSubstitution):
        return Hole(int(value.variable), value.ws)
    if isinstance(value, config_tree.ConfigQuotedString):
        return value.value.replace(syntax.EMPTY, "") + value.ws
    if isinstance(value, config_tree.NoneValue):
        return None
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if isinstance(value, str):
        return str(value).replace(syntax.EMPTY, "")
    return value
