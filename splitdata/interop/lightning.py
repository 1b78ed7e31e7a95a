"""What a checkpoint of Lightning's lacks for another number of processes: batches are counted for those of now.

Trainer takes a DistributedLoader as it is, and keeps its state in checkpoints. It also keeps how many batches of the
epoch were done, of which there are others when more or fewer processes share the rest.

    checkpoint of 2 processes: 5 batches done, samples 0 to 39       here: 10 batches done, and go on behind sample 39
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

if TYPE_CHECKING:
    from splitdata.loader.distributed_loader import DistributedLoader

__all__ = ["ElasticEpoch"]


class ElasticEpoch(Callback):
    """Lets `Trainer.fit(ckpt_path=...)` go on in mid-epoch with another number of processes.

        Trainer(callbacks=[ElasticEpoch(loader)]).fit(model, loader, ckpt_path="...")

    Attributes:
        loader: The one loader that trains.
    """

    def __init__(self, loader: DistributedLoader) -> None:
        self.loader = loader

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Count the batches of the epoch anew."""
        loop = checkpoint["loops"]["fit_loop"]
        (state,) = loop["state_dict"]["combined_loader"]
        self.loader.load_state_dict(state)
        progress = loop["epoch_loop.batch_progress"]
        length = len(self.loader)
        # Behind its last batch an epoch is over, and the loader stands at the next.
        done = length if progress["is_last_batch"] else length - self.loader.steps_left
        counts = progress["current"]
        more = done - counts["ready"]
        counts.update({name: count + more for name, count in counts.items()})
