"""`python -m dashboards.generate`: write the dashboards' JSON beside this file."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.boards import BOARDS
from dashboards.panels import Board, build

FOLDER = Path(__file__).parent


def text(board: Board) -> str:
    """The JSON as it is committed."""
    encoded: str = JSONEncoder(sort_keys=True, indent=2).encode(build(board))
    return encoded + "\n"


def main() -> None:
    """Write them all."""
    for name, board in BOARDS.items():
        (FOLDER / name).write_text(text(board))


if __name__ == "__main__":
    main()
