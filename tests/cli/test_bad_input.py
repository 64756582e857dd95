"""Invalid input ends with exit code 2 and one line on stderr, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.mask.acceleration=0.5", "mask: expected acceleration >= 1, got 0.5"),
        ("task.mask.acceleration=nan", "mask: expected acceleration >= 1, got nan"),
        ("task.mask.acceleration='fast'", "acceleration = 'fast': should be a valid number"),
        ("task.mask.centre_lines=30", "expected centre_lines <= 8, the lines that acceleration = 4.0 leaves of 32"),
        ("task.dataset.size=[32]", "size.1"),
        ("training.epochs=0", "training.epochs = 0: should be greater than 0"),
        ("training.lr=0", "training.lr = 0: should be greater than 0"),
        ("training.lr=nan", "training.lr = nan"),
        ("training.precision='fp16'", "training.precision = 'fp16': should be 'fp32', 'bf16' or 'auto'"),
        ("training.optimizer='adm'", "training.optimizer = 'adm' is unknown; did you mean 'adam'?"),
        ('training.augmentations=["flop"]', "did you mean 'flip'?"),
        ("training.ema=1", "training.ema = 1: should be less than 1"),
        ("seeds=[0, 0]", "the seeds must differ"),
        ("seeds=[]", "seeds = []"),
        ("seeds=[-1]", "seeds.0 = -1: should be greater than or equal to 0"),
        ("seeds=3", "seeds = 3: should be a valid list"),
        ("name='a/b'", "name = 'a/b'"),
        ("name=''", "name = ''"),
        ("arms=[]", "arms = []: List should have at least 1 item"),
        ("arms=[{name='a'}, {name='a'}]", "two arms are named 'a'"),
        ("arms=[{name='teacher'}]", "an arm cannot be named 'teacher'"),
        ("arms=[{recipe='student'}]", "the option 'arms.0.name' is missing"),
        ("arms.kd-mri.alpha=2", "arm 'kd-mri' (recipe 'kd-mri'): alpha = 2: should be less than or equal to 1"),
        ("arms.kd-mri.weight=-1", "weight = -1: should be greater than or equal to 0"),
        ("arms.kd-mri.student.model=3", "arm 'kd-mri', student: model = 3: should be a valid string"),
        ("arms.kd-mri.student.kernel=4", "got kernel = 4"),
        ("student.weights='a.pt'", "student.weights: only a teacher can be given weights; a student is trained"),
        ("arms.kd-mri.student.weights='a.pt'", "arm 'kd-mri', student.weights: only a teacher can be given weights"),
        ("teacher.weights='none.pt'", "teacher.weights: there is no file none.pt"),
        ("teacher.training.batch=3", "teacher.training: batch is the same for the whole experiment"),
        ("comparison.student='plain'", "comparison.student names no arm; known: control, kd-mri, student"),
        ("student.mode='complex'", "student: mode = 'complex' contradicts the task, whose mode is 'real'; state it"),
        ("student={model='plain-cnn', out_channels=2, residual=false}", "2, 32, 32) for a target of (2, 1, 32, 32)"),
        ("task=3", "task"),
        ("student=3", "student"),
    ],
)  # fmt: skip
def test_an_invalid_value_is_refused(override: str, message: str, refused: Any) -> None:
    assert message in refused(override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.name='mri-recom'", "unknown task 'mri-recom'; did you mean 'mri-recon'?"),
        ("teacher.model='dccnn'", "unknown model 'dccnn'; did you mean 'dc-cnn'?"),
        ("student.model='other:dc-cnn'", "unknown model 'other:dc-cnn'; did you mean 'dc-cnn'?"),
        ("task.dataset={name='fantom'}", "unknown dataset 'fantom'; did you mean 'phantom'?"),
        ("task.mask={name='equispace'}", "unknown mask 'equispace'; did you mean 'equispaced'?"),
        ("task.dataset={name='folder', root='.', reader='nift'}", "unknown reader 'nift'; did you mean 'nifti'?"),
        ("arms.kd-mri.recipe='kdmri'", "unknown recipe 'kdmri'; did you mean 'kd-mri'?"),
        ("arms.kd-mri.distiller='atention'", "unknown distiller 'atention'; did you mean 'attention'?"),
        ("pairs='dccnn'", "unknown pairs 'dccnn'; did you mean 'dc-cnn'?"),
        ("student={model='import:nowhere:Net'}", "cannot import 'nowhere:Net': ModuleNotFoundError"),
    ],
)
def test_an_unknown_component_is_refused(override: str, message: str, refused: Any, tmp_path: Path) -> None:
    if "reader" in override:
        override = override.replace("root='.'", f"root='{tmp_path / 'data'}'")
        for split in ("train", "val", "test"):
            (tmp_path / "data" / split).mkdir(parents=True)
            (tmp_path / "data" / split / f"{split}.nii").write_bytes(b"")
    assert message in refused(override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sedes=[1]", "unknown option 'sedes'; did you mean 'seeds'?"),
        ("training.epoch=3", "unknown option 'training.epoch'; did you mean 'epochs'?"),
        ("comparison.controll='student'", "unknown option 'comparison.controll'; did you mean 'control'?"),
        ("task.datset={name='phantom'}", "unknown option 'datset'; did you mean 'dataset'?"),
        ("task.mask.aceleration=3", "unknown option 'aceleration'; did you mean 'acceleration'?"),
        ("task.dataset.slice=3", "unknown option 'slice'; did you mean 'slices'?"),
        ("teacher.caskades=3", "unknown option 'caskades'; did you mean 'cascades'?"),
        ("teacher.training.epoch=3", "there is no setting training.epoch; did you mean 'epochs'?"),
        ("student.dept=3", "unknown option 'dept'; did you mean 'depth'?"),
        ("arms.control.stage=2", "unknown option 'stage'; did you mean 'stages'?"),
        ("arms.kd-mri.student.dept=2", "unknown option 'dept'; did you mean 'depth'?"),
        ("arms.kd-mri.distiller={name='attention', mod='code'}", "unknown option 'mod'; did you mean 'mode'?"),
        ("arms.kd-mri.distiller={name='attention', mode='kode'}", "mode = 'kode'"),
        (
            "arms=[{name='a', recipe='custom', stages=[{name='s', terms=[{distiller='target', wight=1}]}]}]",
            "unknown option 'stages.0.terms.0.wight'; did you mean 'weight'?",
        ),
    ],
)
def test_a_misspelt_option_is_refused_with_the_nearest_name(override: str, message: str, refused: Any) -> None:
    assert message in refused(override)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ('[["cascades.*.layers.9", "cascades.*.layers.1"]]', "'cascades.*.layers.9' matches no module of the teacher"),
        ('[["cascades.*.layers.1", "cascade.*"]]', "tap path 'cascade.*' matches no module of the student"),
        ('[["cascades.*.layers.1", "cascades.0.layers.*"]]', "matches 2 taps of the teacher"),
        ('[["cascades.0.layers.1"]]', "pairs"),
    ],
)  # fmt: skip
def test_a_tap_that_matches_no_module_is_refused(pairs: str, message: str, refused: Any) -> None:
    assert message in refused(f"pairs={pairs}")
    assert message in refused(f"arms.kd-mri.pairs={pairs}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "the override 'training.epochs' is not of the form key.path=value"),
        ("=3", "is not of the form key.path=value"),
        ("a b=3", "is not of the form key.path=value"),
        ("arms.kd.alpha=1", "there is no 'kd' in the list; it has student, control, kd-mri"),
        ("name.first=1", "name is a value, not a table"),
        ("arms.7.alpha=1", "there is no '7' in the list"),
        ("arms.7={}", "the list has the places 0 to 2"),
    ],
)
def test_an_invalid_override_is_refused(override: str, message: str, refused: Any) -> None:
    assert message in refused(override)


class TestCommandLine:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["comparee"], "unknown command 'comparee'; did you mean 'compare'?"),
            (["compare"], "Missing argument 'EXPERIMENT.toml'"),
            (["compare", "x.toml"], "Missing option '--out'"),
            (["compare", "x.toml", "--out", "o", "--sedes", "3"], "No such option"),
            (["compare", "x.toml", "--out", "o", "--seeds", "many"], "'many' is not a valid integer"),
            (["compare", "x.toml", "--out", "o"], "cannot read the experiment x.toml: No such file"),
            (["compare", ".", "--out", "o"], "expected a regular file, got a folder"),
            (["list", "modles"], "unknown kind 'modles'; did you mean 'models'?"),
            (["show", "distiller", "atention"], "unknown distiller 'atention'; did you mean 'attention'?"),
            (["init", "x.toml", "--task", "mri-recom"], "'mri-recom' provides no template; did you mean 'mri-recon'?"),
            (["init", "no/such/x.toml"], "the folder no/such does not exist; create it first"),
            (["evaluate", "nowhere"], "nowhere"),
            (["distill", "x.toml", "--out", "o"], "cannot read the experiment x.toml"),
            (["train", "x.toml", "--out", "o"], "cannot read the experiment x.toml"),
        ],
    )  # fmt: skip
    def test_invalid_arguments_are_refused(
        self, arguments: list[str], message: str, i2ikd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert message in i2ikd(*arguments).error
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--arms", "kd"), "the experiment 'tiny' has no arm 'kd'"),
            (("--arms", "student,kd-mrl"), "has no arm 'kd-mrl'; did you mean 'kd-mri'?"),
            (("--arms", ","), "--arms names no arm"),
            (("--seeds", "0"), "--seeds: expected at least 1, got 0"),
        ],
    )
    def test_invalid_selections_of_arms_and_seeds_are_refused(
        self, options: tuple[str, ...], message: str, refused: Any
    ) -> None:
        assert message in refused(options=options)

    @pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"[a]\n[a]\n", b"name = 'a'\nname = 'b'"])
    def test_a_file_that_is_not_toml_is_refused(self, content: bytes, i2ikd: Any, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_bytes(content)
        assert "x.toml is not TOML: " in i2ikd("compare", tmp_path / "x.toml", "--out", tmp_path / "out").error
        assert not (tmp_path / "out").exists()

    def test_an_empty_file_is_refused_with_the_missing_option(self, i2ikd: Any, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_text("")
        assert "the option 'name' is missing" in i2ikd("compare", tmp_path / "x.toml", "--out", tmp_path / "out").error

    def test_distill_without_an_arm_is_refused_with_the_known_arms(
        self, i2ikd: Any, tiny_file: Path, tmp_path: Path
    ) -> None:
        changes = ("-o", "arms=[{name='a'}, {name='b'}]")
        line = i2ikd("distill", tiny_file, "--out", tmp_path / "out", *changes).error
        assert line == "the experiment has several arms; select one with --arm: a, b"
