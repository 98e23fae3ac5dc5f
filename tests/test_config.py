from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from transferline.config import Recipe, added, load_config, one_of
from transferline.errors import ConfigError
from transferline.learning.objectives import OBJECTIVES
from transferline.learning.objectives.supervised import Supervised
from transferline.models.backbones import BACKBONES
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Features


class Inner(Recipe):
    rate: float = 1.0
    sizes: tuple[int, ...] = ()


class Outer(Recipe):
    inner: Inner = Inner()
    features: Features = Features()
    backbone: one_of(BACKBONES) = Transformer()
    objective: one_of(OBJECTIVES) = Supervised()
    mode: Literal["slow", "fast"] = "slow"
    seed: int = 0


@pytest.fixture
def written(tmp_path):
    def write(text: str, name: str = "study.yaml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def failure(path: Path, *assignments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, Outer, assignments)
    return str(caught.value).splitlines()


def test_values_and_defaults(written):
    config = load_config(written("inner: {rate: 1e-3, sizes: [1, 2]}\nseed: 4\n"), Outer)
    assert config == Outer(inner=Inner(rate=0.001, sizes=(1, 2)), seed=4)
    assert config.to_dict()["mode"] == "slow"


def test_a_kind_selects_the_class(written):
    config = load_config(written("backbone: {kind: transformer, depth: 2}\n"), Outer)
    assert type(config.backbone).__name__ == "Transformer"
    assert Outer.model_validate(config.to_dict()) == config


# The three wrong configurations that a newcomer writes first, and what must be said.


def test_an_unknown_key_names_the_nearest(written):
    path = written("seed: 1\nbackbone:\n  kind: transformer\n  widht: 3\n")
    assert failure(path) == [f"{path}:4:3: backbone.widht: unknown key. Did you mean 'width'?"]


def test_an_unknown_kind_names_the_nearest(written):
    path = written("backbone: {kind: tranformer}\n")
    assert failure(path) == [
        f"{path}:1:1: backbone: 'tranformer' is not one of the backbones. "
        "Did you mean 'transformer'?"
    ]


def test_a_wrong_value_names_its_place(written):
    path = written("inner:\n  sizes: [1, two]\n")
    (line,) = failure(path)
    assert line.startswith(f"{path}:2:14: inner.sizes.1: Input should be a valid integer")


def test_all_errors_come_at_once(written):
    path = written("sed: 1\ninner: {rat: 2}\nmode: medium\nfeatures: {particles: [log_ptt]}\n")
    text = "\n".join(failure(path))
    assert f"{path}:1:1: sed: unknown key. Did you mean 'seed'?" in text
    assert f"{path}:2:9: inner.rat: unknown key. Did you mean 'rate'?" in text
    assert f"{path}:3:1: mode: Input should be 'slow' or 'fast'" in text
    assert "features.particles.0: unknown feature 'log_ptt'. Did you mean 'log_pt'?" in text


def test_values_that_do_not_fit_together_are_blamed_on_their_block(written):
    path = written("seed: 1\nbackbone: {kind: transformer, width: 30, heads: 4}\n")
    assert failure(path) == [f"{path}:2:1: backbone: heads (4) must divide width (30)."]


def test_a_missing_kind_lists_what_there_is(written):
    (line,) = failure(written("backbone: {width: 3}\n"))
    assert "needs a mapping with `kind:`, one of " in line
    assert "transformer" in line


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("seed: 1\nseed: 2\n", ":2:1: the key 'seed' stands twice."),
        ("inner: {rate: [}\n", ":1:16: "),
        ("- seed\n", ": holds no mapping of keys to values."),
        ("", ": holds no mapping of keys to values."),
    ],
)
def test_text_that_is_no_configuration(written, text, wanted):
    path = written(text)
    (line,) = failure(path)
    assert line.startswith(f"{path}{wanted}")


def test_files_that_cannot_be_read(tmp_path):
    assert failure(tmp_path / "no.yaml") == [
        f"{tmp_path / 'no.yaml'}: cannot be read (No such file or directory)."
    ]
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe")
    assert failure(tmp_path / "b.yaml") == [f"{tmp_path / 'b.yaml'}: is not UTF-8 text."]


def test_a_base_lies_below(written):
    written("seed: 7\ninner: {rate: 2, sizes: [3]}\n", "base.yaml")
    config = load_config(written("base: base.yaml\ninner: {rate: 5}\n"), Outer)
    assert config == Outer(seed=7, inner=Inner(rate=5, sizes=(3,)))


def test_another_kind_replaces_the_whole_mapping(written):
    written("objective: {kind: masked_type, probability: 0.5}\n", "base.yaml")
    config = load_config(written("base: base.yaml\nobjective: {kind: supervised}\n"), Outer)
    assert config.objective.kind == "supervised"


def test_an_error_in_the_base_names_the_base(written):
    base = written("seed: 7\ninner: {rat: 2}\n", "base.yaml")
    path = written("base: base.yaml\ninner: {rate: 5}\n")
    assert failure(path) == [f"{base}:2:9: inner.rat: unknown key. Did you mean 'rate'?"]


def test_a_base_that_is_not_there_is_blamed_on_the_line_that_names_it(written):
    path = written("seed: 7\nbase: nowhere.yaml\n")
    [line] = failure(path)
    assert line.startswith(f"{path}:2:1: base: ")
    assert "nowhere.yaml: cannot be read" in line


@pytest.mark.parametrize("text", ["010", "1:30", "-007", "1:30.5", "00.5"])
def test_numbers_that_yaml_reads_otherwise_are_refused(written, text):
    """As octal, and in base 60: of a padded job array, `--set seed=010` would be seed 8."""
    for lines in (
        failure(written(f"seed: {text}\n")),
        failure(written("seed: 1\n"), f"seed={text}"),
    ):
        assert "is another number in YAML than it seems" in lines[0]
    assert load_config(written("seed: 0\n"), Outer).seed == 0
    assert load_config(written("inner: {rate: 0.5, sizes: [1_000]}\n"), Outer).inner.rate == 0.5


def test_one_level_of_base_is_allowed(written):
    written("seed: 7\n", "first.yaml")
    second = written("base: first.yaml\n", "second.yaml")
    path = written("base: second.yaml\n")
    assert failure(path) == [f"{second}: has a `base:` itself; one level is allowed."]


def test_assignments_lie_above(written):
    path = written("seed: 7\ninner: {rate: 2}\n")
    config = load_config(path, Outer, ["inner.rate=1e-2", "inner.sizes=[1, 2]", "inner.rate=3"])
    assert config == Outer(seed=7, inner=Inner(rate=3, sizes=(1, 2)))


def test_an_assignment_of_a_kind_keeps_the_other_keys(written):
    path = written("objective: {kind: masked_type, probability: 0.5}\n")
    config = load_config(path, Outer, ["objective.kind=replaced_object"])
    assert (config.objective.kind, config.objective.probability) == ("replaced_object", 0.5)


def test_a_wrong_assignment_is_named(written):
    path = written("seed: 7\ninner: {rate: 2}\n")
    assert failure(path, "inner.rat=3") == [
        "--set inner.rat=3: inner.rat: unknown key. Did you mean 'rate'?"
    ]
    assert failure(path, "seed") == ["--set seed: is not of the form key.path=value."]
    assert failure(path, "seed=3, inner: {}") == [
        "--set seed=3, inner: {}: is more than one key; quote the value, or repeat --set."
    ]


def test_the_digest_is_that_of_the_resolved_values():
    assert Outer(seed=0).digest() == Outer().digest()
    assert Outer(seed=1).digest() != Outer().digest()


class Newer(Outer):
    warmth: float = added(0.5, ge=0)


def test_a_setting_that_was_added_leaves_older_digests_alone():
    assert Newer().digest() == Outer().digest() == Newer(warmth=0.5).digest()
    assert Newer(warmth=0.4).digest() != Outer().digest()
    assert Newer.model_validate(Newer(warmth=0.4).to_dict()).warmth == 0.4
    with pytest.raises(ValidationError, match="warmth"):
        Newer(warmth=-1.0)


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(rate=numbers, sizes=st.lists(st.integers(-(10**9), 10**9)), seed=st.integers(0, 10**9))
def test_a_recipe_survives_its_own_dictionary(rate, sizes, seed):
    config = Outer(inner=Inner(rate=rate, sizes=tuple(sizes)), seed=seed)
    assert Outer.model_validate(config.to_dict()) == config
    assert Outer.model_validate_json(config.model_dump_json()).digest() == config.digest()
