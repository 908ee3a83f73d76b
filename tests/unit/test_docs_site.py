"""The site of the documentation: links of the repository become links of the site; every page is in its navigation."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("docs_site", ROOT / "tools" / "docs_site.py")
site = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(site)


@pytest.mark.parametrize(
    ("page", "text", "there"),
    [
        ("index.md", "[here](docs/units.md#abx)", "[here](units.md#abx)"),
        ("index.md", "[docs/units.md](docs/units.md)", "[Units](units.md)"),
        ("index.md", "![x](docs/ladder.png)", "![x](ladder.png)"),
        ("as-a-module.md", "[docs/presets.md](../docs/presets.md)", "[Presets](presets.md)"),
        ("units.md", "[log.md](log.md), [x](#abx)", "[Log](log.md), [x](#abx)"),
        ("units.md", "[x](https://example.org/a.md)", "[x](https://example.org/a.md)"),
        ("clusters.md", "[x](../config/config.yaml)", "[x](source/config/config.yaml.md)"),
        ("clusters.md", "[config/README.md](../config/README.md)", "[Configuration](as-a-module.md)"),
        ("changelog.md", "[LICENSE](LICENSE)", "[LICENSE](source/LICENSE.md)"),
        ("units.md", "`[x](log.md)` and\n```\n[y](../a.md)\n```\n", "`[x](log.md)` and\n```\n[y](../a.md)\n```\n"),
    ],
)
def test_links_lead_to_pages_of_the_site(page, text, there):
    assert site.with_site_links(text, page) == there


def test_sections_become_a_page():
    text = "# All\n\nhead\n\n## One\n\na\n\n### Part\n\nb\n\n## Two\n\nc\n"
    assert site.sections_of(text, ["Two", "One"]) == "# Two\n\nc\n## One\n\na\n\n### Part\n\nb\n\n"


@pytest.mark.parametrize("page", [page for page, (_, sections) in site.PAGES.items() if sections])
def test_the_sections_of_pages_are_in_their_files(page):
    file, sections = site.PAGES[page]
    assert site.sections_of((ROOT / file).read_text(), sections).startswith(f"# {sections[0]}\n")


def test_every_page_is_in_the_navigation_once():
    text = (ROOT / "mkdocs.yml").read_text()
    listed = re.findall(r"([\w-]+\.md)$", text[text.index("\nnav:") :], flags=re.MULTILINE)
    assert sorted(listed) == sorted([*site.PAGES, *(path.name for path in (ROOT / "docs").glob("*.md"))])
    # a page of this name would take the place of the run's
    assert Path(site.COPY).with_suffix(".md").name not in listed


def test_the_run_s_page_has_its_report_or_says_how_to_make_it(monkeypatch, tmp_path):
    class Page:
        class file:  # noqa: N801
            src_uri = site.RUN_PAGE

    monkeypatch.setattr(site, "ROOT", tmp_path)
    assert "No finished run" in site.on_page_markdown("# The default run\n", Page, None, None)
    (tmp_path / "results").mkdir()
    (tmp_path / site.REPORT).write_text("<p>")
    assert f'<iframe src="{site.COPY}"' in site.on_page_markdown("# The default run\n", Page, None, None)


def test_nothing_is_loaded_from_a_network():
    text = (ROOT / "mkdocs.yml").read_text()
    assert re.search(r"^  font: false$", text, flags=re.MULTILINE)
    assert "http" not in text
