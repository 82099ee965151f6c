"""`ops deploy` and `ops deployed`: let an environment run something, and say what runs where."""

from msgspec.structs import replace

from .. import git
from ..errors import Refused, UserError
from ..project import Project
from . import state
from .kubernetes import Environment, environments
from .state import IMAGE, State


def deploy(
    project: Project,
    environment: str,
    image: str,
    version: str,
    source: str,
    rollback: bool,
    seconds: int,
) -> None:
    """Let an environment run another image, another version, or what it ran before.

    What does not become ready, or does not answer, gives way to what was there.

    Args:
        project: the project.
        environment: the name of its folder.
        image: by its digest; empty: the one that runs.
        version: of the model in the registry, or an alias; empty: the one that runs.
        source: the environment whose image and version are meant, if they are not given.
        rollback: whether what ran before is meant.
        seconds: that it may take to become ready.

    Raises:
        UserError: if it is not clear what is to run.
        Refused: if it does not run; then what was there does again.
    """
    place = Environment.find(project, environment)
    if git.output(project.root, "status", "--porcelain", "--", "deploy") != "":
        raise UserError("deploy/ has changes that git does not hold: commit them first.")
    before = state.read(project, environment)
    if rollback:
        wanted = replace(state.earlier(project, environment), rollback=True)
    else:
        wanted = _wanted(place, image, version, _known(project, source) if source else before)
    print(f"{environment}: rolling out {wanted.shown}", flush=True)
    try:
        answered = place.roll(wanted, seconds)
    except UserError as error:
        fault = str(error).rstrip(".")
        if before is None:
            raise Refused(f"{fault}; nothing ran in {environment} before.") from None
        try:
            place.roll(before, seconds)
        except UserError as worse:
            raise UserError(f"{fault}; going back failed, too: {worse}") from None
        raise Refused(f"{fault}; {environment} runs {before.shown} again.") from None
    if not place.has_registry:
        wanted = replace(wanted, model=int(answered) if answered.isdecimal() else answered)
    wanted = state.record(project, environment, wanted)
    print(f"{environment} runs {wanted.shown}; `git push` tells the others.")


def deployed(project: Project, environment: str) -> None:
    """Print what each environment runs, or the one that is named, and whether git says the same.

    Raises:
        Refused: if one that could be asked runs something else.
    """
    names = [Environment.find(project, environment).name] if environment else environments(project)
    differ = [it for it in names if not _is_as_git_says(Environment(project, it))]
    if differ:
        raise Refused(
            f"{' and '.join(differ)} should run what git says: `make deploy ENVIRONMENT=...` "
            "without more rolls it out again."
        )


def _known(project: Project, source: str) -> State:
    """What another environment runs."""
    known = state.read(project, Environment.find(project, source).name)
    if known is None:
        raise UserError(f"Nothing was deployed to {source} yet.")
    return known


def _wanted(place: Environment, image: str, version: str, known: State | None) -> State:
    """What is to run: what was asked for, and for the rest what is known."""
    image = image or (known.image if known else "")
    if not IMAGE.fullmatch(image):
        given = f"{image} is no image with a digest" if image else "It is not said which image"
        raise UserError(f"{given}: DIGEST=registry/name@sha256:... names one.")
    if place.has_registry:
        model = version or (known.model if known else "") or place.model
        return State(image, int(model) if str(model).isdecimal() else model)
    if version:
        raise UserError(
            f"{place.name} serves the model in its image ({place.bundle}): deploy an image that "
            "holds the other one, or let BUNDLE name a registry."
        )
    return State(image)


def _is_as_git_says(environment: Environment) -> bool:
    """Print a line on an environment; False if it runs something else than it should."""
    name = environment.name.ljust(12)
    meant = state.read(environment.project, environment.name)
    if meant is None:
        print(f"{name} nothing was deployed")
        return True
    told = f"{name} {meant.shown}, since {meant.since}, by {meant.by}"
    if not state.is_committed(environment.project, environment.name):
        told += "; not committed"
    try:
        pods = environment.pods()
        ready = sum(pod.ready and pod.image == meant.image for pod in pods)
        others = {pod.image for pod in pods if pod.image != meant.image}
        version = environment.version(meant) if ready else ""
    except UserError as error:
        print(f"{told}: cannot be asked: {error}")
        return True
    faults = [f"a pod runs {image}" for image in sorted(others)]
    if not ready:
        faults.append("no pod of it is ready")
    elif isinstance(meant.model, int) and version != str(meant.model):
        faults.append(f"version {version} answers")
    print(f"{told}: " + (", ".join(faults) or f"as git says, pods: {ready}, version: {version}"))
    return not faults
