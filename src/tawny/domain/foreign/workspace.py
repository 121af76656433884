"""What of OpenClaw's workspace is told to the assistant here: its files of words become one `AGENTS.md`."""

import re
from collections.abc import Mapping

WORDS = ("AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "TOOLS.md")
"""Read in every turn there. Here `AGENTS.md` and `MEMORY.md` are: the others become parts of the first, in order."""
TOLD = 20_000
"""Characters of a file that a turn is shown; of a longer one it sees head and tail."""
NOT_TAKEN = {
    "BOOT.md": "nothing is done at each start here; an automation does things at their time",
    "BOOTSTRAP.md": "it is for the first run of a new assistant",
    "canvas": "there is no canvas here",
    "avatars": "pictures of the assistant are not shown here",
}
"""Files of OpenClaw's that mean nothing here, with the reason."""
_FRONT = re.compile(r"\A---[ \t]*\n.*?\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def body(text: str) -> str:
    """The text without the front matter of a template."""
    return _FRONT.sub("", text, count=1).strip()


def says_something(text: str) -> bool:
    """Whether there is more in it than headings, rules and comments."""
    lines = (line.strip() for line in _COMMENT.sub("", body(text)).splitlines())
    return any(line and not line.startswith("#") and line.strip("-_* ") for line in lines)


def joined(files: Mapping[str, str]) -> str:
    """The `AGENTS.md` made of the files that say something; each part names the file it was."""
    parts = [(name, body(files[name])) for name in WORDS if says_something(files.get(name, ""))]
    if [name for name, _ in parts] == ["AGENTS.md"]:
        return parts[0][1] + "\n"
    return "\n\n".join(f"<!-- {name} -->\n\n{text}" for name, text in parts) + "\n" if parts else ""
