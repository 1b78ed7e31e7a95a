"""`splitdata plan DIR --world W --batch B`: what an epoch will be for every rank, before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from splitdata_cli._render import counted, escape, print_json, print_line, print_table, size_text
from splitdata_cli._shuffle import shuffle_named
from splitdata_cli._store import store_option

if TYPE_CHECKING:
    from splitdata import Buckets, EpochForecast, Packed, TokenBudget

__all__ = ["plan"]

_ORDERS = ("none", "global", "window:65536", "bins")


@click.command(short_help="Show what an epoch will be for every rank.")
@click.argument("path", metavar="DIR")
@click.option("--world", type=click.IntRange(min=1), default=1, show_default=True, help="Ranks that train together.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Samples of a batch, on each.")
@click.option("--order", default="global", show_default=True, help="none, global, bins, window:SIZE, or all of them.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="Steps a second."
)
@click.option(
    "--price",
    type=click.FloatRange(min=0),
    default=0.4,
    show_default=True,
    help="Of a million requests to the store, in any currency.",
)
@click.option("--tail", type=click.Choice(["pad", "drop", "keep"]), default="pad", show_default=True)
@click.option("--steps", type=click.IntRange(min=1), help="Of an epoch, in the place of one pass through the data.")
@click.option("--replicate", type=click.IntRange(min=1), default=1, help="Neighbouring ranks with the same batches.")
@click.option("--ranks-per-node", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--max-tokens", type=click.IntRange(min=1), help="Batches of so many tokens, padding included.")
@click.option("--buckets", metavar="N,N,...", help="Batches of samples of like length, with these boundaries.")
@click.option("--pack", type=click.IntRange(min=1), help="Batches of packs, sequences of this length.")
@click.option(
    "--strategy",
    type=click.Choice(["best-fit", "first-fit", "in-order", "concat"]),
    default="best-fit",
    show_default=True,
    help="How samples are packed.",
)
@click.option("--window", type=click.IntRange(min=1), default=8192, show_default=True, help="Samples to choose from.")
@click.option("--length", metavar="FIELD", help="What is measured of a sample. Default: its bytes.")
@click.option("--epoch", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def plan(
    path: str,
    world: int,
    batch: int,
    order: str,
    rate: float,
    price: float,
    tail: Literal["pad", "drop", "keep"],
    steps: int | None,
    replicate: int,
    ranks_per_node: int,
    max_tokens: int | None,
    buckets: str | None,
    pack: int | None,
    strategy: Literal["best-fit", "first-fit", "in-order", "concat"],
    window: int,
    length: str | None,
    epoch: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compute what an epoch of a loader of the dataset in DIR will be: steps, padding, bytes and requests.

    Nothing but the index is read, whatever the number of records and ranks; with --length once each sample.
    """
    from splitdata import OrderOptions, forecast_epoch

    batching = _batching(max_tokens, buckets, pack, strategy, window, length)
    orders = _ORDERS if order == "all" else (order,)
    forecasts = {
        one: forecast_epoch(
            path,
            world_size=world,
            batch_size=batch,
            shuffle=shuffle_named(one, "--order"),
            seed=seed,
            tail=tail,
            order=OrderOptions(num_steps=steps, replicate=replicate, batching=batching),
            ranks_per_node=ranks_per_node,
            epoch=epoch,
        )
        for one in orders
    }
    store = _Store(rate, price)
    if order != "all":
        if as_json:
            print_json(forecasts[order].as_dict() | {"store": store.as_dict(forecasts[order])})
        else:
            _show(path, forecasts[order], store)
    elif as_json:
        print_json({one: told.as_dict() | {"store": store.as_dict(told)} for one, told in forecasts.items()})
    else:
        _show_all(path, forecasts, store)


class _Store:
    """What a store of objects is asked for by all ranks together, at so many steps a second and such a price."""

    def __init__(self, rate: float, price: float) -> None:
        self.rate = rate
        self.price = price

    def requests(self, forecast: EpochForecast) -> float | None:
        """Return the requests of an epoch, where 16 steps are asked for together; None where there are no bins."""
        reads = forecast.reads
        if reads is None or reads.requests_ahead is None:
            return None
        return reads.requests_ahead * forecast.most_steps * forecast.world_size

    def a_second(self, forecast: EpochForecast) -> float | None:
        """Return the requests of a second."""
        requests = self.requests(forecast)
        return None if requests is None else requests / max(1, forecast.most_steps) * self.rate

    def cost(self, forecast: EpochForecast) -> float | None:
        """Return the price of the requests of an epoch."""
        requests = self.requests(forecast)
        return None if requests is None else requests * self.price / 1e6

    def as_dict(self, forecast: EpochForecast) -> dict[str, float | None]:
        """Return all of it."""
        return {
            "requests_per_epoch": self.requests(forecast),
            "requests_per_second": self.a_second(forecast),
            "cost_per_epoch": self.cost(forecast),
            "steps_per_second": self.rate,
            "price_per_million": self.price,
        }


def _batching(
    max_tokens: int | None,
    buckets: str | None,
    pack: int | None,
    strategy: Literal["best-fit", "first-fit", "in-order", "concat"],
    window: int,
    length: str | None,
) -> TokenBudget | Buckets | Packed | None:
    from splitdata import Buckets, Packed, TokenBudget

    if sum(option is not None for option in (max_tokens, buckets, pack)) > 1:
        raise click.UsageError("give one of --max-tokens, --buckets and --pack")
    if max_tokens is not None:
        return TokenBudget(max_tokens=max_tokens, window=window, length=length)
    if pack is not None:
        return Packed(size=pack, strategy=strategy, window=window, length=length)
    if buckets is None:
        return None
    try:
        boundaries = tuple(int(boundary) for boundary in buckets.split(","))
    except ValueError:
        raise click.BadParameter("give numbers, as 64,128,256", param_hint="--buckets") from None
    return Buckets(boundaries=boundaries, window=window, length=length)


def _show(path: str, forecast: EpochForecast, store: _Store) -> None:
    samples = f"{counted(forecast.num_records, 'record')}, {counted(forecast.num_samples, 'sample')}"
    print_line(f"{escape(path)}: {samples} in epoch {forecast.epoch}")
    rows = [*_rows_of_steps(forecast), *_rows_of_batches(forecast), *_rows_of_reads(forecast)]
    print_table([*rows, *_rows_of_store(forecast, store)])


def _rows_of_store(forecast: EpochForecast, store: _Store) -> list[tuple[str, str]]:
    requests, a_second, cost = store.requests(forecast), store.a_second(forecast), store.cost(forecast)
    if requests is None or a_second is None or cost is None:
        return []
    return [
        ("requests of an epoch", f"{requests:,.0f} by all ranks: {cost:,.2f} at {store.price:g} a million"),
        ("requests a second", f"{a_second:,.1f} by all ranks at {store.rate:g} steps a second"),
    ]


def _show_all(path: str, forecasts: dict[str, EpochForecast], store: _Store) -> None:
    """Show what the orders cost, beside each other."""
    first = next(iter(forecasts.values()))
    print_line(f"{escape(path)}: {counted(first.num_records, 'record')}, {first.most_steps:,} steps on each rank")
    for name, forecast in forecasts.items():
        print_line(name)
        rows = [*_rows_of_reads(forecast)[1:], *_rows_of_store(forecast, store)]
        print_table([(f"  {what}", text) for what, text in rows])


def _rows_of_steps(forecast: EpochForecast) -> list[tuple[str, str]]:
    most, fewest = forecast.most_steps, forecast.fewest_steps
    ranks = counted(forecast.world_size, "rank")
    left_out, repeated = forecast.num_left_out, forecast.num_repeated
    number = repeated or left_out
    what = counted(number, "sample") if forecast.batches is None else f"{number:,} batch{'' if number == 1 else 'es'}"
    steps = f"{most:,} on each of {ranks}" if most == fewest else f"{fewest:,} to {most:,} on {ranks}"
    tail = f"{what} {'repeated' if repeated else 'left out'}" if number else "nothing repeated or left out"
    return [("steps", steps), ("tail", tail)]


def _rows_of_batches(forecast: EpochForecast) -> list[tuple[str, str]]:
    batches = forecast.batches
    if batches is None:
        return []
    padding = batches.num_padded_elements - batches.num_elements
    return [
        ("batches", f"{batches.num_batches:,}, of {batches.fewest_samples:,} to {batches.most_samples:,} samples"),
        ("fill", f"{batches.fill_ratio:.2%}: {batches.num_elements:,} elements and {padding:,} of padding"),
    ]


def _rows_of_reads(forecast: EpochForecast) -> list[tuple[str, str]]:
    reads = forecast.reads
    if reads is None:
        return []
    rows = [
        ("bytes of a step", f"{size_text(reads.bytes_per_step)} on each rank, the mean of {reads.steps_looked_at:,}"),
        ("bytes of a rank", size_text(reads.bytes_per_rank)),
        ("bytes of a node", f"{size_text(reads.bytes_per_node)}, of {counted(forecast.ranks_per_node, 'rank')}"),
    ]
    if reads.requests_per_step is not None:
        ahead = f", {reads.requests_ahead:,.1f} where 16 steps are asked for together"
        rows.append(("requests of a step", f"{reads.requests_per_step:,.1f} to a store{ahead}"))
    return rows
