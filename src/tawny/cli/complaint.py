"""What goes wrong, for the person at the terminal; it loads nothing, so that `tawny --help` is there at once."""

import sys

_LONGEST = 1_000


def complain(message: str, hint: str = "") -> None:
    """One line on stderr that names the thing and the mend, whatever was given to us."""
    print(f"tawny: {_one_line(message)}" + (f" ({_one_line(hint)})" if hint else ""), file=sys.stderr)


def _one_line(text: str) -> str:
    """Without line breaks and what else would move the cursor; a middle that is too long left out."""
    plain = "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST // 2]} … {plain[-_LONGEST // 2 :]}"
