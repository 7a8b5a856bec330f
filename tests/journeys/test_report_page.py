"""The report as a reader meets it: in a browser, on a desk and on a phone, by day and by night, on paper."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, Browser, open_browser
from report_example import build_example
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from meta_baseline.report.content import ReportContent
from meta_baseline.report.page import render_report

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return build_example()


@pytest.fixture(scope="module")
def report(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key == "href" and (value or "").startswith("#"):
                self.targets.append((value or "")[1:])
            self.targets += re.findall(r"url\(#([^)]+)\)", value or "")


def test_the_same_content_gives_the_same_page(content: ReportContent, report: Path) -> None:
    assert render_report(content) == report.read_text(encoding="utf-8")


def test_eighteen_figures_stay_well_below_two_megabytes(content: ReportContent, report: Path) -> None:
    assert sum(len(section.figures) for section in content.sections) == 18
    assert report.stat().st_size < 1.2 * MEGABYTE


def test_no_two_parts_of_the_page_share_an_id_and_every_link_arrives(report: Path) -> None:
    links = _Links()
    links.feed(report.read_text(encoding="utf-8"))
    assert len(set(links.ids)) == len(links.ids)
    assert set(links.targets) <= set(links.ids)


def test_one_drawing_used_twice_does_not_share_its_ids(content: ReportContent) -> None:
    section = content.sections[2]
    twice = replace(content, sections=(replace(section, figures=(section.figures[1], section.figures[1])),))
    links = _Links()
    links.feed(render_report(twice))
    assert len(set(links.ids)) == len(links.ids)


def test_every_check_stands_once_in_the_list_with_the_gravest_first(content: ReportContent) -> None:
    checks = render_report(content).split('id="checks"')[1].split("</section>")[0]
    codes = re.findall(r"<code>([^<]+)</code>", checks)
    everything = [check.code for check in content.checks] + [c.code for s in content.sections for c in s.checks]
    assert sorted(codes) == sorted(everything)
    assert codes[0] == "autoencoders.dead"
    assert re.findall(r'class="verdict">(\w+)', checks) == ["Fails"] + ["Warning"] * 3 + ["Note"] + ["Passed"] * 8


def test_six_findings_are_shown_by_importance_and_the_rest_is_folded(content: ReportContent) -> None:
    answer = render_report(content).split('id="answer"')[1].split("</section>")[0]
    shown, folded = answer.split("<details")
    first = sorted(content.findings, key=lambda finding: -finding.importance)[0]
    assert shown.count('class="sentence"') == 6
    assert shown.index(first.sentence[:20]) == min(shown.index(f.sentence[:20]) for f in content.findings[:6])
    assert "1 more finding" in folded


def test_a_finding_that_the_answer_says_is_not_said_again_and_links_to_its_section(content: ReportContent) -> None:
    finding = content.findings[0]
    section = replace(content.sections[0], answer=f"{finding.sentence} And more.", findings=(finding,))
    page = render_report(replace(content, findings=(finding,), sections=(section,)))
    assert page.count(finding.sentence) == 2
    assert '<a class="source" href="#s1-behaviour">Behaviour</a>' in page.split('id="checks"')[0]


@pytest.mark.parametrize(
    ("beyond", "words"),
    [(True, "Outside the control band"), (False, "Inside the control band"), (None, "Description")],
)
def test_a_finding_is_called_what_its_analysis_found_whatever_its_importance(
    content: ReportContent, beyond: bool | None, words: str
) -> None:
    for importance in (0.2, 0.5, 0.7):
        finding = replace(content.findings[0], importance=importance, beyond_control=beyond)
        assert words in render_report(replace(content, findings=(finding,)))


def test_a_report_without_findings_checks_figures_or_tables_is_a_page(content: ReportContent) -> None:
    section = replace(content.sections[0], figures=(), tables=(), checks=(), findings=())
    page = render_report(replace(content, findings=(), checks=(), facts=(), sections=(section,)))
    assert "No finding was reported." in page


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_says_nothing_asks_nobody_and_never_scrolls_sideways(
    browser: Browser, report: Path, width: int, dark: bool
) -> None:
    browser.show(report, width=width, dark=dark)
    assert browser.console() == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [report.resolve().as_uri()]
    assert browser.evaluate("performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:'))") == []
    assert browser.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_every_figure_is_seen_and_its_text_stays_inside(browser: Browser, report: Path, width: int) -> None:
    browser.show(report, width=width)
    figures = browser.evaluate(
        """[...document.querySelectorAll('figure svg[role=img]')].map(svg => {
          const frame = svg.getBoundingClientRect();
          const text = [...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect()).filter(b => b.width > 0);
          return {label: svg.getAttribute('aria-label'), width: frame.width, height: frame.height,
            size: Math.min(...[...svg.querySelectorAll('text')].map(t => parseFloat(getComputedStyle(t).fontSize)
              * frame.width / svg.viewBox.baseVal.width)),
            outside: Math.max(...text.map(b => Math.max(frame.left - b.left, b.right - frame.right, frame.top - b.top,
              b.bottom - frame.bottom)))}})"""
    )
    assert len(figures) == 18
    for figure in figures:
        assert figure["width"] > 300 and figure["height"] > 150, figure
        assert figure["outside"] < 3, figure
        assert figure["size"] > 7.5, figure  # CSS pixels; the smallest are the numbers in the cells of a heat map


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_no_line_of_text_is_longer_than_the_eye_likes(browser: Browser, report: Path, width: int) -> None:
    browser.show(report, width=width)
    longest = browser.evaluate(
        """Math.max(...[...document.querySelectorAll('main p, main dd, main blockquote')].map(paragraph => {
          const text = document.createRange();
          text.selectNodeContents(paragraph);
          const lines = [...text.getClientRects()].map(line => line.width);
          const ruler = document.createElement('span');
          ruler.textContent = '0'; paragraph.append(ruler);
          const ch = ruler.getBoundingClientRect().width; ruler.remove();
          return ch ? Math.max(0, ...lines) / ch : 0; }))"""
    )
    assert longest <= 75


@pytest.mark.browser
def test_a_dark_system_gives_light_ink_to_page_and_figures_alike(browser: Browser, report: Path) -> None:
    inks = """[document.body, document.querySelector('figure svg text')].map(
      (e, i) => getComputedStyle(e)[i ? 'fill' : 'color'])"""
    browser.show(report)
    light = browser.evaluate(inks)
    browser.show(report, dark=True)
    dark = browser.evaluate(inks)
    assert light == ["rgb(27, 28, 30)"] * 2
    assert dark[0] == dark[1] != light[0]


@pytest.mark.browser
def test_the_button_turns_the_page_dark_until_it_is_closed(browser: Browser, report: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.show(report)
    button = browser.driver.find_element(By.ID, "theme-toggle")
    assert button.text == "Dark page"
    button.click()
    assert browser.evaluate(ground) == "rgb(20, 22, 25)"
    assert button.text == "Light page"
    browser.show(report)
    assert browser.evaluate(ground) == "rgb(255, 255, 255)"


def _column(browser: Browser, table: int, column: int) -> list[str]:
    return browser.evaluate(
        "[...document.querySelectorAll('table.data')[arguments[0]].tBodies[0].rows]"
        ".map(row => row.cells[arguments[1]].textContent)",
        table,
        column,
    )


@pytest.mark.browser
def test_a_table_sorts_by_click_with_negative_numbers_first_and_undefined_ones_last(
    browser: Browser, report: Path
) -> None:
    browser.show(report)
    table = browser.driver.find_elements(By.CSS_SELECTOR, "table.data")[1]
    heading = table.find_elements(By.CSS_SELECTOR, "thead th")[4]
    heading.find_element(By.TAG_NAME, "button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert _column(browser, 1, 4) == ["−1.25", "−0.31", "2.0e−3", "3.10", "12.40", "–"]
    heading.find_element(By.TAG_NAME, "button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert _column(browser, 1, 4) == ["12.40", "3.10", "2.0e−3", "−0.31", "−1.25", "–"]


@pytest.mark.browser
def test_a_table_sorts_by_keyboard_and_says_so(browser: Browser, report: Path) -> None:
    browser.show(report)
    buttons = browser.driver.find_elements(By.CSS_SELECTOR, "table.data")[1].find_elements(By.TAG_NAME, "button")
    browser.driver.execute_script("arguments[0].focus()", buttons[4])
    browser.press(Keys.TAB)
    browser.press(Keys.ENTER)
    assert _column(browser, 1, 5) == ["432", "4608", "18\u202f432", "36\u202f864", "36\u202f864", "131\u202f072"]
    browser.press(Keys.SPACE)
    assert _column(browser, 1, 5)[0] == "131\u202f072"
    sorted_headings = browser.driver.find_elements(By.CSS_SELECTOR, "th[aria-sort]")
    assert [heading.get_attribute("aria-sort") for heading in sorted_headings] == ["descending"]
    assert browser.evaluate("document.getElementById('status').textContent") == "Sorted by weights, descending."


@pytest.mark.browser
def test_a_table_is_saved_with_exact_names_and_plain_numbers(browser: Browser, report: Path) -> None:
    browser.show(report)
    button = browser.driver.find_elements(By.CSS_SELECTOR, ".table .tools button")[1]
    browser.driver.execute_script("arguments[0].click()", button)
    lines = browser.downloaded("change-since-step-0.csv").splitlines()
    assert lines[0] == "layer,distance_from_step_0,cosine,stable_rank,kurtosis,num_weights"
    assert [line.split(",")[4] for line in lines[1:]] == ["-0.31", "12.4", "0.002", "", "3.1", "-1.25"]
    assert [line.split(",")[5] for line in lines[1:]][-1] == "131072"


@pytest.mark.browser
def test_the_first_column_stays_while_a_table_is_scrolled_on_a_phone(browser: Browser, report: Path) -> None:
    browser.show(report, width=PHONE)
    places = browser.evaluate(
        """(() => { const frame = document.querySelectorAll('.scroll')[1];
          const left = () => frame.querySelector('tbody th').getBoundingClientRect().left;
          const before = left(); frame.scrollLeft = 100;
          return [before, left(), frame.scrollLeft, frame.tabIndex]; })()"""
    )
    assert places[0] == places[1]
    assert places[2] == 100
    assert places[3] == 0


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_every_row_of_short_cells_is_one_line_high(browser: Browser, report: Path, width: int) -> None:
    browser.show(report, width=width)
    browser.driver.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
    heights = browser.evaluate("[...document.querySelectorAll('tbody tr')].map(r => r.getBoundingClientRect().height)")
    assert min(heights) > 25 and max(heights) < 36


@pytest.mark.browser
def test_the_contents_are_folded_on_a_phone_and_stand_beside_the_text_on_a_desk(browser: Browser, report: Path) -> None:
    browser.show(report, width=PHONE)
    contents = browser.driver.find_element(By.ID, "contents")
    toggle = browser.driver.find_element(By.ID, "contents-toggle")
    assert not contents.is_displayed()
    toggle.click()
    assert contents.is_displayed() and toggle.get_attribute("aria-expanded") == "true"
    contents.find_element(By.LINK_TEXT, "Probes").click()
    assert not contents.is_displayed()
    top = browser.evaluate("document.getElementById('s5-probes').getBoundingClientRect().top")
    assert 0 <= top < 120
    browser.show(report)
    contents = browser.driver.find_element(By.ID, "contents")
    assert contents.is_displayed() and not browser.driver.find_element(By.ID, "contents-toggle").is_displayed()
    browser.driver.execute_script("document.getElementById('s4-autoencoders').scrollIntoView()")
    time.sleep(0.3)
    assert browser.driver.find_element(By.CSS_SELECTOR, "a[aria-current]").text == "Sparse autoencoders"
    assert contents.is_displayed() and contents.rect["x"] + contents.rect["width"] < 400


@pytest.mark.browser
def test_the_first_key_press_offers_to_skip_to_the_answer(browser: Browser, report: Path) -> None:
    browser.show(report)
    browser.press(Keys.TAB)
    assert browser.driver.switch_to.active_element.text == "Skip to the answer"


@pytest.mark.browser
def test_without_scripts_everything_can_still_be_read(browser: Browser, report: Path) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.show(report, width=PHONE)
        assert browser.driver.find_element(By.ID, "contents").is_displayed()
        assert not browser.driver.find_element(By.ID, "theme-toggle").is_displayed()
        assert len(browser.driver.find_elements(By.CSS_SELECTOR, "figure svg[role=img]")) == 18
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.browser
def test_on_paper_checks_are_unfolded_and_a_dark_page_is_light(browser: Browser, report: Path) -> None:
    browser.show(report, dark=True)
    browser.driver.find_element(By.ID, "theme-toggle").click()
    browser.driver.find_element(By.ID, "theme-toggle").click()
    browser.driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate("document.querySelectorAll('details[data-print]:not([open])').length") == 0
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.driver.execute_script("dispatchEvent(new Event('afterprint'))")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert browser.evaluate("document.querySelectorAll('details[data-print][open]').length") == 0
