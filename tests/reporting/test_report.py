from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from transferline.errors import DataError
from transferline.evaluation.learning_curve import learning_curve
from transferline.evaluation.records import read
from transferline.reporting.report import write_report

from ..evaluation.synthetic import record
from .imagined_study import write_study

SECTIONS = ("Results: ttH", "Pre-training", "Samples and cut-flow", "Provenance", "Warnings")
TABLES = (
    "AUC",
    "Difference to scratch",
    "Data-efficiency factor",
    "Share closed of scratch's gap from this size to 1000 labelled events",
    "Background rejection at 30 % signal efficiency",
    "Cost of the runs",
    "Hashes",
    "Samples",
    "Cut-flow of ttH(bb) (ttH)",
    "Cut-flow of ttbar+jets (ttbar)",
)


class Reader(HTMLParser):
    """Collects tags with attributes, and the text by tag."""

    def __init__(self, html):
        super().__init__()
        self.attributes, self.texts, self._open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in ("meta", "link", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> does not close what was opened"

    def handle_data(self, data):
        self.texts.append((self._open[-1] if self._open else "", data))

    def of(self, tag):
        return [text for kind, text in self.texts if kind == tag]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(
        tmp_path_factory.mktemp("whole") / "study", sizes=(300, 1000), seeds=range(2)
    )


@pytest.fixture(scope="module")
def report(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    return out, write_report(study, out).read_text()


def test_the_page_needs_nothing_from_anywhere(report):
    out, html = report
    assert (out / "report.html").is_file()
    page = Reader(html)
    links = [value for _, name, value in page.attributes if name in ("src", "href", "srcset")]
    assert len(links) > 10
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"<script|<iframe|@import|url\(|https?://", html)


def test_the_page_contains_every_section_and_table(report):
    page = Reader(report[1])
    heads = page.of("h2")
    assert all(any(head.startswith(wanted) for head in heads) for wanted in SECTIONS)
    assert set(TABLES) <= set(page.of("caption"))
    assert {"Learning curve", "ROC", "Losses"} <= set(page.of("h3"))
    pictures = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    for start in (
        "Learning curve",
        "ROC at 300",
        "ROC at 1000",
        "Scores: fine-tuned",
        "Losses at",
        "Losses of the pre-training masked type",
        "Cut-flow",
        "Labelled events scratch",
    ):
        assert any(text.startswith(start) for text in pictures), start
    targets = {value for _, name, value in page.attributes if name == "id"}
    assert {v[1:] for _, name, v in page.attributes if name == "href" and v[0] == "#"} == targets


def test_the_numbers_are_those_of_the_records(report, study):
    cells = Reader(report[1]).of("td")
    for line in learning_curve(read(study / "records.jsonl")):
        for point in line.points:
            assert f"{point.measurement} (2)" in cells
    assert {"100,000", "90,000", "8.00%", "50.000%"} <= set(cells)  # samples and cut-flows


def test_text_of_the_study_is_escaped(report):
    assert "<b>not bold</b>" not in report[1]
    assert "&lt;b&gt;not bold&lt;/b&gt;" in report[1]
    assert "&lt;40 000&gt;" in report[1]


def test_every_plot_is_written_as_png_and_pdf(report):
    files = sorted(path.name for path in (report[0] / "plots").iterdir())
    pngs = [name for name in files if name.endswith(".png")]
    assert len(pngs) == report[1].count("<figure>") == 16
    assert files == sorted(pngs + [name[:-3] + "pdf" for name in pngs])


def test_few_seeds_are_warned_about(report):
    assert "2 seeds instead of at least 5" in report[1]


def test_a_damaged_study_names_what_is_missing_and_shows_the_rest(study, tmp_path):
    broken = shutil.copytree(study, tmp_path / "study")
    kept = [r for r in read(broken / "records.jsonl") if r.n_train == 300 and r.seed == 0]
    lines = "".join(r.model_dump_json(exclude_none=True) + "\n" for r in kept)
    (broken / "records.jsonl").write_text(lines + '{"study": "half')
    (broken / "study.json").unlink()
    (broken / "samples.json").write_text(json.dumps([{"name": "bare"}, {"label": 1}, 7]))
    (broken / "pretrain" / "masked_type" / "metrics.jsonl").write_text("not json\n")
    (broken / "pretrain" / "masked_type" / "card.md").unlink()
    runs = {r.mode: broken / "runs" / r.key() for r in kept}
    (runs["finetuned"] / "scores.npz").write_bytes(b"PK\x03\x04 broken")
    (runs["trees"] / "scores.npz").unlink()
    (runs["frozen"] / "metrics.jsonl").write_text('{"step": 1, "train_loss": 1.0}\n{"st')
    html = write_report(broken, tmp_path / "out").read_text()
    page = Reader(html)
    text = " ".join(page.of("p"))
    for words in (
        "study.json: absent",
        "records.jsonl:5: a half-written last line is dropped",
        "samples.json: an entry cannot be read",
        "No cut-flow of the sample bare is here",
        "metrics.jsonl: cannot be read",
        "card.md: absent",
        "No loss curve of a pre-training",
        f"runs/{runs['finetuned'].name}/scores.npz: cannot be read",
        f"runs/{runs['trees'].name}/scores.npz: absent",
        "1 seed instead of at least 5",
    ):
        assert words in text, words
    assert str(tmp_path) not in html
    pictures = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert any(caption.startswith("Learning curve") for caption in pictures)
    assert any(caption.startswith("Scores: from scratch") for caption in pictures)


def test_a_study_without_runs_is_still_a_page(tmp_path):
    (tmp_path / "study").mkdir()
    with pytest.raises(DataError, match=r"is no study, it has neither study\.json"):
        write_report(tmp_path / "study", tmp_path / "out")
    (tmp_path / "study" / "study.json").write_text("{}")
    html = write_report(tmp_path / "study", tmp_path / "out").read_text()
    assert "No results" in html
    assert "records.jsonl: cannot be read" in html


def test_a_broken_record_line_is_said_and_gives_no_numbers(tmp_path):
    (tmp_path / "study").mkdir()
    good = record().model_dump_json() + "\n"
    (tmp_path / "study" / "records.jsonl").write_text(good + "{}\n" + good)
    html = write_report(tmp_path / "study", tmp_path / "out").read_text()
    assert "records.jsonl:2: is not a record" in html
    assert "No results" in html


def test_what_is_no_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a study directory"):
        write_report(tmp_path / "absent", tmp_path / "out")
