"""The command from beginning to end, on the fewest events it takes."""

from __future__ import annotations

import json
import re

import pytest

from transferline.cli import run
from transferline.validation import real_simulation
from transferline.validation.check import Verdict
from transferline.validation.event_file import EventFile
from transferline.validation.events import TOPICS
from transferline.validation.evidence import NEEDS, Evidence, recipes

from ..generated_events import BACKGROUND, root_file

N, SEED = 100, 2


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "docs" / "physics_validation.md"
    words = ["validate", "events", "--n", str(N), "--seed", str(SEED), "--out", str(out)]
    assert run(words) == 0
    return out


def test_the_page_begins_with_the_command_and_the_verdicts(page):
    text = page.read_text()
    assert f"transferline validate events --n {N} --seed {SEED}\n" in text
    assert text.index("**Verdicts**") < text.index("\n## ")
    assert "pythia8mc 8." in text
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == len(TOPICS)


def test_every_picture_of_the_page_is_there(page):
    names = re.findall(r"\]\((validation/events-[\w-]+\.png)\)", page.read_text())
    assert len(names) == len(set(names)) > 15
    assert {page.parent / name for name in names} == set(page.parent.glob("validation/*.png"))
    assert all((page.parent / name).stat().st_size > 10_000 for name in names)


def test_every_number_stands_in_the_json(page):
    found = json.loads((page.parent / "validation" / "events.json").read_text())
    assert (found["n"], found["seed"]) == (N, SEED)
    checks = [check for section in found["sections"] for check in section["checks"]]
    assert len(checks) == sum(found["verdicts"].values()) > 100
    assert {check["verdict"] for check in checks} <= set(map(str, Verdict))
    assert all(check["source"] for check in checks)
    assert len({check["quantity"] for check in checks}) == len(checks)
    # Most cannot be told with so few events; of the others one may stray by three deviations.
    assert found["verdicts"]["disagrees"] <= 2
    assert found["verdicts"]["agrees"] > 40


def test_cross_sections_are_explained_where_the_scale_is_to_blame(page):
    found = json.loads((page.parent / "validation" / "events.json").read_text())
    checks = {c["quantity"]: c for section in found["sections"] for c in section["checks"]}
    top = checks["singletop_t: published / leading order"]
    assert top["verdict"] in ("explained", "agrees")
    assert top["control"]["value"] < top["measured"]["value"]


def test_samples_are_shares_of_the_largest():
    made = recipes(20_000, 1, "cms")
    assert set(made) == set(NEEDS)
    assert made["ttbar"].n == max(sample.n for sample in made.values()) == 20_000
    assert not made["ttH_no_mpi"].mpi and made["ttH"].mpi
    assert made["ttbar"].shares_events_with(made["ttbar_no_mpi"])


def evidence(own, real):
    return Evidence({"ttbar": own}, None, 100, 1, real=[real])  # type: ignore[arg-type]


def test_real_simulation_is_known_by_its_content_and_compared():
    path = root_file(BACKGROUND)
    own = EventFile(path)
    assert real_simulation.process_of(own) == "ttbar"
    checks = real_simulation.find(evidence(own, path)).checks
    assert {check.verdict for check in checks} <= {Verdict.AGREES, Verdict.UNDECIDED}
    assert all("1600 events of CMS simulation" in check.source for check in checks)


def test_with_real_cms_simulation(real_data):
    own = EventFile(root_file(BACKGROUND))
    found = real_simulation.find(evidence(own, real_data / "nano_tt_v12.root"))
    verdicts = {check.quantity.partition(": ")[2]: check.verdict for check in found.checks}
    assert verdicts["resolution of missing momentum (GeV)"] == Verdict.EXPLAINED
    assert verdicts["momentum of the neutrinos (GeV)"] == Verdict.AGREES


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--n", "10"], 2, "at least 100 events"),
        (["--real", "missing.root"], 3, "missing.root: no such file"),
        (["--n", "100", "--detector", "cmss"], 2, "Did you mean 'cms'"),
    ],
)
def test_wrong_requests_say_what_is_wrong(words, code, message, tmp_path, capsys):
    assert run(["validate", "events", "--out", str(tmp_path / "x.md"), *words]) == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
