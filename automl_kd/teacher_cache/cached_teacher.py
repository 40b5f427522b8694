"""The only access to a fixed teacher in training: its outputs on each batch are computed, or read from the cache.

All trials of a search have one seed, so they train on the same views in the same batches, and on machines of one kind
(`identity.computed_by`) the teacher's outputs are equal to the last bit. The first trial writes them. Trials side by
side share the work: a trial that finds a batch locked by another computes a later batch in the meantime, which the
other one will find. Nobody waits: outputs that are still missing then are computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.data import Batch, Dataset, epoch_rows, plain_view
from automl_kd.hashing import hash_json
from automl_kd.models.features import FeatureExtractor, Outputs
from automl_kd.models.folding import Folded, fold_teacher
from automl_kd.models.memory_layout import laid_out
from automl_kd.seeds import derive
from automl_kd.spec import Recipe, steps_per_epoch
from automl_kd.teacher_cache.identity import cache_identity, teacher_cache_folder
from automl_kd.teacher_cache.precision import LOGITS, pack, unpack
from automl_kd.teacher_cache.store import Kept, TeacherCacheStore
from automl_kd.teacher_cache.transfer import Landed, Moment, Transfer
from automl_kd.training.batches import run_number, training_batch
from automl_kd.training.trial import TrialContext

WAIT_BATCHES = 3
"""How many later batches a trial computes while another one computes the batch that it needs."""

FOLDING_IMAGES = 4
"""Images on which a folded teacher is tried."""

MOST_BYTES = 2**30
"""Of a table of all training images, which a trial holds in memory."""

EVIDENCE = 16
"""So many images of batches of one size must have come out as in the table before it is trusted for that size.

Where a kernel rounds otherwise in batches of another size, it did so for four images in five or for all (convolutions
of oneDNN 3.12 with AVX-512, AVX2 and SSE4.1), so that so many equal ones are no accident.
"""


class TeacherOutputs(Protocol):
    """Outputs of a fixed teacher on a batch. Logits and maps carry no gradient and belong to the caller."""

    def __call__(self, batch: Batch) -> Outputs: ...


@dataclass(frozen=True, eq=False)
class LiveTeacher:
    """The teacher itself, run for every batch."""

    teacher: FeatureExtractor

    def __call__(self, batch: Batch) -> Outputs:
        with torch.no_grad():
            return self.teacher(batch.inputs)


def teacher_outputs(context: TrialContext, teacher: nn.Module | FeatureExtractor) -> TeacherOutputs:
    """Return the outputs of the context's teacher, as loaded, on batches of the context's run.

    By `paths.teacher_cache` from the cache, where a batch is one of the run's (`Batch.part`); otherwise the teacher
    runs. Maps of texts are not kept, as a slot of the cache has one size for all batches, and they have not. A method
    that changes its teacher, or needs gradients through it, runs it itself.
    """
    quick = fold_teacher(
        teacher if isinstance(teacher, FeatureExtractor) else FeatureExtractor(teacher), few_images(context)
    )
    extractor = quick.teacher
    keep = context.paths.teacher_cache.keep if context.spec.data.repeatable else "off"
    kept = keep != "off" and (not extractor.names or (keep == "features" and context.dataset.train.lengths is None))
    assert context.spec.teacher is not None  # it was loaded
    if not kept and context.spec.teacher.outputs == "exact" and not is_table(context, extractor):
        return LiveTeacher(extractor)
    return CachedTeacher(context, quick, context.spec.teacher.outputs, kept=kept)


def few_images(context: TrialContext) -> Tensor:
    """Training images on which a folded teacher is compared with the teacher itself."""
    split = context.dataset.train
    rows = torch.arange(min(FOLDING_IMAGES, len(split)), device=split.row_device)
    return laid_out(plain_view(context.dataset, split, rows), context.spec.recipe)


class CachedTeacher:
    """`TeacherOutputs` of some precision, cached on disk if `kept`. Nothing is opened before the first batch."""

    def __init__(self, context: TrialContext, quick: Folded, precision: str, *, kept: bool) -> None:
        teacher = quick.teacher
        self.context, self.precision, self.kept = context, precision, kept
        self.live, self.cache_stats = LiveTeacher(teacher), context.cache_stats
        self.dataset, self.recipe, self.seed = context.dataset, context.spec.recipe, context.spec.seed
        self.table_of_texts = is_table(context, teacher)
        self.still = kept and not teacher.names and stand_still(self.dataset, self.recipe)
        self.about = (
            cache_identity(context, teacher.names, precision, still=self.still, folded=not quick.wrong) if kept else {}
        )
        self.number = run_number(self.dataset, self.recipe, self.seed)
        self.steps = steps_per_epoch(len(self.dataset.train), self.recipe.batch_size)
        self.device = self.dataset.train.labels.device
        self.place: tuple[int, ...] = ()
        self.reach = 0
        self.rows: Tensor | None = None
        self.proven, self.lost = False, False
        self.read_seconds = 0.0
        self.agreed: dict[int, int] = {}

    def __call__(self, batch: Batch) -> Outputs:
        return unpack(self.kept_of(batch), self.precision, self.dataset.shape.classes)

    def kept_of(self, batch: Batch) -> Kept:
        if not self.known(batch) or not (self.kept or self.table_of_texts):
            return self.ask(batch)
        self.cache_stats.asked += 1
        if not self.kept:
            return self.rows_of_table(batch)
        if not self.lost:
            try:
                return self.gather(batch) if self.still else self.take(batch)
            except OSError:  # the disk is full or gone: from here on the teacher runs
                self.lost = True
        self.cache_stats.computed += 1
        self.cache_stats.unkept += 1
        return self.ask(batch)

    def take(self, batch: Batch) -> Kept:
        self.turn(batch.epoch, *batch.part[2:])
        if (kept := self.found(batch)) is None:
            return self.compute(batch)
        self.cache_stats.seconds += self.read_seconds
        return kept

    def gather(self, batch: Batch) -> Kept:
        """For images that are the same in every epoch: reads the table of the teacher's outputs on each image.

        An image's last bits may depend on the size of its batch, and a teacher may look at neighbours. So the table
        is compared with the teacher first, for each size of batch, and not used for a size for which they differ.
        Of texts, which a batch fills up to one length, the table is what the teacher says, with a cache or without.
        """
        if self.table_of_texts:
            self.cache_stats.seconds += self.read_seconds
            return self.rows_of_table(batch)
        count, outputs = len(batch.labels), None
        agreed = self.agreed.get(count, 0)
        if self.table and agreed >= 0:
            outputs = self.rows_of_table(batch)
            if agreed >= EVIDENCE:
                self.cache_stats.seconds += self.read_seconds
                return outputs
        self.cache_stats.computed += 1
        kept = self.ask(batch)
        if outputs is not None:
            equal = all(torch.equal(outputs[name], value) for name, value in kept.items())
            self.agreed[count] = agreed + count if equal else -1
        return kept

    def rows_of_table(self, batch: Batch) -> Kept:
        index, rows = self.by_index
        at = rows[torch.searchsorted(index, batch.index)]
        return {name: value[at] for name, value in self.table.items()}

    @cached_property
    def table(self) -> Kept:
        """The teacher's outputs on all training images, in their order; empty if it draws random numbers."""
        if self.kept:
            self.turn(0)
        else:
            self.place, self.rows = (0,), None
        batches = map(self.batch, range(self.steps))
        if self.kept:
            outputs = [self.found(one) or self.compute(one, ahead=True) for one in batches if self.kept]
            if not self.kept:
                return {}
            self.count(self.transfer.land())
            self.read(0, len(outputs[0][LOGITS]))  # for the seconds of a pass
        else:
            outputs = list(map(self.ask, batches))
            self.cache_stats.computed += self.steps
        new = len(self.dataset.train) - (self.steps - 1) * self.recipe.batch_size  # of the last batch
        outputs[-1] = {name: value[-new:] for name, value in outputs[-1].items()}
        joined = {name: torch.cat([one[name] for one in outputs]) for name in outputs[0]}
        if self.dataset.train.lengths is None:
            return joined
        assert self.rows is not None  # the batches were made of them
        places = self.rows.argsort().to(self.device)
        return {name: value[places] for name, value in joined.items()}

    @cached_property
    def by_index(self) -> tuple[Tensor, Tensor]:
        """The training images' numbers in their set, sorted, and the row of each."""
        index, rows = self.dataset.train.index.sort()
        return index, rows

    def known(self, batch: Batch) -> bool:
        """Whether a batch is one of the run's: whole, or a numbered piece of one."""
        if batch.part[:1] != (self.number,) or len(batch.part) > 2:
            return batch.part[:1] == (self.number,)
        size = self.recipe.batch_size
        whole = min(size, len(self.dataset.train) - batch.part[1] * size)
        return len(batch.labels) == whole and distributed.size() == 1

    def ask(self, batch: Batch) -> Kept:
        return pack(self.live(batch), self.precision)

    @cached_property
    def store(self) -> TeacherCacheStore:
        name = hash_json(self.about)
        return TeacherCacheStore(
            teacher_cache_folder(self.context) / name,
            self.context.paths.teachers,
            self.about,
            images=min(self.recipe.batch_size, len(self.dataset.train)),
            steps=self.steps,
            limit=self.context.paths.teacher_cache.limit_gb * 1e9,
        )

    @cached_property
    def transfer(self) -> Transfer:
        return Transfer(self.store)

    def turn(self, *place: int) -> None:
        """Go to an epoch and, among pieces of batches, to those with these numbers."""
        if place != self.place:
            self.count(self.transfer.land())
            self.store.turn(place[0], place[1:])
            self.place, self.reach, self.rows = place, 0, None

    def found(self, batch: Batch) -> Kept | None:
        """Read a batch from the cache, with a short wait while another process computes it."""
        number, count = batch.part[1], len(batch.labels)
        for _ in range(WAIT_BATCHES):
            if (kept := self.read(number, count)) is not None:
                return kept
            if self.store.claim(number):
                return self.read(number, count)  # it may have been written just before
            if len(batch.part) > 2 or self.store.full or not self.work_ahead(number):
                return None
        return self.read(number, count)

    def read(self, number: int, count: int) -> Kept | None:
        found = self.store.read(number, count, pinned=self.device.type == "cuda")
        if found is None:
            return None
        self.read_seconds = found[1]
        return {name: value.to(self.device, non_blocking=True) for name, value in found[0].items()}

    def work_ahead(self, number: int) -> bool:
        """Compute the next batch of the epoch that nobody has or is computing; False if there is none."""
        for ahead in range(max(self.reach, number + 1), self.recipe.steps_in(self.place[0], self.steps)):
            self.reach = ahead + 1
            if not self.store.claim(ahead):
                continue
            batch = self.batch(ahead)
            if self.store.read(ahead, len(batch.labels)) is None:
                self.compute(batch, ahead=True)
                return True
            self.store.release(ahead)
        return False

    def batch(self, number: int) -> Batch:
        """A batch of this epoch, as the loop makes it.

        Epoch 0 has the images in their order, or texts by length, and a last batch as large as the others, which
        begins earlier.
        """
        if self.rows is None:
            epoch, count = self.place[0], len(self.dataset.train)
            order_seed = derive(self.seed, "order")
            split = self.dataset.train
            if epoch:
                rows = epoch_rows(count, self.recipe, seed=order_seed, epoch=epoch, lengths=split.lengths)
            else:
                rows = split.in_order(torch.arange(count))
            self.rows = rows.to(split.row_device)
        size, part, seed = self.recipe.batch_size, (self.number, number), derive(self.seed, "view")
        start = number * size if self.place[0] else min(number * size, max(len(self.rows) - size, 0))
        rows = self.rows[start : start + size]
        return training_batch(self.dataset, self.recipe, rows, self.place[0], part, seed=seed)

    def compute(self, batch: Batch, *, ahead: bool = False) -> Kept:
        """Run the teacher, and write its outputs to the cache. `ahead`: before the trial itself needs it."""
        begun, before = Moment(self.device), None if self.proven else generators(self.device)
        kept = self.ask(batch)
        self.cache_stats.computed += 1
        if before is not None and not all(map(torch.equal, before, generators(self.device))):
            # A teacher that draws random numbers in evaluation mode: a trial that skips it would continue with other
            # numbers.
            self.kept = False
            self.store.close()
            if ahead:
                put_back(before, self.device)
            return kept
        self.proven = True
        self.count(self.transfer.send(batch.part[1], kept, begun, self.device, ahead=ahead))
        if batch.part[1] in {self.steps - 1, self.recipe.steps_in(batch.epoch, self.steps) - 1}:  # nothing may follow
            self.count(self.transfer.land())
        return kept

    def count(self, landed: list[Landed]) -> None:
        for one in landed:
            self.cache_stats.unkept += not one.written
            self.cache_stats.seconds -= one.seconds if one.ahead else 0.0


def put_back(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def is_table(context: TrialContext, teacher: FeatureExtractor) -> bool:
    """Whether the teacher's outputs are those of a table of texts, in which each stands once."""
    texts = context.dataset.train.lengths is not None
    return texts and not teacher.names and stand_still(context.dataset, context.spec.recipe)


def stand_still(dataset: Dataset, recipe: Recipe) -> bool:
    """Whether images are the same in every epoch, and the outputs on all of them fit into memory."""
    augment = dataset.augment if recipe.augment == "auto" else recipe.augment
    count = len(dataset.train)
    fits = 4 * count * dataset.shape.classes <= MOST_BYTES and count % recipe.batch_size != 1
    return augment == "none" and not recipe.views and dataset.transform is None and fits


def generators(device: torch.device) -> list[Tensor]:
    """The states of the generators from which a network on the device may draw."""
    own = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *own]
