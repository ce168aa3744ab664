"""`python -m earnest` and the `earnest` command."""

import sys

from earnest.cli import app
from earnest.errors import EarnestError


def main() -> None:
    """Run the command line: 0 done, 1 refused with the reason, 2 misspelled."""
    try:
        app()
    except EarnestError as error:
        sys.exit(f"earnest: {error}")


if __name__ == "__main__":
    main()
