"""What a process of a deployed federation works on, handed to it by a file.

Flower starts processes of its own for the server's rounds and for each message at a node. They find
their job through an environment variable that was set on the same machine; nothing of it comes
from the other side.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from deft_llm.claims import claim
from deft_llm.errors import UserError
from deft_llm.federated.run import FREE, recipe_of
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.files import write_text

VARIABLE = "DEFT_FEDERATION_JOB"


@dataclass(frozen=True)
class Job:
    """A server's or a client's job.

    Attributes:
        recipe: File of the recipe.
        overrides: Dotted changes of it.
        rule: Name of the rule.
        folder: Where its side keeps what it needs to go on.
        site: Name of the site; empty at the server.
        data: Folder of the site's clips; empty for that of the recipe.
    """

    recipe: str
    overrides: tuple[str, ...]
    rule: str
    folder: str
    site: str = ""
    data: str = ""

    @property
    def kept(self) -> Path:
        """Where its side keeps what it needs to go on: of each rule apart, as at the server."""
        return Path(self.folder) / self.rule

    def read(self) -> FederatedRecipe:
        """The recipe, with the site's own folder.

        Raises:
            UserError: If it is wrong, or does not name the site.
        """
        recipe = recipe_of(Path(self.recipe), self.overrides)
        if self.site and self.site not in recipe.sites:
            raise UserError(
                f"site {self.site!r}: the recipe names {', '.join(recipe.sites) or 'none'}; its "
                "place in that list is part of the seeds, so server and clients need the same list"
            )
        return recipe

    def claim(self) -> FederatedRecipe:
        """The recipe, which the folder belongs to from now on.

        Raises:
            UserError: If the folder holds a federation of another recipe or what stays at another
                site, or as :meth:`read`.
        """
        recipe = self.read()
        note, remedy = Path(self.folder) / "recipe.json", "give another folder"
        claim(note, recipe, FREE, "holds a federation of another recipe", remedy)
        if self.site:
            self._claim_site()
        return recipe

    def _claim_site(self) -> None:
        note = Path(self.folder) / "site.txt"
        known = note.read_text(encoding="utf-8").strip() if note.is_file() else self.site
        if known != self.site:
            raise UserError(
                f"{self.folder}: holds what stays at site {known}; give site {self.site} a folder "
                "of its own"
            )
        write_text(note, f"{self.site}\n")

    def number(self) -> int:
        """Number of the site in the recipe, counted from 0."""
        return list(self.read().sites).index(self.site)

    def write(self, path: Path) -> dict[str, str]:
        """Write the job; returns the environment by which processes find it."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")
        return {VARIABLE: str(path.resolve())}


def current() -> Job:
    """The job of this process.

    Raises:
        UserError: If it was started by hand.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        raise UserError("no job: start it by deft-llm federate server or client")
    values = json.loads(Path(path).read_text(encoding="utf-8"))
    # A tuple again: jobs are keys of a cache.
    return Job(**{**values, "overrides": tuple(values["overrides"])})
