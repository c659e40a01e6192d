"""The blocks of code on a page of the docs."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
ROOT = DOCS.parent
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, *languages):
    """(language, further words, text) of each fenced block in one of these languages, in order."""
    found = _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    split = [(*info.partition(" ")[::2], text) for info, text in found]
    return [block for block in split if block[0] in languages]


def commands(text):
    """The commands of a block, a line each; a line that ends in a backslash goes on."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
