"""``transformers.Trainer`` for the stages: parameter groups, batches, checkpoints, validation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import Trainer

from deft_llm.deft.tuning.callbacks import OrderOfEpoch
from deft_llm.deft.tuning.datasets import LengthGroupedBatches
from deft_llm.deft.tuning.model import evaluating, module_of
from deft_llm.deft.tuning.validation import LOSS, Part, Scores, batches
from deft_llm.errors import UserError
from deft_llm.machine import whole
from deft_llm.training.checkpoints import saving, seal
from deft_llm.training.muon import MuonAdamW, matrices_of
from deft_llm.training.run_folder import is_better, keep_best


class DeftTrainer(Trainer):
    """Trainer with length-grouped batches, a learning rate per module, and small checkpoints.

    Args:
        rates: Module of the model -> its own peak rate; others use the stage's.
        muon: Train the matrices of linear layers with Muon, the rest with AdamW.
        modules: Modules that checkpoints hold, the rest being unchanged; None for all.
        held_out: Rows to validate on; None for no validation.
        best: Folder for the model of the lowest validation loss; None keeps none.
        write: Writes the model into a folder, for ``best``.
        **kwargs: Trainer's arguments.
    """

    optimizer: Any
    control: Any

    def __init__(
        self,
        *,
        rates: dict[str, float],
        modules: tuple[str, ...] | None,
        muon: bool = False,
        held_out: Part | None = None,
        best: Path | None = None,
        write: Callable[[Path], None] | None = None,
        **kwargs: Any,
    ) -> None:
        self.rates, self.modules, self.muon = rates, modules, muon
        self.held_out, self.best, self.write = held_out, best, write
        super().__init__(**kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data: Any = train_dataset or self.train_dataset
        args = self.args
        order = LengthGroupedBatches(data.lengths(), args.train_batch_size, args.data_seed)
        self.add_callback(OrderOfEpoch(order))
        return order

    def create_optimizer(self, model: Any = None) -> Any:
        """Create the optimizer with one parameter group per kind, rate and weight decay.

        Raises:
            UserError: If Muon is configured but no process holds complete matrices.
        """
        if not self.rates and not self.muon:
            return super().create_optimizer(model)
        if self.muon and (self.is_deepspeed_enabled or self.is_fsdp_enabled):
            raise UserError(
                "optimizer: muon needs whole matrices, DeepSpeed and FSDP cut them; "
                "say optimizer: adamw"
            )
        if self.optimizer is None:
            model = model or self.model
            decayed = set(self.get_decay_parameter_names(model))
            bare = model.get_base_model() if isinstance(model, PeftModel) else model
            # Muon is meant for hidden layers: output layers stay with AdamW. So do the experts'
            # convolutions, unlike in training/loop.py: the embedded checkpoint was trained so.
            readers = (bare.get_output_embeddings(), *bare.heads.modules())
            matrices = matrices_of(bare, readers) if self.muon else set()
            groups: dict[tuple[bool, float, float], list[Tensor]] = defaultdict(list)
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    rate = self.rates.get(module_of(name), self.args.learning_rate)
                    decay = self.args.weight_decay if name in decayed else 0.0
                    groups[id(parameter) in matrices, rate, decay].append(parameter)
            # Index False: AdamW's groups, True: Muon's.
            rows: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
            for (is_matrix, rate, decay), values in groups.items():
                rows[is_matrix].append({"params": values, "lr": rate, "weight_decay": decay})
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            if self.muon:
                # Every group has its own lr; MuonAdamW passes the other options to AdamW.
                options.pop("lr")
                self.optimizer = MuonAdamW(rows[True], rows[False], **options)
            else:
                self.optimizer = kind(rows[False], **options)
        return self.optimizer

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Loss and scores on the held-out rows; logged, and the best model is kept."""
        assert self.held_out is not None
        device = self.args.device
        # No draw here may change what is trained, or a resumed run would not be bit-equal.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            scores = self._scores(self.held_out)
            self.log(scores)
            if self.best is not None and self.write is not None:
                self._keep_best(scores[LOSS], self.best, self.write)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, scores
        )
        return scores

    @torch.no_grad()
    def _scores(self, part: Part) -> dict[str, float]:
        model: Any = self.model
        state = PartialState()
        scores = Scores(len(model.config.emotions), state.device)
        size, rank, world = self.args.train_batch_size, state.process_index, state.num_processes
        with evaluating(model), self.compute_loss_context_manager():
            for batch, weight in batches(part, self.data_collator, size, rank, world):
                inputs = self._prepare_inputs(batch)
                scores.add(model(**inputs), inputs, weight)
        if world > 1:
            torch.distributed.all_reduce(scores.sums)
        return scores.result()

    def _keep_best(self, loss: float, best: Path, write: Callable[[Path], None]) -> None:
        score = {"step": self.state.global_step, LOSS: loss}
        # The first process decides: the others may not see its folder.
        decision = [is_better(best, score, higher=False)]
        broadcast_object_list(decision)
        if decision[0]:
            # All processes take part: under ZeRO-3 the weights are gathered.
            with whole(self.model):
                if self.accelerator.is_main_process:
                    keep_best(best, score, write)
            self.accelerator.wait_for_everyone()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        with saving(folder):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                seal(folder)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.modules is None:
            super()._save(output_dir, state_dict)
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        state = self.model.state_dict() if state_dict is None else state_dict
        save_file(only(state, self.modules), folder / "model.safetensors", {"format": "pt"})

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # If the run was stopped after its last step, Trainer would take one more on resuming.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        if self.modules is None:  # otherwise the checkpoint lacks weights on purpose
            super()._issue_warnings_after_load(load_result)


def only(state: dict[str, Tensor], modules: tuple[str, ...]) -> dict[str, Tensor]:
    """The weights of some modules."""
    # safetensors refuses tensors that are not contiguous.
    return {name: x.contiguous() for name, x in state.items() if module_of(name) in modules}
