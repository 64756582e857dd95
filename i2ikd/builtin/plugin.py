"""Registration of the core's components through the plugin hooks; this module does not import torch."""

from __future__ import annotations

from i2ikd.hookspecs import Register, hookimpl

_METRICS = "i2ikd.evaluation.metrics"


@hookimpl
def register_models(register: Register) -> None:
    """Register networks for any task."""
    register(
        "plain-cnn",
        "i2ikd.builtin.models.plain:PlainCNN",
        summary="convolutions with ReLU, optional residual",
    )
    register("timm-unet", "i2ikd.builtin.models.unet:TimmUNet", summary="U-Net whose encoder is any timm backbone")


@hookimpl
def register_distillers(register: Register) -> None:
    """Register the basic distillation terms."""
    register(
        "target",
        "i2ikd.builtin.distillers.output:Target",
        summary="reconstruction loss against the target; no teacher",
        formula="rho(y_S - x)",
    )
    register(
        "imitation",
        "i2ikd.builtin.distillers.output:Imitation",
        summary="loss between the student's and the teacher's output images",
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
    """Register the default objective."""
    register(
        "weighted-terms",
        "i2ikd.builtin.objectives.weighted_terms:WeightedTerms",
        summary="weighted sum of distillers; what a stage minimises unless it states another objective",
        formula="sum_i w_i(epoch) * term_i",
    )


@hookimpl
def register_combinations(register: Register) -> None:
    """Register the default combination of an ensemble."""
    register("mean", "i2ikd.builtin.combinations:EnsembleMean", summary="the mean of the networks' output images")


@hookimpl
def register_recipes(register: Register) -> None:
    """Register recipes: named lists of stages."""
    recipes = "i2ikd.builtin.recipes:"
    register("student", recipes + "student", summary="plain training; stages = 2 is the equal-budget control")
    register("kd-mri", recipes + "kd_mri", summary="a feature stage, then target and imitation (arXiv:2004.05319)")
    register("imitation", recipes + "imitation", summary="target and imitation, no features")
    register("joint", recipes + "joint", summary="target, imitation and features in one stage")
    register("custom", recipes + "custom", summary="stages written out in the experiment")


@hookimpl
def register_metrics(register: Register) -> None:
    """Register metrics; each name contains scope and peak."""
    for name, target, summary in (
        ("psnr-volume-max", "PsnrVolumeMax", "PSNR of a volume; peak: the target volume's maximum (dB)"),
        ("psnr-slice-max", "PsnrSliceMax", "PSNR of a slice; peak: the target slice's maximum (dB)"),
        ("psnr-slice-unit", "PsnrSliceUnit", "PSNR of a slice of values in 0..1; peak 1 (dB)"),
        (
            "ssim-volume-max",
            "SsimVolumeMax",
            "SSIM of a volume, 7x7 uniform window; range: the target volume's maximum",
        ),
        ("ssim-slice-max", "SsimSliceMax", "SSIM of a slice; range: the target slice's maximum"),
        ("ssim-slice-unit", "SsimSliceUnit", "SSIM of a slice of values in 0..1; range 1"),
        ("nmse-volume", "NmseVolume", "squared error over the target's energy, per volume"),
        ("nmse-slice", "NmseSlice", "squared error over the target's energy, per slice"),
        (
            "hfn-slice",
            "HfnSlice",
            "error of the Laplacian over the target's, per slice; prediction clipped to 0..1 or the target's own range",
        ),
        ("mae-slice", "MaeSlice", "mean absolute error of a slice"),
    ):
        register(name, f"{_METRICS}:{target}", summary=summary)


@hookimpl
def register_commands(register: Register) -> None:
    """Register the commands of ``i2ikd``."""
    for name, summary in (
        ("demo", "run a complete comparison on simulated data, in a few minutes"),
        ("init", "write a commented example experiment"),
        ("data", "print what the data of an experiment holds, and what was passed over"),
        ("check", "check an experiment and estimate time, memory and disk space"),
        ("train", "train the teacher of an experiment"),
        ("distill", "train one arm, and its teacher if it is missing"),
        ("evaluate", "score a trained network on a split"),
        ("compare", "train the missing runs, evaluate all, print the table"),
        ("search", "find the smallest student within a budget that is near the teacher"),
        ("report", "print a finished comparison and rewrite its report"),
        ("verify", "compare every file of a store with its checksums"),
        ("profile", "parameters, MACs, latency and memory of a run, or of teacher and student"),
        ("infer", "apply a trained network to new data"),
        ("export", "write a trained network in a deployment format"),
        ("new-plugin", "write the skeleton of a plugin package"),
        ("plugins", "list plugins and their components"),
        ("list", "list the components of a kind: models, tasks, distillers, ..."),
        ("schema", "print the JSON schema of experiments, for editors"),
        ("show", "show one component: formula, options, source"),
    ):
        register(name, f"i2ikd.cli.{name.replace('-', '_')}:command", summary=summary)


@hookimpl
def register_figures(register: Register) -> None:
    """Register the figures of a report."""
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
    """Register trackers: destinations of training numbers besides the history."""
    trackers = "i2ikd.builtin.trackers:"
    register("json-lines", trackers + "JsonLines", summary="every epoch, and the final table, as JSON objects in lines")
    register("tensorboard", trackers + "TensorBoard", summary="TensorBoard: scalars, images and the final table")
    register("wandb", trackers + "WandB", summary="Weights & Biases, offline unless mode = 'online'")
    register("mlflow", trackers + "MLflow", summary="MLflow: a local store or a tracking server")


@hookimpl
def register_transforms(register: Register) -> None:
    """Register transforms that make a row of the table of a delivered file."""
    register(
        "deliver",
        "i2ikd.deploy.transform:Deliver",
        summary="the network as a file in its runtime: scored, timed and measured as it is delivered",
    )
    register(
        "int8",
        "i2ikd.deploy.transform:int8",
        summary="a file in int8, quantised after training by ONNX Runtime or NNCF, on training slices",
    )


@hookimpl
def register_exporters(register: Register) -> None:
    """Register exporters: deployment formats of a trained network."""
    exporters = "i2ikd.builtin.exporters."
    register(
        "onnx",
        exporters + "onnx_file:Onnx",
        summary="ONNX for ONNX Runtime: real inputs, free batch, height and width; fp32, fp16, int8",
        suffixes=".onnx",
    )
    register(
        "openvino",
        exporters + "openvino_file:OpenVino",
        summary="OpenVINO's .xml and .bin: real inputs, free batch, height and width; fp32, fp16, int8",
        suffixes=".xml",
    )
    register(
        "torch-export",
        exporters + "torch_export:TorchExport",
        summary="a torch.export program that runs without i2ikd, called as the network is; fp32, bf16",
        suffixes=".pt2",
    )
    register(
        "safetensors",
        exporters + "safetensors_file:Safetensors",
        summary="the weights by name, without code; fp32, fp16, bf16",
        suffixes=".safetensors",
    )
