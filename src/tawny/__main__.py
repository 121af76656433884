"""`python -m tawny` and the `tawny` command."""

import sys

from tawny import __version__


def main() -> int:
    """Run the command line."""
    if sys.argv[1:] in (["version"], ["--version"]):
        sys.stdout.write(f"tawny {__version__}\n")
        return 0
    from tawny.cli.main import main as run  # noqa: PLC0415 - `tawny version` answers without it

    return run()


if __name__ == "__main__":
    sys.exit(main())
