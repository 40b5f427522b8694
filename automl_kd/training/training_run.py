"""One trial in training: its network, its optimizer, its epochs and how far it has come.

Everything random in an epoch follows from (seed, epoch, image), so a run continued from a checkpoint computes the same
numbers as an unbroken one, whenever it was cut: to the last bit where it goes on with the same build of torch, as many
threads and a processor or GPU of the same kind, and up to rounding elsewhere. In a process group each has its part
of every batch, and all come to the same weights; what layers draw, such as dropout, is each process's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.data import Batch, Dataset, epoch_rows, epoch_windows, follow_epochs
from automl_kd.memory import keep_freed_memory
from automl_kd.models.norm_counts import count_on_processor
from automl_kd.models.sync_norm import share_norms
from automl_kd.seeds import derive
from automl_kd.spec import Recipe, steps_per_epoch
from automl_kd.training import checkpoint
from automl_kd.training.average import WeightAverage
from automl_kd.training.batches import run_number, training_batch
from automl_kd.training.checkpoint import Checkpoints
from automl_kd.training.divergence import Sound, refuse_loss
from automl_kd.training.epoch_progress import EpochProgress, own_or_mean
from automl_kd.training.evaluate import autocast
from automl_kd.training.gradients import GroupGradients
from automl_kd.training.optimizers import learning_rate, make_optimizer, resume, set_decay
from automl_kd.training.student_graph import RecordedStudent

TrainingObjective = Callable[[Batch], Mapping[str, Tensor]]
"""From a batch to weighted loss terms; their sum is minimised."""


@dataclass(frozen=True, eq=False)
class OwnStep:
    """In place of an objective: a method's own training step, which `take` carries out.

    It gets the run, the batch and the step's number, counted from 0 over the run, leaves the run's weights after that
    step, and returns the loss, detached. Whatever else it must remember is in the run's loss modules after each step,
    as a checkpoint may follow. In a process group it averages what it computes from its part of the batch: the weights
    that it leaves must be the same everywhere.
    """

    take: Callable[[TrainingRun, Batch, int], Tensor]


AVERAGE = "average"
"""The key of the averaged weights in a checkpoint."""

CHECK_STEPS = 100
"""How many steps may pass before a loss that is not finite is noticed: each look waits for the device."""

PROGRESS = "epoch_progress"
"""Under this key a checkpoint inside an epoch holds how far that has come."""


class TrainingRun:
    """One trial in training: the network, its optimizer and how far it has come.

    `loss_modules`: what is trained with the student and saved in checkpoints, but is no part of it. `cache_stats`:
    returns counts of the teacher cache since the last call. `cuda_graphs`: launch the student's passes as one record,
    on a GPU, where an objective is minimised by whole batches of one process. `history` holds whole epochs, `progress`
    the one that has begun.
    """

    def __init__(
        self,
        student: nn.Module,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        loss_modules: nn.Module | None = None,
        cache_stats: Callable[[], Mapping[str, float]] = dict,
        cuda_graphs: bool = False,
    ) -> None:
        keep_freed_memory()
        self.student, self.dataset, self.recipe, self.seed = student, dataset, recipe, seed
        self.loss_modules = nn.Module() if loss_modules is None else loss_modules
        self.parameters = [*student.parameters(), *self.loss_modules.parameters()]
        for network in (student, self.loss_modules):
            share_norms(network, recipe.sync_bn_groups)
            distributed.broadcast_from_main([*network.parameters(), *network.buffers()])
            count_on_processor(network)
        self.optimizer = make_optimizer(self.parameters, recipe)
        self.average = WeightAverage(student, recipe.ema, recipe.ema_steps) if recipe.ema else None
        self.gradients = GroupGradients(self.parameters)
        self.sound = Sound(student=student, loss_modules=self.loss_modules)
        self.history: list[dict[str, float]] = []
        self.progress: EpochProgress | None = None
        self.cache_stats = cache_stats
        self.best: dict[str, Tensor] = {}
        self.device = dataset.train.labels.device
        self.order_seed, self.view_seed = derive(seed, "order"), derive(seed, "view")
        self.steps = steps_per_epoch(len(dataset.train), recipe.batch_size)
        self.number = run_number(dataset, recipe, seed)
        able = cuda_graphs and self.device.type == "cuda" and recipe.grad_accumulation == 1 and distributed.size() == 1
        self.graph = RecordedStudent(student, recipe) if able else None
        follow_epochs(dataset, recipe, self.steps, order_seed=self.order_seed, view_seed=self.view_seed)
        self.drawn: tuple[int, Tensor | None] = (0, None)

    @property
    def seconds(self) -> float:
        return self.history[-1]["seconds"] if self.history else 0.0

    def state(self) -> checkpoint.State:
        """In a process group all must call it: the parts of all processes are gathered.

        After the last epoch without what only a further step would need, most of its size.
        """
        state = {
            "student": self.student.state_dict(),
            checkpoint.LOSS_MODULES: self.loss_modules.state_dict(),
            "history": self.history,
        }
        if len(self.history) == self.recipe.epochs:
            return state
        state |= {checkpoint.OPTIMIZER: self.optimizer.state_dict(), "best": self.best}
        if self.average:
            state[AVERAGE] = self.average.state()
        if self.progress is None:
            return state
        self.progress.count(self.cache_stats())
        return {**state, PROGRESS: self.progress.state(self.buffers())}

    def buffers(self) -> dict[str, Tensor]:
        """Of the student and the loss modules, by name."""
        return {**dict(self.student.named_buffers("student")), **dict(self.loss_modules.named_buffers("loss_modules"))}

    def restore(self, state: checkpoint.State) -> None:
        self.student.load_state_dict(state["student"])
        self.loss_modules.load_state_dict(state.get(checkpoint.LOSS_MODULES, {}))  # absent before there were any
        self.history, self.progress = state["history"], None
        if checkpoint.OPTIMIZER not in state:
            return  # it has ended
        resume(self.optimizer, state[checkpoint.OPTIMIZER])
        set_decay(self.optimizer, self.recipe.weight_decay)  # a schedule may have changed it since it was saved
        if self.average:
            self.average.restore(state[AVERAGE])
        self.best = state["best"]
        if PROGRESS in state:
            self.progress, buffers = EpochProgress.of(state[PROGRESS], self.device), self.buffers()
            for name, values in state[PROGRESS]["buffers"].items():
                buffers[name].copy_(own_or_mean(values))

    def train_epoch(
        self, objective: TrainingObjective | OwnStep, epoch: int, checkpoints: Checkpoints | None = None
    ) -> float:
        """One pass over the training images, or the rest of one, under `objective`; see `pass_over`."""
        self.student.train()
        self.loss_modules.train()
        recorded = self.graph.in_use() if self.graph and not isinstance(objective, OwnStep) else nullcontext()
        with recorded:
            return self.pass_over(epoch, lambda batch, step: self.take(objective, batch, step), checkpoints)

    def pass_over(
        self,
        epoch: int,
        take: Callable[[Batch, int], Tensor],
        checkpoints: Checkpoints | None = None,
        refuse: Callable[[Tensor, int], None] = refuse_loss,
    ) -> float:
        """Each step of the epoch that is still to be taken, the last epoch as far as the recipe goes; the mean loss.

        `take`: gets a batch and the step's number, counted from 0 over the run, and returns the loss, detached.
        `refuse`: gets the sum of losses, seldom, and raises `DivergedError` if it is not finite; so do weights that are
        not when a checkpoint is due.
        """
        recipe, split, steps = self.recipe, self.dataset.train, self.recipe.steps_in(epoch, self.steps)
        rows = epoch_rows(len(split), recipe, seed=self.order_seed, epoch=epoch, lengths=split.lengths)
        rows = rows.to(split.row_device)
        progress = self.progress if self.progress and self.progress.step < steps else None
        self.progress = progress = progress or EpochProgress(torch.zeros((), device=self.device), time.monotonic())
        seed_layers(self.seed, epoch)
        if progress.draws is not None:
            progress.draws.restore()
        for step in range(progress.step, steps):
            chosen = rows[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            with distributed.shard_rows(chosen, recipe.grad_accumulation) as own:
                batch = self.batch(own, epoch, step)
                batch = replace(batch, inputs=self.dataset.inputs_among(batch.inputs, split, chosen))
                progress.loss += take(batch, (epoch - 1) * self.steps + step)
            if self.average:
                self.average.renew((epoch - 1) * self.steps + step)
            progress.step += 1
            due = checkpoints is not None and progress.step < steps and checkpoints.due_after_step()
            if due or progress.step % CHECK_STEPS == 0:
                refuse(distributed.mean_over_group(progress.loss), epoch)
            if checkpoints is not None and due:
                self.sound.refuse(epoch)
                checkpoints.save()
        total = distributed.mean_over_group(progress.loss)
        refuse(total, epoch)
        return total.item() / steps

    def end_epoch(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Append to the history what was measured, the seconds that the run took and the counts of the cache."""
        assert self.progress is not None
        self.progress.count(self.cache_stats())
        seconds = self.seconds + self.progress.seconds
        self.history.append({**measured, "seconds": seconds, **self.progress.counts})
        self.progress = None
        return self.history[-1]

    def batch(self, rows: Tensor, epoch: int, *number: int) -> Batch:
        """The images at `rows`; `number`: which batch of the epoch they are, or are this process's part of."""
        own = (distributed.size(), distributed.shard_index()) if distributed.shard_count() > 1 else ()
        part = (self.number, *number, *own) if number else ()
        windows, seed = self.windows(epoch), self.view_seed
        batch = training_batch(self.dataset, self.recipe, rows, epoch, part, seed=seed, windows=windows)
        return replace(batch, parts=distributed.shard_count())

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the student has the weights that are measured and kept."""
        return self.average.in_place() if self.average else nullcontext()

    def windows(self, epoch: int) -> Tensor | None:
        """Of all training images in an epoch, drawn when its first batch is made."""
        if self.recipe.repeats > 1 or self.dataset.transform is not None:
            return None
        if self.drawn[0] != epoch:
            dataset, augment = self.dataset, self.recipe.augment
            drawn = epoch_windows(dataset, dataset.train, seed=self.view_seed, epoch=epoch, augment=augment)
            self.drawn = (epoch, drawn)
        return self.drawn[1]

    def take(self, objective: TrainingObjective | OwnStep, batch: Batch, step: int) -> Tensor:
        if isinstance(objective, OwnStep):
            return objective.take(self, batch, step)
        return self.train_step(objective, batch, step)

    def set_rate(self, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, step, self.steps)

    def train_step(self, objective: TrainingObjective, batch: Batch, step: int) -> Tensor:
        self.set_rate(step)
        loss = self.differentiate(lambda piece: sum_terms(objective(piece)), batch)
        self.advance()
        return loss

    def differentiate(self, loss_of: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """Leave the batch loss's gradients, averaged over the process group; return this process's loss, detached."""
        self.optimizer.zero_grad(set_to_none=True)
        pieces, losses = batch.cut(self.recipe.grad_accumulation), []
        for place, piece in enumerate(pieces, start=1):
            with autocast(self.device, self.recipe):
                loss = loss_of(piece)
            loss = loss * (len(piece) / len(batch)) if len(pieces) > 1 else loss
            self.gradients.backward(loss, last=place == len(pieces))
            losses.append(loss.detach())
        return sum(losses[1:], start=losses[0])

    def descend(self, loss: Tensor) -> Tensor:
        """One step down the gradients of `loss`, averaged over the process group; the loss, detached."""
        self.optimizer.zero_grad(set_to_none=True)
        self.gradients.backward(loss)
        self.advance()
        return loss.detach()

    def advance(self) -> None:
        """The optimizer's step along the gradients that there are, which are clipped before."""
        if self.recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimizer.step()


def sum_terms(terms: Mapping[str, Tensor]) -> Tensor:
    values = [term.float() for term in terms.values()]
    # Two numbers have one sum; that of more depends on the order in which a kernel adds them up.
    return sum(values[1:], start=values[0]) if len(values) in {1, 2} else torch.stack(values).sum()


def seed_layers(seed: int, epoch: int) -> None:
    """Seed what layers draw in `epoch`, such as dropout; each process of a process group draws its own."""
    own = ("rank", distributed.rank()) if distributed.rank() else ()
    torch.manual_seed(derive(seed, "epoch", epoch, *own))
