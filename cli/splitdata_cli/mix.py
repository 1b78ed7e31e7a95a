"""`splitdata mix DIR:WEIGHT ... --steps N --batch B`: what a mixture of datasets will do, before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from splitdata_cli._render import counted, escape, print_json, print_line
from splitdata_cli._store import store_option

if TYPE_CHECKING:
    from splitdata import Mixture

__all__ = ["mix"]

_BAR_WIDTH: Final = 40


@click.command(short_help="Show what a mixture of datasets will do.")
@click.argument("sources", metavar="DIR:WEIGHT...", nargs=-1, required=True)
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True, help="Steps of training.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Samples of a step, of all ranks."
)
@click.option("--period", type=click.IntRange(min=1), help="Sum of the shares. Default: the smallest that is exact.")
@click.option(
    "--then",
    "stages",
    multiple=True,
    metavar="STEP:DIR:WEIGHT,...",
    help="Other weights from a step on; may be given several times, in ascending order.",
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def mix(
    sources: tuple[str, ...], steps: int, batch: int, period: int | None, stages: tuple[str, ...], as_json: bool
) -> None:
    """Compute how often the dataset in each DIR is used in so many steps, and when it begins to repeat.

    A source is named as it is given: `splitdata mix data/web:0.7 data/code:0.3 --then 500:data/web:1 --batch 64`.
    Nothing but the sizes of the datasets is read.
    """
    from splitdata import Mixture

    weights = dict(_weighted(source) for source in sources)
    if len(weights) < len(sources):
        raise click.UsageError("a dataset is given twice; give it once, with the sum of its weights")
    schedule = [_stage(text, batch) for text in stages]
    mixture = Mixture({name: (name, weight) for name, weight in weights.items()}, schedule=schedule, period=period)
    rows = _rows(mixture, steps * batch, batch)
    if as_json:
        print_json({"num_samples": steps * batch, "shares": [list(stage) for stage in mixture.shares], "sources": rows})
    else:
        _show(rows, steps, steps * batch)


def _weighted(text: str) -> tuple[str, float]:
    name, _, weight = text.rpartition(":")
    try:
        return name, int(weight) if weight.isdecimal() else float(weight)
    except ValueError:
        raise click.UsageError(f"{escape(text)} is not DIR:WEIGHT, as data/web:0.7") from None


def _stage(text: str, batch: int) -> tuple[int, dict[str, float]]:
    step, _, rest = text.partition(":")
    if not step.isdecimal():
        raise click.UsageError(f"{escape(text)} is not STEP:DIR:WEIGHT,..., as 500:data/web:0.7,data/code:0.3")
    return int(step) * batch, dict(_weighted(source) for source in rest.split(","))


def _rows(mixture: Mixture, num_samples: int, batch: int) -> list[dict[str, Any]]:
    counts, passes = mixture.counts(num_samples), mixture.passes(num_samples)
    rows = []
    for name in mixture.names:
        first_repeat = mixture.first_repeat(name)
        rows.append(
            {
                "source": name,
                "num_samples": counts[name],
                "share": counts[name] / num_samples,
                "passes": passes[name],
                "repeats_from_step": None if first_repeat is None else first_repeat // batch,
            }
        )
    return rows


def _show(rows: list[dict[str, Any]], steps: int, num_samples: int) -> None:
    width = max(len(escape(row["source"])) for row in rows)
    print_line(f"{counted(steps, 'step')}, {counted(num_samples, 'sample')}")
    for row in rows:
        bar = "#" * round(_BAR_WIDTH * row["share"])
        repeats = row["repeats_from_step"]
        later = "" if repeats is None or repeats >= steps else f", repeats from step {repeats:,}"
        used = f"{row['share']:7.2%} {counted(row['num_samples'], 'sample')}, read {row['passes']:.2f} times{later}"
        print_line(f"{escape(row['source']):<{width}} {bar:<{_BAR_WIDTH}} {used}")
