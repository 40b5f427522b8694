"""Training on texts: examples per second of our loop beside transformers' Trainer, as it comes and grouping by length.

All train an encoder of MiniLM-L6's size with a classifier, from the same weights, on the same tokens, by AdamW under a
cosine, gradients clipped, with dropout, one epoch each in turn. Both pad to the longest text of a batch. Ours makes
batches of texts of about one length, which Trainer does if it is asked to. Tokens are made beforehand. Before anything
is timed both networks must answer the same. Wants `pip install 'automl-kd[perf]'`.

Run it from the project's root: `python -m benchmarks.perf.texts.trainer`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd.data import Dataset, epoch_rows
from automl_kd.methods.scratch import Scratch
from automl_kd.models.text.folder import with_our_names
from automl_kd.models.text.shape import as_text
from automl_kd.spec import teacher_trial
from benchmarks.perf.alternation import Comparison, alternate, markdown
from benchmarks.perf.standing import SEED, Standing, stand
from benchmarks.perf.texts.scene import MINILM, TEACHER, TextScene, parse

OURS, PLAIN, GROUPED = "ours", "Trainer", "Trainer, grouped by length"
TOLERANCE = 1e-4
STRATEGIES = {PLAIN: "random", GROUPED: "group_by_length"}


def published_network(texts: Dataset) -> nn.Module:
    """As transformers builds it, with weights drawn."""
    from transformers import BertConfig, BertForSequenceClassification  # noqa: PLC0415  optional

    torch.manual_seed(SEED)
    return BertForSequenceClassification(  # type: ignore[no-any-return]  # untyped
        BertConfig(
            vocab_size=as_text(texts.shape).vocabulary,
            hidden_size=MINILM.width,
            num_hidden_layers=MINILM.layers,
            num_attention_heads=MINILM.heads,
            intermediate_size=MINILM.inner,
            max_position_embeddings=MINILM.positions,
            num_labels=texts.shape.classes,
        )
    )


def lengths_of(texts: Dataset) -> Tensor:
    lengths = texts.train.lengths
    assert lengths is not None  # images have none
    return lengths


def example(texts: Dataset, row: int) -> dict[str, list[int] | int]:
    length = int(lengths_of(texts)[row])
    tokens = texts.train.inputs[row, :length].tolist()
    return {"input_ids": tokens, "attention_mask": [1] * length, "labels": int(texts.train.labels[row])}


def trainer_epoch(
    network: nn.Module, texts: Dataset, scene: TextScene, folder: Path, strategy: str
) -> Callable[[int], object]:
    """One call trains one epoch, as people use it."""
    from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast, Trainer, TrainingArguments  # noqa: PLC0415

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(scene.tokenizer or folder / "tokenizer.json"), pad_token="[PAD]"
    )
    recipe = scene.recipe
    examples: Any = [example(texts, row) for row in range(len(texts.train))]
    settings = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=recipe.batch_size,
        num_train_epochs=1,
        learning_rate=recipe.lr,
        weight_decay=recipe.weight_decay,
        lr_scheduler_type="cosine",
        max_grad_norm=recipe.clip_norm,
        train_sampling_strategy=strategy,
        dataloader_drop_last=True,
        use_cpu=True,
        seed=SEED,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        log_level="error",
    )
    trainer = Trainer(
        model=network, args=settings, train_dataset=examples, data_collator=DataCollatorWithPadding(tokenizer)
    )
    return lambda _number: trainer.train()


def our_epoch(standing: Standing) -> Callable[[int], object]:
    return lambda number: standing.run.train_epoch(standing.objective, number + 1)


def answers(network: nn.Module, tokens: Tensor, padding: int) -> Tensor:
    network.eval()
    with torch.inference_mode():
        return network(input_ids=tokens, attention_mask=(tokens != padding).long()).logits  # type: ignore[no-any-return]


def waste(texts: Dataset, run: Any) -> float:
    """The share of padding in the batches of our first epoch."""
    lengths = lengths_of(texts)
    rows = epoch_rows(len(texts.train), run.recipe, seed=run.order_seed, epoch=1, lengths=lengths)
    batches = [lengths[one] for one in torch.split(rows, run.recipe.batch_size)]
    return 1 - sum(int(one.sum()) for one in batches) / sum(len(one) * int(one.max()) for one in batches)


def measure(scene: TextScene, folder: Path, rounds: int, standing: dict[str, Standing]) -> None:
    run = standing[OURS].run
    texts, padding = run.dataset, as_text(run.dataset.shape).padding
    networks = {name: published_network(texts) for name in STRATEGIES}
    run.student.load_state_dict(with_our_names(networks[PLAIN].state_dict()))
    tokens = texts.train.inputs[:64, : int(lengths_of(texts)[:64].max())]
    with torch.inference_mode():
        ours = run.student.eval()(tokens)
    far = float((ours - answers(networks[PLAIN], tokens, padding)).abs().max())
    assert far < TOLERANCE, f"the networks differ by {far:.1e}"
    turns = {OURS: our_epoch(standing[OURS])}
    turns |= {name: trainer_epoch(networks[name], texts, scene, folder, how) for name, how in STRATEGIES.items()}
    spent = alternate(turns, rounds=rounds, warm=1)
    print(f"{len(texts.train):,} texts, of {lengths_of(texts).float().mean():.1f} tokens; networks differ by {far:.1e}")
    print(f"padding in our batches: {waste(texts, run):.2%}")
    print("Seconds of an epoch, so that a ratio is how many times as many examples per second ours trains on:")
    print(markdown(spent, [Comparison(PLAIN, OURS), Comparison(GROUPED, OURS)]))
    print("to reach: 1.3 and 1.0")


def main() -> None:
    found, scene = parse(__doc__ or "", rounds=5, texts=640)
    print(f"training on texts: batch {found.batch}, process time, one thread")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = scene.prepare(folder)
        trial = teacher_trial(TEACHER, scene.data(folder))
        spec = scene.spec(folder)
        own = type(spec)(**{**vars(spec), "space": trial.space, "architecture": trial.architecture, "teacher": None})
        stand(own, {OURS: paths}, [(OURS, Scratch())], {}, lambda one: measure(scene, folder, found.rounds, one))


if __name__ == "__main__":
    main()
