"""A training run of the reference: record, checkpoint and resuming."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.files import write_bytes_atomically
from swatcost.common.record import Header, Record, Step, Test, Writer, cut, read_record
from swatcost.estimate import Estimate, estimate, plan_of
from swatcost.reference.conversion import Converted, convert
from swatcost.reference.data import Samples
from swatcost.reference.interruptions import StoppedError, interruptions
from swatcost.reference.layer_records import layer_records, momentum_shares, overall_sparsity
from swatcost.reference.run_checkpoint import read_state
from swatcost.reference.run_data import matched
from swatcost.reference.run_settings import Settings, settings_of
from swatcost.reference.runnable import Runnable
from swatcost.reference.saved_bytes import saved_bytes
from swatcost.reference.scores import scores
from swatcost.reference.sparsifier import now
from swatcost.version import __version__

_BETWEEN_CHECKPOINTS = 30.0  # seconds
_TEST_BATCH = 256  # samples


@dataclass(frozen=True)
class Progress:
    """The progress of a run: steps done, loss and accuracy of the last batch, and the last measured sparsities [-]."""

    done: int
    loss: float
    accuracy: float
    weight_sparsity: float
    act_sparsity: float


Report = Callable[[Progress], object]


def run(
    settings: Settings,
    output: Path,
    report: Report = lambda progress: None,
    begin: Callable[[], object] = lambda: None,
) -> Record:
    """Trains, and writes the record to output (.jsonl) and the last checkpoint beside it (.pt).

    begin is called before the first step, report after each.

    Raises SwatcostError for settings that cannot be run, and StoppedError if interrupted: both files are complete then,
    and `resume` continues.
    """
    training = _Training.prepared(settings, output)
    if training.checkpoint.exists() and not output.exists():
        raise SwatcostError(f"{training.checkpoint} exists already, from another run: name another --output")
    with Writer(output, training.header()) as record:
        begin()
        training.train(record, report)
    return read_record(output)


def resume(output: Path, report: Report = lambda progress: None, begin: Callable[[], object] = lambda: None) -> Record:
    """Resumes an interrupted run, with bitwise the same results as without the interruption.

    The checkpoint is data, nothing in it is executed. Raises SwatcostError if there is nothing to resume.
    """
    header = read_record(output).header
    settings = settings_of(header, output)
    training = _Training.prepared(settings, output)
    if training.header().weights != header.weights:
        raise SwatcostError(f"{output} is a run of a network whose layers differ from those of {settings.model} now")
    with Writer(output):  # locks the record against another run
        if training.checkpoint.exists():
            training.load()
        if training.done > len(read_record(output).steps):
            raise SwatcostError(f"{training.checkpoint} is from another run, or ahead of {output}: cannot resume")
        if training.done == settings.steps:
            raise SwatcostError(f"{output} is complete: all {settings.steps} steps are done")
        cut(output, training.done)
    with Writer(output) as record:
        begin()
        training.train(record, report)
    return read_record(output)


@dataclass
class _Training:
    settings: Settings
    output: Path
    built: Runnable
    data: Samples
    found: Estimate
    converted: Converted
    optimizer: torch.optim.SGD
    done: int = 0
    sparsity: tuple[float, float] = (0.0, 0.0)
    random_state: Tensor = field(default_factory=torch.get_rng_state)

    @staticmethod
    def prepared(settings: Settings, output: Path) -> _Training:
        built, data = matched(settings)
        found = estimate(
            built.network,
            weights=settings.weights,
            acts=settings.acts,
            grads=settings.grads,
            period=settings.period,
            method=settings.method,
            distribution="uniform" if settings.follows_momentum else settings.distribution,
            source=settings.source,
            batch_size=settings.batch_size,
            first_layer=settings.first_layer,
            last_layer=settings.last_layer,
            keep_dense=settings.keep_dense,
            dense_budget=settings.dense_budget,
            device=settings.device,
        )
        built.module.to(settings.on)
        converted = convert(
            built.module,
            found,
            over=settings.over,
            selection=settings.selection,
            one_sample=settings.one_sample,
            ahead=settings.ahead,
            seed=settings.seed,
            kernels=settings.kernels,
        )
        optimizer = torch.optim.SGD(
            [parameter for parameter in built.module.parameters() if parameter.requires_grad],
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        torch.manual_seed(settings.seed)
        return _Training(settings, output, built, data, found, converted, optimizer)

    @property
    def checkpoint(self) -> Path:
        return self.output.with_suffix(".pt")

    @property
    def epoch_steps(self) -> int:
        return len(self.data.images) // self.settings.batch_size

    def header(self) -> Header:
        settings = {name: value for name, value in asdict(self.settings).items() if value is not None}
        return Header(
            version=__version__,
            settings=settings,
            classes=self.data.classes,
            input_shape=self.built.input_shape,
            data=self.data.title,
            steps=self.settings.steps,
            weights=tuple(self.converted.layers),
        )

    def train(self, record: Writer, report: Report) -> None:
        """Trains to the end; if interrupted, the checkpoint matches the last step in the record."""
        torch.set_rng_state(self.random_state)
        batches = self.data.batches(self.settings.batch_size, self.settings.seed, start=self.done)
        saved_at = time.monotonic()
        with interruptions() as interrupted:
            while self.done < self.settings.steps:
                images, labels = (each.to(self.settings.on) for each in next(batches))
                step = self._step(images, labels)
                record.append(step)
                self.done += 1
                if self.done % self.epoch_steps == 0 or self.done == self.settings.steps:
                    record.append(Test(steps=self.done, accuracy=self._tested()))
                    self._redistribute()
                report(Progress(self.done, step.loss, step.accuracy, *self.sparsity))
                last = self.done == self.settings.steps or interrupted.is_set()
                if last or time.monotonic() - saved_at > _BETWEEN_CHECKPOINTS:
                    self.save()
                    saved_at = time.monotonic()
                if interrupted.is_set() and self.done < self.settings.steps:
                    raise StoppedError(f"after {self.done} of {self.settings.steps} steps")

    def _step(self, images: Tensor, labels: Tensor) -> Step:
        """One iteration; in measured ones all layers are counted, which takes extra time."""
        every = self.settings.measures_every
        measured = self.done % every == 0 or self.done == self.settings.steps - 1
        thirds = min(2, 3 * self.done // self.settings.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate / 10**thirds
        began = now(self.settings.on)
        self.converted.topk_seconds()
        self.optimizer.zero_grad()
        kept = None
        outputs: list[Tensor] = []
        with contextlib.ExitStack() as measuring:
            counts = measuring.enter_context(self.converted.counting()) if measured else {}
            if measured:
                kept = saved_bytes(self.built.module, lambda: _appended(outputs, self._loss(images, labels)))
            else:
                _appended(outputs, self._loss(images, labels))
            output, loss = outputs
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        seconds = now(self.settings.on) - began
        topk = self.converted.topk_seconds()
        if not torch.isfinite(loss):
            raise SwatcostError(
                f"the loss is {float(loss.detach())} after {self.done + 1} steps: a smaller --lr than "
                f"{self.settings.learning_rate:g} may help; the record is kept"
            )
        layers = layer_records(self.converted, counts, topk, self._shares()) if measured else ()
        if layers:
            self.sparsity = overall_sparsity(counts)
        return Step(
            step=self.done,
            loss=float(loss.detach()),
            accuracy=float((output.argmax(1) == labels).float().mean()),
            seconds=seconds,
            topk_seconds=sum(topk.values()),
            saved_bytes=kept,
            layers=layers,
        )

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        output = scores(self.built.module, images)
        return output.detach(), functional.cross_entropy(output, labels)

    def _shares(self) -> dict[str, float]:
        return momentum_shares(self.converted, self.optimizer)

    def _redistribute(self) -> None:
        """SWAT-M: the next Top-K follows the momentum at the end of the epoch."""
        shares = self._shares() if self.settings.follows_momentum else {}
        if shares:
            source = {name: {"share": share} for name, share in shares.items()}
            setting = self.found.setting.but(distribution="momentum", source=source)
            self.converted.follow(plan_of(self.built.network, setting))

    def _tested(self) -> float:
        """The accuracy on held-out samples, with the weights sparse if the method's forward pass is."""
        module, right = self.built.module, 0
        module.eval()
        with torch.no_grad():
            for start in range(0, len(self.data.test_images), _TEST_BATCH):
                rows = slice(start, start + _TEST_BATCH)
                found = scores(module, self.data.test_images[rows].to(self.settings.on)).argmax(1).cpu()
                right += int((found == self.data.test_labels[rows]).sum())
        module.train()
        return right / max(1, len(self.data.test_images))

    def save(self) -> None:
        """Writes the checkpoint, completely or not at all."""
        content = io.BytesIO()
        state = {
            "step": self.done,
            "model": self.built.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "swat": self.converted.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.settings.on == "cuda" else None,
            "sparsity": list(self.sparsity),
        }
        torch.save(state, content)
        write_bytes_atomically(self.checkpoint, content.getvalue())

    def load(self) -> None:
        """Restores the state of the checkpoint."""
        try:
            state = read_state(self.checkpoint, self.built.module, self.optimizer, self.settings.steps)
            self.built.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.converted.load_state_dict(state["swat"])
            self.done, self.random_state = state["step"], state["random"].cpu()
            torch.set_rng_state(self.random_state)
            self.sparsity = (state["sparsity"][0], state["sparsity"][1])
            if state["random_cuda"] is not None:
                torch.cuda.set_rng_state(state["random_cuda"].cpu())
        except SwatcostError:
            raise
        except Exception as error:  # a damaged file can raise anything
            raise SwatcostError(
                f"{self.checkpoint} is not a usable checkpoint of this run: {first_line(error)}"
            ) from None


def _appended(outputs: list[Tensor], found: tuple[Tensor, Tensor]) -> Tensor:
    """Appends the results of a forward pass; returns the loss, which keeps its graph alive."""
    outputs.extend(found)
    return found[1]
