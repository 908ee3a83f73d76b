"""A hook of MkDocs: pages of the site that lie outside docs/, links to them, and the report of a finished run.

The pages keep the links that a Git host follows. Here a link to a file outside docs/ becomes one to its page.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Page of the site: the file of the repository, and the sections of it that the page has; none: the whole file.
PAGES: dict[str, tuple[str, list[str]]] = {
    "index.md": ("README.md", []),
    "getting-started.md": ("README.md", ["Two commands", "Scale"]),
    "your-speech.md": ("README.md", ["Your own speech"]),
    "as-a-module.md": ("config/README.md", []),
    "hubert-micro.md": ("src/speechladder/assets/hubert-micro/README.md", []),
    "changelog.md": ("CHANGELOG.md", []),
    "contributing.md": ("CONTRIBUTING.md", []),
}
# The page on which a link to a whole file leads.
HOME_OF = {file: page for page, (file, sections) in PAGES.items() if not sections}
REPORT = "results/report.html"
COPY = "run.html"  # its name in the site, which no page may have
FRAME = f'<iframe src="{COPY}" title="Report" style="width: 100%; height: 85vh; border: 0"></iframe>'
ALONE = "---\nhide: [navigation]\n---\n\n"
RUN_PAGE = "default-run.md"
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")  # the target of [text](target)
NAMED = re.compile(r"\[[\w./-]+\.md\](?=\(([^)\s#]+))")  # the text of a link that is the name of a page's file
CODE = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def page_of(file: str) -> str:
    """Return the page of a file of the repository; source/FILE.md shows one that is no page itself."""
    if file in HOME_OF:
        return HOME_OF[file]
    return file.removeprefix("docs/") if file.startswith("docs/") else f"source/{file}.md"


def with_site_links(text: str, page: str) -> str:
    """Return the Markdown of a page with its links as they are on the site, with titles in place of names of files."""
    folder = PurePosixPath(PAGES[page][0] if page in PAGES else f"docs/{page}").parent

    def moved(link: re.Match[str]) -> str:
        name, mark, anchor = link[1].partition("#")
        if not name or re.match(r"[a-z]+:", name):
            return link[0]
        return relpath(page_of(normpath(str(folder / name))), str(PurePosixPath(page).parent)) + mark + anchor

    def titled(link: re.Match[str]) -> str:
        path = ROOT / folder / link[1]
        title = re.search(r"^# (.*)", path.read_text(), flags=re.MULTILINE) if path.is_file() else None
        return f"[{title[1]}]" if title else link[0]

    parts = CODE.split(text)
    return "".join(part if n % 2 else LINK.sub(moved, NAMED.sub(titled, part)) for n, part in enumerate(parts))


def sections_of(text: str, names: list[str]) -> str:
    """Return some sections of a file, by their headings of the second level; the first becomes the title of a page."""
    parts = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    return "".join(f"{'##'[: 1 + bool(n)]} {name}\n{parts[name]}" for n, name in enumerate(names))


def linked_sources() -> list[str]:
    """Return the files that pages link to and that are no pages: presets, licence and the like."""
    pages = [ROOT / file for file in HOME_OF] + sorted((ROOT / "docs").glob("*.md"))
    found = set()
    for page in pages:
        for link in LINK.finditer("".join(CODE.split(page.read_text())[::2])):
            name = link[1].partition("#")[0]
            path = (page.parent / name).resolve()
            if name and not re.match(r"[a-z]+:", name) and path.is_file():
                found.add(path.relative_to(ROOT).as_posix())
    return sorted(file for file in found if page_of(file).startswith("source/"))


def source_page(file: str) -> str:
    """Return a page that shows a file."""
    kind = {".yaml": "yaml", ".cff": "yaml", ".py": "python"}.get(Path(file).suffix, "text")
    return f"# {file}\n\n````{kind}\n{(ROOT / file).read_text()}\n````\n"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, the sources and the report; called by MkDocs."""
    from mkdocs.structure.files import File

    for page, (file, sections) in PAGES.items():
        text = (ROOT / file).read_text()
        text = sections_of(text, sections) if sections else text
        # the front page stands alone, so the list of its neighbours would be empty
        files.append(File.generated(config, page, content=ALONE * (page == "index.md") + text))
    for file in linked_sources():
        files.append(File.generated(config, page_of(file), content=source_page(file)))
    if (ROOT / REPORT).is_file():
        files.append(File.generated(config, COPY, abs_src_path=str(ROOT / REPORT)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Move the links of a page; called by MkDocs."""
    name = page.file.src_uri
    if name.startswith("source/"):
        return markdown
    text = with_site_links(markdown, name)
    if name == RUN_PAGE and (ROOT / REPORT).is_file():
        text += f"\n[Open it alone]({COPY})\n\n{FRAME}\n"
    elif name == RUN_PAGE:
        text += "\nNo finished run lay beside this site when it was built: `make table`, then `make docs`.\n"
    return text
