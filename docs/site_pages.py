"""The pages of the site that `make site` builds: MkDocs calls these functions (`hooks` in mkdocs.yml).

A page lies in the site where it lies in the repository, so that every link which holds here holds there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_PAGES = (
    "*.md",
    "docs/**/*.md",
    "docs/images/**/*.png",
    "docs/examples/*.py",
    "benchmarks/**/*.md",
    "benchmarks/tables/*.csv",
)
_NOTEBOOKS = "docs/notebooks/*.ipynb"
_FURTHER_WORDS = re.compile(r"^( *```\w+) .*$", re.MULTILINE)  # by which tests find a block
_TO_NOTEBOOK = re.compile(r"(\]\([^)\s]+)\.ipynb\)")


def on_files(files: Files, config: Any) -> Files:
    """Every page, from the repository's root; of what MkDocs found in docs/ itself nothing but the theme's files."""
    root = Path(config.config_file_path).parent
    kept = [file for file in files if file.src_dir != config.docs_dir]
    for pattern in _PAGES:
        for path in sorted(root.glob(pattern)):
            kept.append(File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path)))
    for path in sorted(root.glob(_NOTEBOOKS)):
        name = path.with_suffix(".md").relative_to(root).as_posix()
        kept.append(File.generated(config, name, content=_notebook_page(path)))
    return Files(kept)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page's text as Python-Markdown reads it."""
    return _TO_NOTEBOOK.sub(r"\1.md)", _FURTHER_WORDS.sub(r"\1", markdown))


def _notebook_page(path: Path) -> str:
    """A notebook's cells, without outputs, of which none is kept."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    return "\n\n".join(f"```python\n{text}\n```" if kind == "code" else text for text, kind in texts) + "\n"
