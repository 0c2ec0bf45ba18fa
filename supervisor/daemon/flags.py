"""A kind of flag that argparse lacks."""

from __future__ import annotations

import argparse


def add_switch(parser: argparse.ArgumentParser, name: str, meaning: str) -> None:
    """A flag that is on alone, or has true or false, as dockerd takes --icc=false."""
    parser.add_argument(
        name, nargs="?", const=True, type=_truth, metavar="true|false", help=meaning
    )


def _truth(text: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r:.40}: give true or false")
    return words[text.lower()]
