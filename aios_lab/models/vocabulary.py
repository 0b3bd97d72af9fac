"""What a stored architecture may say: layers, functions and methods, each by name.

An architecture is read from a file that somebody else may have written, so every word in it is looked up
here; a word that is missing is refused, both when a model is saved and when it is loaded. Nothing listed
reads files, runs code or imports modules.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

_CONV = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode"
_CONV_T = (
    "in_channels out_channels kernel_size stride padding output_padding groups bias dilation padding_mode"
)
_BATCH_NORM = "num_features eps momentum affine track_running_stats"
_RNN = "input_size hidden_size num_layers bias batch_first dropout bidirectional"
_MAX_POOL = "kernel_size stride padding dilation return_indices ceil_mode"
_AVG_POOL = "kernel_size stride padding ceil_mode count_include_pad"

# Layer name in torch.nn -> its constructor's arguments, which are attributes of the same name.
_LAYERS = {
    "Linear": "in_features out_features bias",
    "Bilinear": "in1_features in2_features out_features bias",
    "Identity": "",
    "Embedding": "num_embeddings embedding_dim padding_idx max_norm norm_type scale_grad_by_freq sparse",
    "EmbeddingBag": "num_embeddings embedding_dim max_norm norm_type scale_grad_by_freq mode sparse "
    "include_last_offset padding_idx",
    **{f"Conv{d}d": _CONV for d in (1, 2, 3)},
    **{f"ConvTranspose{d}d": _CONV_T for d in (1, 2, 3)},
    **{f"BatchNorm{d}d": _BATCH_NORM for d in (1, 2, 3)},
    **{f"InstanceNorm{d}d": _BATCH_NORM for d in (1, 2, 3)},
    "LayerNorm": "normalized_shape eps elementwise_affine bias",
    "RMSNorm": "normalized_shape eps elementwise_affine",
    "GroupNorm": "num_groups num_channels eps affine",
    "LocalResponseNorm": "size alpha beta k",
    **{f"MaxPool{d}d": _MAX_POOL for d in (1, 2, 3)},
    "AvgPool1d": _AVG_POOL,
    **{f"AvgPool{d}d": f"{_AVG_POOL} divisor_override" for d in (2, 3)},
    **{f"AdaptiveAvgPool{d}d": "output_size" for d in (1, 2, 3)},
    **{f"AdaptiveMaxPool{d}d": "output_size return_indices" for d in (1, 2, 3)},
    **{f"{kind}Pad{d}d": "padding" for kind in ("Zero", "Reflection", "Replication") for d in (1, 2, 3)},
    **{f"ConstantPad{d}d": "padding value" for d in (1, 2, 3)},
    "Dropout": "p inplace",
    **{f"Dropout{d}d": "p inplace" for d in (1, 2, 3)},
    "AlphaDropout": "p inplace",
    "ReLU": "inplace",
    "ReLU6": "inplace",
    "LeakyReLU": "negative_slope inplace",
    "PReLU": "num_parameters",
    "ELU": "alpha inplace",
    "CELU": "alpha inplace",
    "SELU": "inplace",
    "SiLU": "inplace",
    "Mish": "inplace",
    "GELU": "approximate",
    "GLU": "dim",
    "Sigmoid": "",
    "LogSigmoid": "",
    "Tanh": "",
    "Hardtanh": "min_val max_val inplace",
    "Hardswish": "inplace",
    "Hardsigmoid": "inplace",
    "Softplus": "beta threshold",
    "Softsign": "",
    "Softmax": "dim",
    "LogSoftmax": "dim",
    "Softmax2d": "",
    "Flatten": "start_dim end_dim",
    "Unflatten": "dim unflattened_size",
    "Upsample": "size scale_factor mode align_corners recompute_scale_factor",
    "PixelShuffle": "upscale_factor",
    "PixelUnshuffle": "downscale_factor",
    "ChannelShuffle": "groups",
    "Fold": "output_size kernel_size dilation padding stride",
    "Unfold": "kernel_size dilation padding stride",
    "CosineSimilarity": "dim eps",
    "RNN": f"{_RNN} nonlinearity",
    "GRU": _RNN,
    "LSTM": f"{_RNN} proj_size",
    "RNNCell": "input_size hidden_size bias nonlinearity",
    **{f"{kind}Cell": "input_size hidden_size bias" for kind in ("GRU", "LSTM")},
    "MultiheadAttention": "embed_dim num_heads dropout bias add_bias_kv add_zero_attn kdim vdim batch_first",
    "TransformerEncoderLayer": "d_model nhead dim_feedforward dropout activation layer_norm_eps batch_first "
    "norm_first bias",
}

LAYERS: Mapping[str, tuple[str, ...]] = {name: tuple(args.split()) for name, args in _LAYERS.items()}

_TENSOR_WORDS = """
abs absolute acos acosh add addbmm addcdiv addcmul addmm all allclose amax amin aminmax angle any argmax
argmin argsort asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_not bitwise_or bitwise_xor bmm
broadcast_to ceil chunk clamp clamp_max clamp_min clip clone complex conj cos cosh cross cummax cummin
cumprod cumsum deg2rad detach diag diag_embed diagonal diff div divide dot eq erf erfc exp exp2 expm1 fix
flatten flip fliplr flipud floor floor_divide fmod frac gather ge greater greater_equal gt index_add
index_copy index_fill index_select inner inverse isclose isfinite isinf isnan kthvalue le lerp less
less_equal log log10 log1p log2 log_softmax logaddexp logical_and logical_not logical_or logical_xor
logsumexp lt masked_fill masked_scatter masked_select matmul max maximum mean median min minimum mm movedim
mul multiply mv nan_to_num narrow ne neg negative norm not_equal numel outer permute pow prod quantile
rad2deg real reciprocal relu remainder repeat_interleave reshape roll rot90 round rsqrt scatter scatter_add
scatter_reduce select sigmoid sign sin sinc sinh softmax sort split sqrt square squeeze std sub subtract sum
swapaxes swapdims t take take_along_dim tan tanh tensor_split tile topk transpose tril triu true_divide
trunc unbind unflatten unique unsqueeze var where xlogy zeros_like ones_like full_like empty_like rand_like
randn_like view_as_real view_as_complex
"""

_METHOD_WORDS = """
add_ bool byte contiguous cpu detach dim div_ double element_size expand expand_as float half int
is_contiguous is_floating_point long mul_ nelement new_empty new_full new_ones new_zeros relu_ repeat
reshape_as short sigmoid_ size stride sub_ tanh_ to type_as unfold view view_as bfloat16 masked_fill_ clamp_
fill_ zero_ exp_ sqrt_ pow_ neg_ copy_ scatter_ scatter_add_ index_add_ index_fill_ squeeze_ unsqueeze_
transpose_ softmax item ndimension
"""

_TORCH_WORDS = """
arange as_tensor atleast_1d atleast_2d atleast_3d bernoulli block_diag bucketize cartesian_prod cat cdist
column_stack combinations concat concatenate cosine_similarity dstack einsum empty eye full hstack is_tensor
linspace logspace meshgrid multinomial normal ones polar prelu rand randint randn randperm searchsorted
stack tensordot tril_indices triu_indices vstack zeros conv1d conv2d conv3d conv_transpose1d
conv_transpose2d conv_transpose3d layer_norm batch_norm group_norm embedding dropout selu celu rrelu isin
is_floating_point numel scalar_tensor _weight_norm
"""

_FUNCTIONAL_WORDS = """
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
adaptive_max_pool3d affine_grid alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm bilinear celu
conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity cross_entropy
dropout dropout1d dropout2d dropout3d elu elu_ embedding embedding_bag feature_alpha_dropout fold gelu glu
grid_sample group_norm gumbel_softmax hardshrink hardsigmoid hardswish hardtanh instance_norm interpolate
layer_norm leaky_relu leaky_relu_ linear local_response_norm log_softmax logsigmoid lp_pool1d lp_pool2d
max_pool1d max_pool2d max_pool3d mish mse_loss normalize one_hot pad pairwise_distance pixel_shuffle
pixel_unshuffle prelu relu relu6 relu_ rms_norm rrelu scaled_dot_product_attention selu sigmoid silu softmax
softmin softplus softshrink softsign tanh tanhshrink threshold unfold upsample nll_loss l1_loss
smooth_l1_loss
"""

_OPERATOR_WORDS = """
abs add and_ concat contains eq floordiv ge getitem gt iadd iand ifloordiv imatmul imod imul invert ior ipow
isub itruediv ixor le lshift lt matmul mod mul ne neg not_ or_ pos pow rshift setitem sub truediv truth xor
"""

_MATH_WORDS = "ceil floor sqrt exp log log2 log10 pow prod fabs sin cos tan tanh trunc"

# ``x.shape`` is traced as getattr(x, "shape"); no other attribute leads out of tensors and sizes.
ATTRIBUTES = frozenset(
    (
        "shape",
        "dtype",
        "device",
        "layout",
        "T",
        "mT",
        "H",
        "mH",
        "real",
        "imag",
        "ndim",
        "itemsize",
        "is_cuda",
    )
)

METHODS = frozenset((_TENSOR_WORDS + _METHOD_WORDS).split())

# Named arguments that some functions take and that do more than compute.
FORBIDDEN_ARGUMENTS = frozenset({"out"})

_PLACES: tuple[tuple[str, Any, str], ...] = (
    ("operator", operator, _OPERATOR_WORDS),
    ("math", math, _MATH_WORDS),
    ("torch.nn.functional", functional, _FUNCTIONAL_WORDS),
    ("torch", torch, _TENSOR_WORDS + _TORCH_WORDS),
    ("torch.linalg", torch.linalg, "norm vector_norm matrix_norm"),
    (
        "torch.fft",
        torch.fft,
        "fft ifft rfft irfft fft2 ifft2 rfft2 irfft2 fftn ifftn fftshift ifftshift",
    ),
    ("torch.special", torch.special, "expit erf gammaln log_softmax softmax"),
)


@cache
def functions() -> Mapping[str, Callable[..., Any]]:
    """Qualified name -> function, for every function that an architecture may call."""
    known = {
        f"{place}.{word}": getattr(module, word)
        for place, module, words in _PLACES
        for word in words.split()
        if hasattr(module, word)
    }
    known["getattr"] = builtins.getattr
    return known


@cache
def _names() -> Mapping[int, str]:
    named: dict[int, str] = {}
    for name, function in functions().items():
        named.setdefault(id(function), name)
    return named


def function_name(function: object) -> str | None:
    """The qualified name of an allowed function, or None for one that is not in the list."""
    name = _names().get(id(function))
    return name if name is not None and functions()[name] is function else None


def layer_class(name: str) -> type[nn.Module] | None:
    """The ``torch.nn`` class of an allowed layer."""
    if name not in LAYERS:
        return None
    found = getattr(nn, name, None)
    return found if isinstance(found, type) else None


def layer_name(module: nn.Module) -> str | None:
    """The name of an allowed layer; None for any other class, subclasses of layers included."""
    name = type(module).__name__
    return name if name in LAYERS and getattr(nn, name, None) is type(module) else None
