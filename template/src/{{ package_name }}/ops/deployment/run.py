"""`ops deploy` and `ops deployed`: let an environment run something, and say what runs where."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

from msgspec.structs import replace

from .. import command, git
from ..errors import Refused, UserError
from ..files import lock
from ..project import Project
from ..serving.locations import Absent, Unavailable
from ..serving.registry_client import Registry
from ..wording import listed
from . import state
from .place import Environment, address, environments, find
from .service import Load, load
from .state import IMAGE, MODEL, State


def deploy(
    project: Project,
    environment: str,
    image: str,
    version: str,
    source: str,
    rollback: bool,
    seconds: int,
    monitor: str = "",
) -> None:
    """Let an environment run another image, another version, or what it ran before.

    What does not become ready, does not answer, or does not bear the load of `deploy/load.yaml`,
    gives way to what was there.

    Args:
        project: the project.
        environment: the name of its folder.
        image: by its digest; empty: the one that runs.
        version: of the model in the registry, or an alias; empty: the one that runs.
        source: the environment whose image and version are meant, if they are not given.
        rollback: whether what ran before is meant.
        seconds: that it may take to become ready; 0: as many as the platform needs.
        monitor: the image of a cluster's monitor, by its digest; empty: the one that runs.

    Raises:
        UserError: if it is not clear what is to run.
        Refused: if it does not run; then what was there does again.
    """
    place = find(project, environment)
    seconds = seconds or place.patience
    with _alone(project, environment):
        _can_record(project)
        before, bears = state.read(project, environment), load(project, environment)
        if rollback:
            wanted = replace(state.earlier(project, environment), rollback=True)
        else:
            wanted = _wanted(place, image, version, _known(project, source) if source else before)
        if monitor:
            wanted = replace(wanted, monitor=monitor.lower())
        wanted = _fitted(place, wanted, before)
        if place.has_registry:
            _look(address(place, wanted))
        place.reach()
        print(f"{environment}: rolling out {wanted.shown}", flush=True)
        try:
            answered = _rolled(place, wanted, seconds, bears)
        except UserError as error:
            fault = str(error).rstrip(".")
            if before is None:
                raise Refused(f"{fault}; nothing ran in {environment} before.") from None
            try:
                _rolled(place, _fitted(place, before, wanted), seconds)
            except UserError as worse:
                raise UserError(f"{fault}; going back failed, too: {worse}") from None
            raise Refused(f"{fault}; {environment} runs {before.shown} again.") from None
        wanted = state.record(project, environment, replace(wanted, version=answered))
    branch = git.output(project.root, "branch", "--show-current")
    cure = "`git push`" if branch else "a push of this commit, which is on no branch,"
    print(f"{environment} runs {wanted.shown}; {cure} tells the others.")


def deployed(project: Project, environment: str) -> None:
    """Print what each environment runs, or the one that is named, and whether git says the same.

    Raises:
        UserError: if the file of one cannot be read; the others are looked at all the same.
        Refused: if one that could be asked runs something else.
    """
    names = [environment] if environment else environments(project)
    differ, broken = [], []
    for place in [find(project, name) for name in names]:
        try:
            if not _is_as_git_says(project, place):
                differ.append(place.name)
        except UserError as error:
            print(f"{place.name:12} {error}")
            broken.append(place.name)
    if broken:
        raise UserError(f"It is not known what {listed(broken)} should run, as said above.")
    if differ:
        raise Refused(
            f"{listed(differ)} should run what git says: `git pull` brings what others have "
            "deployed, and `make deploy ENVIRONMENT=...` without more rolls out what git holds."
        )


@contextmanager
def _alone(project: Project, environment: str) -> Iterator[None]:
    """Let nobody else on this machine deploy to an environment meanwhile."""
    path = project.root / "build" / "deploy" / f"{environment}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileIO(path, "a+") as file:
        if not lock(file):
            raise UserError(f"Another deployment to {environment} is at work: wait for its end.")
        yield


def _can_record(project: Project) -> None:
    """A UserError if git would not take what is written down at the end."""
    command.output(project.root, "git", "var", "GIT_COMMITTER_IDENT")
    for at_work in ("MERGE_HEAD", "CHERRY_PICK_HEAD"):  # git then commits all files or none
        if git.output(project.root, "rev-parse", "--verify", "--quiet", at_work):
            raise UserError("git is in the middle of a merge: end it first.")
    if command.output(project.root, "git", "status", "--porcelain", "--", "deploy"):
        raise UserError("deploy/ has changes that git does not hold: commit them first.")


def _known(project: Project, source: str) -> State:
    """What another environment runs."""
    known = state.read(project, find(project, source).name)
    if known is None:
        raise UserError(f"Nothing was deployed to {source} yet.")
    return known


def _wanted(place: Environment, image: str, version: str, known: State | None) -> State:
    """What is to run: what was asked for, and for the rest what is known."""
    image = image.lower() or (known.image if known else "")  # as `make image-push` names it
    if not IMAGE.fullmatch(image):
        given = f"{image} is no image with a digest" if image else "It is not said which image"
        raise UserError(f"{given}: DIGEST=registry/name@sha256:... names one.")
    if version and not MODEL.fullmatch(version):
        raise UserError(f"{version} is neither a number nor an alias: VERSION=7 names a version.")
    if version and not place.has_registry:
        raise UserError(
            f"{place.name} serves the model in its image ({place.bundle}): deploy an image that "
            "holds the other one, or let BUNDLE name a registry."
        )
    return State(image, version or (known.model if known else ""))


def _fitted(place: Environment, wanted: State, other: State | None) -> State:
    """The same, with what the environment has by now: a model of a registry, and a monitor.

    Raises:
        UserError: if neither state says which image monitors.
    """
    model = (wanted.model or place.model) if place.has_registry else ""
    monitor = (wanted.monitor or (other.monitor if other else "")) if place.monitors else ""
    if place.monitors and not IMAGE.fullmatch(monitor):
        given = f"{monitor} is no image with a digest" if monitor else f"{place.name} has a monitor"
        raise UserError(f"{given}: MONITOR=registry/name@sha256:... names its image.")
    return replace(wanted, model=int(model) if str(model).isdecimal() else model, monitor=monitor)


def _look(address: str) -> None:
    """A UserError if a registry that is reached from here has no such version."""
    try:
        Registry(address, "VERSION").state()
    except Absent as error:
        raise UserError(str(error)) from None
    except Unavailable:
        pass  # the service may reach it


def _rolled(place: Environment, state: State, seconds: int, bears: Load | None = None) -> str:
    """Let an environment run this, and try it out; gives the model's version.

    Raises:
        UserError: if it does not become ready, does not answer, or does not bear what it must.
    """
    place.roll(state, seconds)
    with place.service(state) as service:
        version = service.predict()
        if not state.is_answered_by(version):
            raise UserError(f"Version {version} answers, and not {state.model or state.version}.")
        if bears:
            print(f"{place.name}: {service.bear(bears)}", flush=True)
    return version


def _is_as_git_says(project: Project, environment: Environment) -> bool:
    """Print a line on an environment; False if it runs something else than it should."""
    name = environment.name.ljust(12)
    committed = "" if state.is_committed(project, environment.name) else "; not committed"
    meant = state.read(project, environment.name)
    if meant is None:
        print(f"{name} nothing was deployed{committed}")
        return True
    told = f"{name} {meant.shown}, since {meant.since}, by {meant.by}{committed}"
    try:
        ready, others = environment.running(meant)
        version = environment.version(meant) if ready else ""
    except UserError as error:
        print(f"{told}: cannot be asked: {error}")
        return True
    faults = [f"{image} runs there" for image in sorted(others)]
    if not ready:
        faults.append("nothing of it is ready")
    elif not meant.is_answered_by(version):
        faults.append(f"version {version} answers")
    print(f"{told}: " + (", ".join(faults) or f"as git says, ready: {ready}, version: {version}"))
    return not faults
