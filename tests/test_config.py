"""The experiment: what TOML and overrides may state, and what its digest distinguishes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2ikd import UserError
from i2ikd.config import Training, apply_override, check_experiment, digest, merge_training, read_experiment
from i2ikd.config_file import read_document

SMALL: dict[str, Any] = {
    "name": "small",
    "task": {"name": "t"},
    "teacher": {"model": "a"},
    "student": {"model": "b", "depth": 3},
    "arms": [{"name": "student"}, {"name": "kd", "recipe": "kd-mri", "alpha": 0.5, "student": {"depth": 2}}],
}


def overridden(*overrides: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(SMALL))
    for override in overrides:
        apply_override(document, override)
    return document


class TestExperiment:
    def test_defaults_are_the_papers_values(self) -> None:
        experiment = check_experiment(SMALL, "here")
        training = experiment.training
        assert (training.epochs, training.batch, training.optimizer, training.lr) == (150, 4, "adam", 1e-3)
        assert (training.schedule, training.decay_epochs, training.decay_rate) == ("step", 40, 0.1)
        assert (training.weight_decay, training.ema, training.precision) == (0, None, "fp32")
        assert experiment.seeds == [0] and experiment.pairs is None

    def test_what_a_section_does_not_know_are_options_of_its_component(self) -> None:
        experiment = check_experiment(SMALL, "here")
        assert experiment.student.options == {"depth": 3} and experiment.teacher.options == {}
        assert experiment.arm("kd").options == {"alpha": 0.5}
        assert experiment.task.options == {}

    def test_an_arm_changes_the_student_for_itself(self) -> None:
        experiment = check_experiment(SMALL, "here")
        assert experiment.student_of(experiment.arm("kd")).options == {"depth": 2}
        assert experiment.student_of(experiment.arm("student")).options == {"depth": 3}

    def test_an_arm_with_another_model_has_none_of_the_options_of_the_student(self) -> None:
        document = overridden("student.training.lr=0.5", "student.transforms=['int8']", "arms.kd.student.model='c'")
        experiment = check_experiment(document, "here")
        other, own = (experiment.student_of(experiment.arm(name)) for name in ("kd", "student"))
        assert (other.model, other.options) == ("c", {"depth": 2})
        assert (other.training, other.transforms) == (own.training, own.transforms) and other.training == {"lr": 0.5}
        same = check_experiment(overridden("student.width=8", "arms.kd.student.model='b'"), "here")
        assert same.student_of(same.arm("kd")).options == {"depth": 2, "width": 8}

    def test_it_is_the_same_after_a_way_through_json(self) -> None:
        document = overridden("pairs=[['a', 'b']]", "teacher.weights='some/where'", "training.augmentations=['flip']")
        experiment = check_experiment(document, "here")
        assert check_experiment(json.loads(experiment.model_dump_json()), "there") == experiment

    def test_an_arm_that_is_not_there_is_named_with_the_nearest(self) -> None:
        with pytest.raises(UserError, match="the experiment 'small' has no arm 'studnet'; did you mean 'student'"):
            check_experiment(SMALL, "here").arm("studnet")

    @pytest.mark.parametrize("missing", ["name", "task", "teacher", "student", "arms"])
    def test_what_is_missing_is_named(self, missing: str) -> None:
        document = {key: value for key, value in SMALL.items() if key != missing}
        with pytest.raises(UserError, match=f"^here: the option '{missing}' is missing$"):
            check_experiment(document, "here")

    def test_a_task_without_a_name_is_refused_with_the_remedy(self) -> None:
        with pytest.raises(UserError, match="the key 'name' is missing; `i2ikd list tasks` shows what there is"):
            check_experiment({**SMALL, "task": {"acceleration": 4}}, "here")

    @pytest.mark.parametrize("override", ["comparison.control='kd'", "comparison.student='student'"])
    def test_a_reference_is_one_of_the_arms(self, override: str) -> None:
        check_experiment(overridden(override), "here")
        with pytest.raises(UserError, match=r"comparison\.\w+ names no arm; known: kd, student"):
            check_experiment(overridden(override.replace("kd'", "none'").replace("student'", "none'")), "here")

    def test_default_references_may_be_missing(self) -> None:
        assert check_experiment(overridden("arms=[{name='other'}]"), "here").comparison.student == "student"

    def test_a_message_is_one_line_however_long_the_value(self) -> None:
        with pytest.raises(UserError) as caught:
            check_experiment({**SMALL, "seeds": "line\nline"}, "here")
        assert "\n" not in str(caught.value)


class TestTraining:
    def test_changes_are_merged_and_checked(self) -> None:
        changed = merge_training(Training(epochs=3), {"lr": "0.5", "ema": 0.9}, "stage")
        assert (changed.epochs, changed.lr, changed.ema) == (3, 0.5, 0.9)
        with pytest.raises(UserError, match="stage: unknown option 'epoch'; did you mean 'epochs'"):
            merge_training(Training(), {"epoch": 3}, "stage")

    def test_what_numbers_do_not_depend_on_is_no_part_of_the_identity(self) -> None:
        identity = Training().identity()
        assert Training(workers=3, cache_mib=1, cache_disk_mib=1).identity() == identity
        changes: dict[str, Any] = {
            "epochs": 1, "batch": 1, "optimizer": "sgd", "lr": 1, "weight_decay": 1, "schedule": "cosine",
            "decay_epochs": 1, "decay_rate": 0.5, "min_lr": 1, "warmup_epochs": 1, "ema": 0.5, "clip_grad": 1,
            "precision": "bf16", "augmentations": ["flip"], "select": "last", "validate_every": 7, "device": "cpu",
        }  # fmt: skip
        assert changes.keys() == Training.model_fields.keys() - {"workers", "cache_mib", "cache_disk_mib"}
        for name, value in changes.items():
            assert Training(**{name: value}).identity() != identity, name


class TestOverrides:
    @pytest.mark.parametrize(
        ("override", "path", "value"),
        [
            ("training.epochs=3", ("training", "epochs"), 3),
            ("training.lr = 1e-4", ("training", "lr"), 1e-4),
            ("student.depth=4", ("student", "depth"), 4),
            ("name=other", ("name",), "other"),
            ("name='other'", ("name",), "other"),
            ("task.root=/a/b=c.d", ("task", "root"), "/a/b=c.d"),
            ("task.root=", ("task", "root"), ""),
            ("task.stored=true", ("task", "stored"), True),
            ("task.size=[3, 4]", ("task", "size"), [3, 4]),
            ("task.mask={name='x', y=1}", ("task", "mask"), {"name": "x", "y": 1}),
            ("arms.kd.alpha=0.25", ("arms", 1, "alpha"), 0.25),
            ("arms.1.alpha=0.25", ("arms", 1, "alpha"), 0.25),
            ("arms.0={name='x'}", ("arms", 0), {"name": "x"}),
            ("arms.kd.student.depth=9", ("arms", 1, "student", "depth"), 9),
            ("new.deep.key=1", ("new", "deep", "key"), 1),
        ],
    )
    def test_a_value_goes_where_its_path_leads(self, override: str, path: tuple[Any, ...], value: Any) -> None:
        found: Any = overridden(override)
        for part in path:
            found = found[part]
        assert found == value and type(found) is type(value)

    def test_nothing_else_changes(self) -> None:
        changed = overridden("arms.kd.alpha=0.25")
        changed["arms"][1]["alpha"] = 0.5
        assert changed == SMALL

    @given(st.text(alphabet="ab.=[]{}'\" \n09-,\x00"))
    def test_any_text_is_taken_or_refused(self, text: str) -> None:
        with contextlib.suppress(UserError):
            overridden(text)


class TestFiles:
    def test_overrides_come_after_the_file(self, tiny_file: Path) -> None:
        experiment = read_experiment(tiny_file, ["training.epochs=9", "training.epochs=5"])
        assert (experiment.name, experiment.training.epochs, experiment.training.batch) == ("tiny", 5, 2)

    def test_the_file_is_named_where_it_is_wrong(self, tiny_file: Path) -> None:
        with pytest.raises(UserError, match=r"tiny\.toml: training\.epochs = 0: should be greater"):
            read_experiment(tiny_file, ["training.epochs=0"])


class TestBase:
    @staticmethod
    def write(folder: Path, **files: str) -> None:
        for name, text in files.items():
            (folder / f"{name}.toml").write_text(text, encoding="utf-8")

    def test_tables_are_merged_and_lists_and_scalars_are_replaced(self, tmp_path: Path) -> None:
        self.write(
            tmp_path,
            base="""
                seeds = [0, 1]
                training = { epochs = 9, lr = 0.5 }
                task = { mask = { axis = 0, low = 1 } }
                arms = [{ name = "a", alpha = 1 }]
            """,
            heir="""
                base = "base.toml"
                seeds = [7]
                training = { epochs = 3 }
                task = { mask = { axis = 1 } }
                arms = [{ name = "a" }, { name = "b" }]
            """,
        )
        assert read_document(tmp_path / "heir.toml") == {
            "seeds": [7],
            "training": {"epochs": 3, "lr": 0.5},
            "task": {"mask": {"axis": 1, "low": 1}},
            "arms": [{"name": "a"}, {"name": "b"}],
        }

    def test_another_component_does_not_inherit_options(self, tmp_path: Path) -> None:
        self.write(
            tmp_path,
            base="""
                name = "base"
                teacher = { model = "dc-cnn", cascades = 5 }
                student = { model = "dc-cnn", cascades = 5 }
                task = { name = "t", dataset = { root = "x", size = 3 }, mask = { name = "m", axis = 0 } }
            """,
            heir="""
                base = "base.toml"
                name = "heir"
                teacher = { model = "vdsr" }
                student = { model = "dc-cnn", depth = 2 }
                task = { dataset = { name = "phantom" }, mask = "n" }
            """,
        )
        assert read_document(tmp_path / "heir.toml") == {
            "name": "heir",
            "teacher": {"model": "vdsr"},
            "student": {"model": "dc-cnn", "cascades": 5, "depth": 2},
            "task": {"name": "t", "dataset": {"name": "phantom"}, "mask": "n"},
        }

    def test_a_base_is_relative_to_its_heir_and_may_have_a_base(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "deep").mkdir()
        self.write(tmp_path, root="x = 1\ny = 1\nz = 1\n")
        self.write(
            tmp_path / "deep", middle='base = "../root.toml"\ny = 2\nz = 2\n', leaf='base = "middle.toml"\nz = 3\n'
        )
        monkeypatch.chdir(tmp_path / "deep")
        assert read_document(Path("leaf.toml")) == {"x": 1, "y": 2, "z": 3}
        monkeypatch.chdir(tmp_path)
        assert read_document(Path("deep/leaf.toml")) == {"x": 1, "y": 2, "z": 3}

    def test_overrides_come_after_merging(self, tiny_file: Path) -> None:
        heir = tiny_file.with_name("heir.toml")
        heir.write_text(f'base = "{tiny_file.name}"\nname = "heir"\n[training]\nepochs = 4\n')
        experiment = read_experiment(heir, ["training.epochs=6"])
        assert (experiment.name, experiment.training.epochs, experiment.training.batch) == ("heir", 6, 2)
        changed = read_experiment(tiny_file, ["name=heir", "training.epochs=6"])
        assert experiment == changed

    def test_the_heir_is_named_where_the_merged_experiment_is_wrong(self, tiny_file: Path) -> None:
        heir = tiny_file.with_name("heir.toml")
        heir.write_text(f'base = "{tiny_file.name}"\n[training]\nepochs = 0\n')
        with pytest.raises(UserError, match=r"heir\.toml: training\.epochs = 0: should be greater"):
            read_experiment(heir)

    @pytest.mark.parametrize(
        ("start", "chain"), [("a", ["a", "b", "c", "a"]), ("d", ["d", "a", "b", "c", "a"]), ("e", ["e", "e"])]
    )
    def test_a_cycle_is_refused_with_its_chain(self, tmp_path: Path, start: str, chain: list[str]) -> None:
        bases = {"a": "b", "b": "c", "c": "a", "d": "a", "e": "e"}
        self.write(tmp_path, **{heir: f'base = "{base}.toml"\n' for heir, base in bases.items()})
        names = " -> ".join(str(tmp_path / f"{name}.toml") for name in chain)
        with pytest.raises(UserError) as caught:
            read_document(tmp_path / f"{start}.toml")
        assert str(caught.value) == f"the experiment {tmp_path / start}.toml inherits from itself: {names}"

    def test_a_missing_or_broken_base_is_named_with_its_heir(self, tmp_path: Path) -> None:
        self.write(tmp_path, heir='base = "nothing.toml"\n', other='base = "broken.toml"\n', broken="not TOML")
        missing = f"cannot read the experiment {tmp_path}/nothing.toml, the base of {tmp_path}/heir.toml: No such file"
        with pytest.raises(UserError, match=re.escape(missing)):
            read_document(tmp_path / "heir.toml")
        broken = f"{tmp_path}/broken.toml, the base of {tmp_path}/other.toml is not TOML: "
        with pytest.raises(UserError, match=re.escape(broken)):
            read_document(tmp_path / "other.toml")

    @pytest.mark.parametrize("value", ["3", '["a.toml"]', "{ name = 'a.toml' }", "''"])
    def test_a_base_that_is_no_path_is_refused(self, tmp_path: Path, value: str) -> None:
        self.write(tmp_path, heir=f"base = {value}\n")
        with pytest.raises(UserError, match=r"heir\.toml: base: expected the path of a TOML file as text, got"):
            read_document(tmp_path / "heir.toml")

    def test_an_override_of_the_base_is_refused(self, tiny_file: Path) -> None:
        with pytest.raises(UserError, match="an override cannot set 'base'"):
            read_experiment(tiny_file, ["base=other.toml"])


class TestDigest:
    def test_it_depends_on_everything_except_the_order_of_keys(self) -> None:
        value = {"a": [1, {"b": None}], "c": "ü"}
        assert digest(value) == digest({"c": "ü", "a": [1, {"b": None}]})
        others = [{**value, "a": [{"b": None}, 1]}, {**value, "c": "u"}, {**value, "d": None}, {"a": value["a"]}]
        assert len({digest(other) for other in [value, *others]}) == 5

    def test_it_is_sha256_of_canonical_json(self) -> None:
        assert digest({"b": 1, "a": [0.5]}) == hashlib.sha256(b'{"a":[0.5],"b":1}').hexdigest()


def arms_of(*arms: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {**SMALL, **settings, "arms": [{"name": "student"}, *arms]}


class TestGraphOfArms:
    def test_an_arm_names_the_arms_that_it_needs(self) -> None:
        arm = {"name": "a", "teacher": "student", "inputs": {"assistant": ["b", "c"]}}
        experiment = check_experiment(arms_of(arm, {"name": "b"}, {"name": "c"}), "here")
        assert sorted(experiment.arm("a").needed_arms) == ["b", "c", "student"]

    @pytest.mark.parametrize(
        ("arms", "message"),
        [
            ([{"name": "a", "teacher": "a"}], "the arms a -> a need each other"),
            (
                [
                    {"name": "a", "teacher": "b"},
                    {"name": "b", "inputs": {"x": ["student", "c"]}},
                    {"name": "c", "teacher": "a"},
                ],
                "the arms a -> b -> c -> a need each other",
            ),
            (
                [{"name": "a", "inputs": {"x": ["b"]}}, {"name": "b", "of": "a", "transforms": ["t"]}],
                "the arms a -> b -> a need each other",
            ),
            ([{"name": "a", "teacher": "studnet"}], "arm 'a': there is no arm 'studnet'; did you mean 'student'"),
            ([{"name": "a", "inputs": {"x": ["b"]}}], "arm 'a': there is no arm 'b'"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_ordered_is_refused(self, arms: list[dict[str, Any]], message: str) -> None:
        with pytest.raises(UserError) as caught:
            check_experiment(arms_of(*arms), "here")
        assert message in str(caught.value)

    def test_two_that_share_what_they_need_are_no_cycle(self) -> None:
        arms = [{"name": "a", "teacher": "b"}, {"name": "c", "teacher": "b", "inputs": {"x": ["a"]}}, {"name": "b"}]
        assert len(check_experiment(arms_of(*arms), "here").arms) == 4


class TestRowsOfOtherArms:
    def test_it_has_transforms_and_nothing_else(self) -> None:
        arm = {"name": "small", "of": "student", "transforms": ["prune", {"name": "int8", "bits": 8}]}
        found = check_experiment(arms_of(arm), "here").arm("small")
        assert [(t.name, t.options) for t in found.transforms] == [("prune", {}), ("int8", {"bits": 8})]

    @pytest.mark.parametrize(
        ("arm", "message"),
        [
            ({"of": "student"}, "it needs transforms, or it is the same row twice"),
            (
                {"of": "student", "transforms": ["t"], "recipe": "kd-mri"},
                "nothing is trained, so 'recipe' has no effect",
            ),
            ({"of": "student", "transforms": ["t"], "alpha": 0.5}, "nothing is trained, so 'alpha' has no effect"),
            ({"of": "teacher", "transforms": ["t"]}, "of = 'teacher' is no arm; set transforms in [teacher]"),
            ({"of": "first", "transforms": ["t"]}, "of = 'first' is itself of 'student'; name the arm that is trained"),
        ],
    )
    def test_what_has_no_effect_is_refused(self, arm: dict[str, Any], message: str) -> None:
        first = {"name": "first", "of": "student", "transforms": ["t"]}
        with pytest.raises(UserError) as caught:
            check_experiment(arms_of(first, {"name": "row", **arm}), "here")
        assert "arm 'row'" in str(caught.value) and message in str(caught.value)


def test_a_reference_that_is_no_arm_is_refused() -> None:
    with pytest.raises(UserError, match=r"comparison\.references names no arm 'studnet'; did you mean 'student'"):
        check_experiment({**SMALL, "comparison": {"references": ["studnet"]}}, "here")
