"""``deft-llm instructions``, also ``instruction_data/*.py``: Uni-MER's instruction data."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from deft_llm.cli.console import check_output, log_progress, stoppable
from deft_llm.errors import UserError

if TYPE_CHECKING:
    from deft_llm.data.clip_shards import LeftOut, Share
    from deft_llm.data.simulated import SimulatedData
    from deft_llm.unimer.answer_writer import Templates
    from deft_llm.unimer.assemble import Assembly
    from deft_llm.unimer.folds import Fold

app = typer.Typer(no_args_is_help=True, help="Instruction data: build, validate, audit.")

Folder = Annotated[Path, typer.Argument(help="data folder")]
Workers = Annotated[int, typer.Option(help="processes", min=1)]
FirstIdentity = Annotated[int, typer.Option(help="number of the first simulated face")]


class _ManyListings(TyperCommand):
    """Reads ``--corpora a.jsonl b.jsonl`` as ``--corpora a.jsonl --corpora b.jsonl``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # click options take one value each, so repeat the option before every value.
        spread: list[str] = []
        listing = False
        for arg in args:
            if arg.startswith("-"):
                listing = arg == "--corpora"
                if listing:
                    continue
            elif listing:
                spread.append("--corpora")
            spread.append(arg)
        return super().parse_args(ctx, spread)


@app.command(cls=_ManyListings)
def build(
    out: Annotated[Path, typer.Argument(help="data folder to write")],
    corpora: Annotated[
        list[Path] | None, typer.Option(help="prepared listings, one or several")
    ] = None,
    simulated: Annotated[int, typer.Option(help="number of simulated clips")] = 0,
    identities: Annotated[int, typer.Option(help="simulated faces")] = 300,
    first_identity: FirstIdentity = 1_000,
    head: Annotated[str, typer.Option(help="head model of the simulated faces")] = "own",
    head_path: Annotated[
        Path | None, typer.Option(help="its file or folder, where it needs one")
    ] = None,
    balanced_share: Annotated[float, typer.Option(help="with an AU drawn evenly")] = 0.0,
    neutral_share: Annotated[float, typer.Option(help="without any AU")] = 0.1,
    seed: Annotated[int, typer.Option(help="same seed, same bytes", min=0)] = 1_000_000,
    variants: Annotated[int, typer.Option(help="conversations per clip", min=1)] = 8,
    turns: Annotated[int, typer.Option(help="questions per conversation", min=1)] = 3,
    workers: Workers = 2,
    shard: Annotated[str, typer.Option(help="i/n: this machine's share of the measuring")] = "1/1",
    templates: Annotated[
        Path | None, typer.Option(help="folder with the wording; default: our own")
    ] = None,
    fold: Annotated[
        str,
        typer.Option(help="i/n: leave out the subjects of fold i, as in eval folds=n"),
    ] = "",
    tested: Annotated[
        bool, typer.Option("--tested", help="take those subjects alone, to audit against")
    ] = False,
) -> None:
    """Build instruction data from licensed corpora, simulated clips, or both.

    After an interruption, run it again to resume; a corpus that was prepared again with other
    codings, frames or clips is built again. On several machines, give each a share of the measuring
    (--shard 2/8), copy the features-* files into one folder and run it there once more, without
    --shard: conversations are written when all parts exist. The same seed gives the same bytes for
    any number of workers or shards.
    """
    from deft_llm.config import validate_settings
    from deft_llm.data.clip_shards import Share
    from deft_llm.data.simulated import SimulatedData
    from deft_llm.unimer.answer_writer import Templates
    from deft_llm.unimer.assemble import Assembly
    from deft_llm.unimer.folds import Fold

    log_progress()
    # Both are wrong or right before anything is measured.
    share, wording = Share.parse(shard), Templates(templates)
    if not corpora and not simulated:
        raise UserError("nothing to build from; give --corpora, --simulated N, or both")
    if tested and (simulated or not fold):
        raise UserError("--tested is for --fold i/n of --corpora, without --simulated")
    if fold and not corpora:
        raise UserError("--fold divides the subjects of --corpora; give one, or leave --fold out")
    part = Fold(Share.parse(fold, "fold"), tested) if fold else None
    written = {"seed": seed, "variants": variants, "turns": turns}
    drawn = {
        **{"clips": simulated, "identities": identities, "first_identity": first_identity},
        **{"head": head, "head_path": head_path, "workers": workers},
        **{"balanced_share": balanced_share, "neutral_share": neutral_share},
    }
    data = validate_settings(SimulatedData, {**drawn, **written}, "command line")
    settings = validate_settings(Assembly, written, "command line")
    with stoppable("the same command goes on after the last whole part"):
        _build(out, corpora or [], data, settings, share, wording, part)


def _build(
    out: Path,
    corpora: list[Path],
    data: SimulatedData,
    settings: Assembly,
    share: Share,
    templates: Templates,
    fold: Fold | None,
) -> None:
    """Measure the missing parts; write conversations once all parts exist."""
    from deft_llm.data.clip_shards import absent, claim_recipe
    from deft_llm.data.prepared import left_out, open_prepared
    from deft_llm.unimer.assemble import assemble
    from deft_llm.unimer.coded import measure_corpus
    from deft_llm.unimer.folds import of_fold
    from deft_llm.unimer.simulated import measure_simulated_parts

    clips = [open_prepared(listing) for listing in corpora]
    if fold is not None:
        clips = of_fold(clips, fold)
    # Another recipe in the same folder would mix two data sets without a trace.
    claim_recipe(out, _recipe(corpora, data, fold))
    parts: list[str] = []
    refused: list[LeftOut] = []
    for listing, own in zip(corpora, clips, strict=True):
        # Named by the listing: several corpora lie side by side in one folder.
        parts += measure_corpus(own, listing.stem, out, share)
        # Whose fold a clip without a face is in is not looked up: a fold goes without them.
        refused += left_out(listing) if fold is None else ()
    if data.clips:
        parts += measure_simulated_parts(data, out, share)
    if missing := absent(out, parts):
        print(f"{len(missing)} of {len(parts)} parts belong to other shards, e.g. {missing[0]}")
        return
    found = assemble(out, parts, settings, templates, refused)
    print(
        f"{out}: {found.conversations} conversations about {found.clips} clips of "
        f"{len(found.subjects)} subjects; {len(found.left_out)} clips left out"
    )


def _recipe(corpora: list[Path], data: SimulatedData, fold: Fold | None) -> dict[str, Any]:
    """What the measured clips depend on."""
    # These do not change the measured clips and may differ when a build is resumed: machines differ
    # in workers and paths, and conversations are always written anew.
    elsewhere = {"workers", "head_path", "variants", "turns"}
    # The head by its name, not its path: the same head lies elsewhere on another machine.
    drawn = data.model_dump(exclude=elsewhere) if data.clips else None
    recipe = {"corpora": [str(listing) for listing in corpora], "simulated": drawn}
    return recipe if fold is None else {**recipe, "fold": str(fold)}


@app.command()
def validate(
    data: Folder, most: Annotated[int, typer.Option(help="problems to print", min=1)] = 50
) -> None:
    """Print every problem of a data folder by file, line and field; status 2 if there is any.

    Training reads by the same rules: it takes a folder that has no problem, and no other.
    """
    from deft_llm.unimer.validate import validate_folder

    # One more than is printed, to know whether there are more.
    problems = list(islice(validate_folder(data), most + 1))
    for problem in problems[:most]:
        print(problem)
    if len(problems) > most:
        print(f"{data}: there are more problems; --most {2 * most} prints more of them")
    else:
        print(f"{data}: {len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'}")
    # As for any wrong input: training would refuse the folder.
    raise typer.Exit(2 if problems else 0)


@app.command()
def audit(train: Folder, test: Folder) -> None:
    """Check if two data folders share a subject, clip or content hash; status 1 if they do."""
    from deft_llm.unimer.audit import audit as compare

    found = compare(train, test)
    for name, values in found.items():
        examples = f", for example {', '.join(values[:3])}" if values else ""
        print(f"shared {name}s: {len(values)}{examples}")
    # A finding, not a wrong input, hence 1 and not 2.
    raise typer.Exit(int(any(found.values())))


@app.command()
def calibrate(
    clips: Annotated[int, typer.Option(help="simulated clips")] = 600,
    identities: Annotated[int, typer.Option(help="simulated faces")] = 120,
    first_identity: FirstIdentity = 500_000,
    seed: Annotated[int, typer.Option(help="same seed, same weights", min=0)] = 5_000_000,
    precision: Annotated[float, typer.Option(help="wanted, out of fold")] = 0.97,
    workers: Workers = 2,
    cache: Annotated[Path, typer.Option(help="where measured clips are kept")] = Path(
        "runs/calibration"
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            callback=check_output, help="file to write; default: the package's own weights"
        ),
    ] = None,
) -> None:
    """Refit the score of the dual constraint, on faces that nothing else uses.

    Run it when simulator, flow or features change.
    """
    from deft_llm import config
    from deft_llm.data.simulated import SimulatedData, simulated_clips
    from deft_llm.evaluation.unimer.agreement_fit import fit, samples
    from deft_llm.files import write_text
    from deft_llm.unimer.agreement import AGREEMENT_FILE

    log_progress()
    drawn = {"clips": clips, "identities": identities, "first_identity": first_identity}
    drawn["seed"] = seed
    data = config.validate_settings(SimulatedData, {**drawn, "workers": workers}, "command line")
    note = {**drawn, "precision_wanted": precision}
    with stoppable(f"clips that were measured are kept in {cache}"):
        weights = fit(samples(simulated_clips(data, cache)), precision, note)
    # The package's own file is the default for those who work in a checkout.
    path = out or AGREEMENT_FILE
    write_text(path, weights.to_json() + "\n")
    print(f"wrote {path}")
