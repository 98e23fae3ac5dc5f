"""demo(): everything from collisions to the report of one small study."""

from __future__ import annotations

from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from transferline.config import load_config
from transferline.errors import ConfigError
from transferline.evaluation import records
from transferline.evaluation.learning_curve import learning_curve
from transferline.learning.study import RECORDS, study
from transferline.learning.study_config import StudyConfig
from transferline.reporting.report import write_report

_SHIPPED = Path(str(resources.files("transferline"))) / "shipped"


def demo(out: Path, *, from_scratch: bool = False, jobs: int = 2) -> Path:
    """Generate, prepare, transfer the shipped backbone, and write the report; return its page.

    ttH(bb) against ttbar at 200 to 800 labelled events, both classes together. Where no
    generator is installed, the events that ship with the package take its place. Repeated, it
    goes on where it stopped.

    Args:
        out: directory of the study and its report.
        from_scratch: pre-train a backbone first, in place of the shipped one.
        jobs: processes, of one thread each.
    """
    config = demo_config(from_scratch)
    study(config, out, jobs=jobs)
    return write_report(out, out / "report")


def demo_config(from_scratch: bool = False) -> StudyConfig:
    """Return the study, with shipped events in place of processes if there is no generator.

    Raises:
        ConfigError: there is neither a generator nor shipped events for a sample.
    """
    name = "demo_from_scratch.yaml" if from_scratch else "demo.yaml"
    config = load_config(_SHIPPED / name, StudyConfig)
    if find_spec("pythia8mc") is not None:
        return config
    changes = {name: _shipped_events(name, config.samples[name].label) for name in config.used()}
    return StudyConfig.model_validate({**config.to_dict(), "samples": changes})


def _shipped_events(name: str, label: str) -> dict[str, str]:
    place = _SHIPPED / "samples" / name
    if not place.is_dir():
        raise ConfigError(
            f"the sample '{name}' has to be generated: pip install 'transferline[generate]' "
            "(Linux x86_64, Python 3.11 to 3.13)."
        )
    return {"shards": str(place), "label": label}


def demo_table(out: Path) -> str:
    """Return the areas under the ROC curve, with errors, as lines of text."""
    lines = learning_curve(records.read(out / RECORDS))
    sizes = sorted({point.n_train for line in lines for point in line.points})
    rows = ["AUC at n labelled events" + "".join(f"{f'n = {n:,}':>18}" for n in sizes)]
    for line in lines:
        found = {point.n_train: str(point.measurement) for point in line.points}
        rows.append(f"{line.mode:24}" + "".join(f"{found.get(n, ''):>18}" for n in sizes))
    return "\n".join(rows)
