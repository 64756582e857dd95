"""What ships with the core, registered through the same hooks as anybody's plugin. Nothing here imports torch."""

from __future__ import annotations

from i2ikd.hookspecs import Register, hookimpl

_METRICS = "i2ikd.evaluation.metrics"


@hookimpl
def register_models(register: Register) -> None:
    """Plain networks that fit any task."""
    register(
        "plain-cnn",
        "i2ikd.builtin.models.plain:PlainCNN",
        summary="convolutions with ReLU, optional residual",
    )
    register("timm-unet", "i2ikd.builtin.models.unet:TimmUNet", summary="U-Net whose encoder is any timm backbone")


@hookimpl
def register_distillers(register: Register) -> None:
    """The terms that every recipe stands on."""
    register(
        "target",
        "i2ikd.builtin.distillers.output:Target",
        summary="reconstruction loss against the target; no teacher",
        formula="rho(y_S - x)",
    )
    register(
        "imitation",
        "i2ikd.builtin.distillers.output:Imitation",
        summary="the student's image against the teacher's",
        paper="KD-MRI, arXiv:2004.05319",
        formula="rho(y_S - y_T), rho in L1, MSE, Charbonnier",
    )
    register(
        "attention",
        "i2ikd.builtin.distillers.attention:Attention",
        summary="attention maps per sample; mode 'code' is KD-MRI's normalisation over the batch",
        paper="AT, arXiv:1612.03928; KD-MRI, arXiv:2004.05319",
        formula="q(F) = n(vec(mean_c F^2)); mean_B ||q_S - q_T||^2",
    )


@hookimpl
def register_objectives(register: Register) -> None:
    """The default objective."""
    register(
        "weighted-terms",
        "i2ikd.builtin.objectives.weighted_terms:WeightedTerms",
        summary="weighted sum of distillers; what a stage minimises unless it states another objective",
        formula="sum_i w_i(epoch) * term_i",
    )


@hookimpl
def register_recipes(register: Register) -> None:
    """Named lists of stages."""
    recipes = "i2ikd.builtin.recipes:"
    register("student", recipes + "student", summary="plain training; stages = 2 is the equal-budget control")
    register("kd-mri", recipes + "kd_mri", summary="a feature stage, then target and imitation (arXiv:2004.05319)")
    register("imitation", recipes + "imitation", summary="target and imitation, no features")
    register("joint", recipes + "joint", summary="target, imitation and features in one stage")
    register("custom", recipes + "custom", summary="stages written out in the experiment")


@hookimpl
def register_metrics(register: Register) -> None:
    """Scope and peak are in the names."""
    for name, target, summary in (
        ("psnr-volume-max", "PsnrVolumeMax", "PSNR of a volume; peak: the target volume's maximum (dB)"),
        ("psnr-slice-max", "PsnrSliceMax", "PSNR of a slice; peak: the target slice's maximum (dB)"),
        ("psnr-slice-unit", "PsnrSliceUnit", "PSNR of a slice; peak 1 (dB)"),
        (
            "ssim-volume-max",
            "SsimVolumeMax",
            "SSIM of a volume, 7x7 uniform window; range: the target volume's maximum",
        ),
        ("ssim-slice-max", "SsimSliceMax", "SSIM of a slice; range: the target slice's maximum"),
        ("nmse-volume", "NmseVolume", "squared error over the target's energy, per volume"),
        ("nmse-slice", "NmseSlice", "squared error over the target's energy, per slice"),
        ("hfn-slice", "HfnSlice", "error of the Laplacian over the target's, per slice; prediction clipped to 0..1"),
        ("mae-slice", "MaeSlice", "mean absolute error of a slice"),
    ):
        register(name, f"{_METRICS}:{target}", summary=summary)


@hookimpl
def register_commands(register: Register) -> None:
    """The commands of ``i2ikd``."""
    for name, summary in (
        ("demo", "the main job on simulated data, in a few minutes"),
        ("init", "write a commented experiment to start from"),
        ("train", "train the teacher of an experiment"),
        ("distill", "train one arm, with the teacher it needs"),
        ("evaluate", "score a trained network on a split"),
        ("compare", "train what is missing, evaluate, print the table"),
        ("report", "print a finished comparison again and rewrite its report"),
        ("profile", "parameters, MACs, latency and memory of a run, or of teacher and student"),
        ("infer", "apply a trained network to new data"),
        ("export", "write a trained student for deployment"),
        ("new-plugin", "write the skeleton of a plugin package of your own"),
        ("plugins", "which plugins there are, and what they provide"),
        ("list", "what there is of a kind: models, tasks, distillers, ..."),
        ("show", "one component: formula, options, source"),
    ):
        register(name, f"i2ikd.cli.{name.replace('-', '_')}:command", summary=summary)


@hookimpl
def register_figures(register: Register) -> None:
    """Figures of a report."""
    for name, target, summary in (
        ("differences", "figures:differences_to_student", "paired differences to the student, 95 % intervals"),
        (
            "latency",
            "figures:quality_against_latency",
            "quality against CPU latency, 95 % intervals",
        ),
        (
            "parameters",
            "figures:quality_against_parameters",
            "quality against parameters, 95 % intervals",
        ),
        ("training", "curves:training_losses", "training losses by arm, term and stage; means over seeds"),
        ("validation", "curves:validation_losses", "validation loss; means over seeds, faint lines: single seeds"),
    ):
        register(name, f"i2ikd.report.{target}", summary=summary)


@hookimpl
def register_trackers(register: Register) -> None:
    """Where numbers can go besides the history."""
    register("json-lines", "i2ikd.builtin.trackers:JsonLines", summary="every epoch as a JSON object a line")


@hookimpl
def register_exporters(register: Register) -> None:
    """How a student leaves."""
    register(
        "torch-export",
        "i2ikd.builtin.exporters:torch_export",
        summary="a torch.export program (.pt2) that runs without i2ikd",
    )
