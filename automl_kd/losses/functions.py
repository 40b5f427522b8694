"""Losses as plain functions of tensors, for programs of one's own: `automl_kd.losses.kd_loss(student, teacher)`.

They are the functions that the losses of the table are made of. Here their options have the defaults of the table, and
shapes and ranges are checked, because a tensor of another shape would be broadcast in silence.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, get_type_hints

from jaxtyping import jaxtyped
from torch import Tensor

from automl_kd.config.strict import check_record
from automl_kd.errors import RecordError
from automl_kd.losses.features import ab, at, fitnet, fsp, ft, hcl, ickd, mgd, nst, ofd, reviewkd, semckd, vid
from automl_kd.losses.logits import dist, dkd, kd, logit_standardisation, mlkd, ofa, srrl
from automl_kd.losses.relations import cc, crd, diswot, minilm, pkt, rkd, sp
from automl_kd.registry import name_type
from automl_kd.tasks.soft_targets import kd_loss

LossCallable = Callable[..., Any]


def describe_loss(function: LossCallable, kind: type[Any], options: type[Any] | None = None) -> LossCallable:
    """`function` with checks, the defaults of the loss `kind`, and a docstring that has shapes, ranges and source.

    `options`: the record of the function's options, if it is not the loss itself.
    """
    record = options or kind
    tensors = {name: hint for name, hint in get_type_hints(function).items() if hasattr(hint, "dim_str")}
    tensors.pop("return", None)
    plain = inspect.signature(function)
    defaults = {
        item.name: item.default
        for item in dataclasses.fields(record)
        if item.name in plain.parameters and item.name not in tensors
    }
    signature = plain.replace(
        parameters=[one.replace(default=defaults.get(name, one.default)) for name, one in plain.parameters.items()]
    )

    @wraps(function)
    def checked(*values: Any, **named: Any) -> Any:
        try:
            given = signature.bind(*values, **named)
        except TypeError as error:
            raise RecordError(f"{function.__name__}: {error}; it takes {', '.join(plain.parameters)}") from error
        given.apply_defaults()
        check_tensors(function.__name__, tensors, given.arguments)
        numbers = {name: given.arguments[name] for name in defaults}
        # A tensor may have a gradient, and a look at its value would wait for the device.
        check_record(
            record, {name: one for name, one in numbers.items() if not isinstance(one, Tensor)}, function.__name__
        )
        return function(*given.args, **given.kwargs)

    described: Any = checked
    described.__signature__ = signature
    described.__doc__ = docstring(function, kind, tensors)
    return checked


def check_tensors(name: str, tensors: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """`RecordError` unless all are tensors whose shapes fit together."""
    with jaxtyped("context"):
        if all(isinstance(given[one], hint) for one, hint in tensors.items()):
            return
    got = ", ".join(
        f"{one} {str(value.dtype)[6:]} {tuple(value.shape)}" if isinstance(value := given[one], Tensor)
        else f"{one} {name_type(value)}"
        for one in tensors
    )  # fmt: skip
    wanted = ", ".join(f"{one} {describe_shape(hint)}" for one, hint in tensors.items())
    raise RecordError(f"{name} got {got}, and wanted {wanted}; equal words are equal lengths")


def describe_shape(hint: Any) -> str:
    dtype = "int" if "int" in str(hint.dtypes) and "float" not in str(hint.dtypes) else "float"
    words = hint.dim_str.split()
    return f"{dtype} ({', '.join(words)}{',' * (len(words) == 1)})"


def docstring(function: LossCallable, kind: type[Any], tensors: Mapping[str, Any]) -> str:
    shapes = "\n".join(f"`{name}`: {describe_shape(hint)}." for name, hint in tensors.items())
    about = inspect.cleandoc(kind.__doc__ or "").replace("\n\n", "\n")
    return (
        f"{inspect.cleandoc(function.__doc__ or '')}\n\n{shapes}\n\nOf the loss {kind.__name__}: {about}\n\n"
        "`RecordError`, a `ValueError`, for other shapes or a number out of range."
    )


LOSS_FUNCTIONS: Mapping[str, LossCallable] = {
    name: describe_loss(function, *kinds)
    for name, function, *kinds in (
        ("kd_loss", kd_loss, kd.KD),
        ("dkd_loss", dkd.dkd_loss, dkd.DKD),
        ("dist_loss", dist.dist_loss, dist.DIST),
        ("standardise", logit_standardisation.standardise, logit_standardisation.StandardisedKD),
        ("class_correlation_loss", mlkd.class_correlation_loss, mlkd.MLKD, kd.KD),
        ("batch_correlation_loss", mlkd.batch_correlation_loss, mlkd.MLKD, kd.KD),
        ("ofa_loss", ofa.ofa_loss, ofa.OFA),
        ("srrl_losses", srrl.srrl_losses, srrl.SRRL),
        ("hint_loss", fitnet.hint_loss, fitnet.FitNet),
        ("at_loss", at.at_loss, at.AT),
        ("nst_loss", nst.nst_loss, nst.NST),
        ("vid_loss", vid.vid_loss, vid.VID),
        ("ab_loss", ab.ab_loss, ab.AB),
        ("fsp_loss", fsp.fsp_loss, fsp.FSP),
        ("ft_loss", ft.ft_loss, ft.FT),
        ("ofd_loss", ofd.ofd_loss, ofd.OFD),
        ("hcl", hcl.hcl, reviewkd.ReviewKD),
        ("semckd_loss", semckd.semckd_loss, semckd.SemCKD),
        ("mgd_loss", mgd.mgd_loss, mgd.MGD),
        ("ickd_loss", ickd.ickd_loss, ickd.ICKD),
        ("sp_loss", sp.sp_loss, sp.SP),
        ("rkd_loss", rkd.rkd_loss, rkd.RKD),
        ("cc_loss", cc.cc_loss, cc.CC),
        ("pkt_loss", pkt.pkt_loss, pkt.PKT),
        ("crd_loss", crd.crd_loss, crd.CRD),
        ("semantic_loss", diswot.semantic_loss, diswot.Semantic),
        ("minilm_loss", minilm.minilm_loss, minilm.MiniLM),
    )
}
"""By the name under which `automl_kd.losses` has them."""
