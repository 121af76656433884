"""`python -m tawny` and the `tawny` command."""

import sys

from tawny import __version__


def main() -> int:
    """Run the command line."""
    if sys.argv[1:] in (["version"], ["--version"]):
        sys.stdout.write(f"tawny {__version__}\n")
        return 0
    try:
        from tawny.cli.main import main as run  # noqa: PLC0415 - `tawny version` answers without it

        return run()
    except KeyboardInterrupt:
        return 130  # also while the command's own code is still being loaded


if __name__ == "__main__":
    sys.exit(main())
