"""What this package registers: distillers, each with its paper and its formula. Importing this never imports torch."""

from __future__ import annotations

import i2ikd
from i2ikd.hookspecs import Register

_METHODS = {
    "frequency": ("output:Frequency", "L1 on high-frequency bands of the output image", "arXiv:2203.06321",
                  "mean |band(y_S - y_T)|, Haar or Laplacian bands or k-space lines"),
    "contrastive": ("contrastive:Contrastive", "near the teacher's image, far from degraded ones",
                    "arXiv:2105.11683, arXiv:2412.08939", "d(φ(y_S), φ(y_T)) / Σ_neg d(φ(y_S), φ(neg))"),
    "cascade": ("output:Cascade", "L1 between the images after each cascade", "none of its own",
                "mean_k |image_S,k - image_T,k|"),
    "statistics": ("maps:Statistics", "maps of mean, maximum, minimum and deviation over the channels",
                   "SRKD, ACCV 2018", "mean over stat of mean (stat_c(F_S) - stat_c(F_T))²"),
    "channel-wise": ("maps:ChannelWise", "each channel as a distribution over the pixels", "arXiv:2011.13256",
                     "τ²/C Σ_c KL(softmax(F_T,c/τ) ‖ softmax(F_S,c/τ))"),
    "pearson": ("maps:Pearson", "mean squared error of standardised channels", "arXiv:2207.02039",
                "½ mean (z(F_S) - z(F_T))²"),
    "fsp": ("gram:Flow", "flow from one tap to the next, as a Gram matrix", "FSP, CVPR 2017",
            "mean (G_S - G_T)², G = F1 F2ᵀ / N"),
    "nst": ("gram:NeuronSelectivity", "maximum mean discrepancy between sets of channels", "arXiv:1707.01219",
            "mean k(T,T) + k(S,S) - 2 k(S,T), k(a,b) = (a·b)²"),
    "affinity": ("gram:Affinity", "which pixels resemble which, at full resolution", "FAKD, ICIP 2020",
                 "‖A_T - A_S‖²_F / N², A = XᵀX, X = channel-normalised pixels"),
    "channel-similarity": ("gram:ChannelSimilarity", "which channels resemble which", "arXiv:2202.03680",
                           "mean (G_S - G_T)², G = row-normalised F Fᵀ"),
    "cka": ("relational:KernelAlignment", "alignment of the two networks' positions, without adapter",
            "arXiv:2103.03467", "1 - ‖X Yᵀ‖²_F / (‖X Xᵀ‖_F ‖Y Yᵀ‖_F)"),
    "similarity-preserving": ("relational:SimilarityPreserving", "similarities between pixels, patches or images",
                              "arXiv:1907.09682", "‖G_S - G_T‖²_F / M², G = row-normalised A Aᵀ"),
    "correlation-congruence": ("relational:CorrelationCongruence", "Gaussian-kernel correlations between samples",
                               "arXiv:1904.01802", "‖K_S - K_T‖²_F / M², K = Taylor series of exp(-γ‖x - y‖²)"),
    "pkt": ("relational:ProbabilisticTransfer", "neighbour probabilities between samples", "arXiv:1803.10837",
            "mean_i KL(p_T,i ‖ p_S,i), p = (cosine + 1)/2 over its row sum"),
    "rkd": ("relational:RelationalDistances", "distances between and angles at samples", "arXiv:1904.05068",
            "25 huber(d_S - d_T) + 50 huber(cos∠_S - cos∠_T)"),
    "fitnet": ("adapters:FitNet", "hints: the teacher's feature through a 1x1 convolution", "arXiv:1412.6550",
               "mean (r(F_S) - F_T)²"),
    "vid": ("adapters:VariationalInformation", "regression with a learnt uncertainty",
            "arXiv:1904.05835, arXiv:2007.07524", "½ mean [(μ(F_S) - F_T)²/σ² + log σ²]"),
    "srd": ("adapters:LogSum", "log of a high power of the distance of standardised features", "arXiv:2303.11098",
            "log mean |z(P F_S) - z(F_T)|⁴"),
    "overhaul": ("preactivations:Overhaul", "squared error before the activation, with a margin", "arXiv:1904.01866",
                 "mean (s - max(t, m_c))² where s > max(t, m_c) or t > 0"),
    "activation-boundary": ("preactivations:ActivationBoundary", "on which side of zero each neuron is",
                            "arXiv:1811.03233", "mean max(0, μ ∓ s)², - where t > 0"),
    "review": ("review:Review", "levels fused top-down, compared at several scales", "arXiv:2104.09044",
               "mean_k Σ_l w_l mean (pool_l(y_k) - pool_l(F_T,k))²"),
    "generation": ("generation:MaskedGeneration", "regenerate the teacher's feature from a masked one",
                   "arXiv:2205.01529", "mean (g(M ∘ F_S) - F_T)²"),
    "factor": ("factor:Factor", "factors of an autoencoder of the teacher, translated from the student",
               "arXiv:1802.04977", "mean |u(translator(F_S)) - u(paraphraser(F_T))|"),
}  # fmt: skip


@i2ikd.hookimpl
def register_distillers(register: Register) -> None:
    """Register every method."""
    for name, (target, summary, paper, formula) in _METHODS.items():
        register(name, f"i2ikd_distillers.{target}", summary=summary, paper=paper, formula=formula)
