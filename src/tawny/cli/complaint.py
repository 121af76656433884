"""What goes wrong, for the person at the terminal; it loads nothing, so that `tawny --help` is there at once."""

import sys


def complain(message: str, hint: str = "") -> None:
    """One line on stderr that names the thing and the mend."""
    print(f"tawny: {message}" + (f" ({hint})" if hint else ""), file=sys.stderr)
