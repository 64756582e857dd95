"""What this package registers: objectives, a transform and recipes; it imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_objectives(register: Register) -> None:
    """Objectives that run blocks of two networks, use the images between blocks, or draw further samples."""
    register(
        "block-grafting",
        "i2ikd_schemes.grafting:BlockGrafting",
        summary="student blocks trained in the place of the teacher's, in parallel or at random",
        paper="arXiv:2012.03096, arXiv:2002.02925",
        formula="parallel: mean_k |S_k(u_k) - v_k|; stochastic: l(y, x), block k of y being S_k with probability p",
    )
    register(
        "student-friendly",
        "i2ikd_schemes.student_friendly:StudentFriendly",
        summary="a teacher trained with student blocks branching off between its own",
        paper="arXiv:2102.07650, arXiv:2304.05057",
        formula="l(y_T, x) + b mean_k l(y_k, x) + i mean_k |y_k - sg(y_T)|, y_k = blocks k+1..K of S on image k of T",
    )

    register(
        "deep-supervision",
        "i2ikd_schemes.deep_supervision:DeepSupervision",
        summary="a fading loss on the image after every block, against the target or the teacher's images",
        paper="arXiv:1409.5185",
        formula="l(y_S, x) + w(e) mean_k d(image_S,k, x or image_T,k)",
    )
    register(
        "unlabelled-imitation",
        "i2ikd_schemes.unlabelled:UnlabelledImitation",
        summary="training on labelled samples, and imitation of the teacher on unlabelled ones",
        paper="arXiv:1503.02531",
        formula="t l(y_S, x) + i |y_S - y_T| + w(e) |y_S(u) - y_T(u)|",
    )
    register(
        "quantisation-aware",
        "i2ikd_schemes.quantisation_aware:QuantisationAware",
        summary="training with the values of int8 weights and activations, towards the teacher's image",
        paper="arXiv:1712.05877, arXiv:1802.05668",
        formula="t l(y_Q, x) + i |y_Q - y_T|, y_Q with weights round(w / s) s, s = max |w| / 127 an output channel",
    )


@i2ikd.hookimpl
def register_transforms(register: Register) -> None:
    """Changes of a network around its training."""
    register(
        "collapsible",
        "i2ikd_schemes.collapsible:Collapsible",
        summary="convolutions with linear branches in training, folded to plain ones",
        paper="arXiv:2101.03697, arXiv:2103.09404",
        formula="weight = W + B A + P",
    )


@i2ikd.hookimpl
def register_recipes(register: Register) -> None:
    """Named lists of stages; all of them have the budget of plain training."""
    for name, target, summary in (
        ("teacher-start", "teacher_start", "plain training that starts from layers of the teacher"),
        ("pruned-start", "pruned_start", "plain training that starts from the teacher's most important channels"),
        ("grafting", "grafting", "block grafting from the teacher's layers, then the target alone"),
        ("fading-imitation", "fading_imitation", "target and imitation; the imitation fades out"),
        ("deep-supervision", "deep_supervision", "the target, and a fading loss on the image after every block"),
        (
            "unlabelled-imitation",
            "unlabelled_imitation",
            "the target, and imitation of the teacher on unlabelled samples",
        ),
        ("quantisation-aware", "quantisation_aware", "training for int8: with its values, towards the teacher's image"),
        ("recommended", "recommended", "the scheme to try first: grafting from the teacher's layers"),
        ("student-friendly", "student_friendly", "of a teacher: trained with branches of student blocks"),
    ):
        register(name, f"i2ikd_schemes.recipes:{target}", summary=summary)
