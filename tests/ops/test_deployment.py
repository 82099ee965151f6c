"""What ends a deployment before it begins, and what git remembers of those that were."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml
from gitconfig import hostile
from my_model.ops.deployment import kubernetes, run, state
from my_model.ops.deployment.place import find
from my_model.ops.deployment.service import Service
from my_model.ops.deployment.state import State
from my_model.ops.errors import Refused, UserError
from my_model.ops.files import lock
from my_model.ops.project import Project
from render import ROOT

FIRST, SECOND = (State(f"registry/name@sha256:{number:064x}", number) for number in (1, 2))

IMAGE, FOLLOWED = "models/champion", "http://registry:5000/name@champion"


@dataclass
class Place:
    """An environment whose pods answer with a version, whatever they are to run."""

    answers: str
    bundle: str = IMAGE
    model: str = "champion"
    monitors: bool = False
    name: str = "dev"
    patience: int = 1

    @property
    def has_registry(self) -> bool:
        return self.bundle != IMAGE

    def reach(self) -> None:
        pass

    def roll(self, asked: State, seconds: int) -> None:
        assert bool(asked.model) == self.has_registry, "only a registry can be asked for a model"
        assert bool(asked.monitor) == self.monitors, "only a monitor has an image"

    @contextmanager
    def service(self, asked: State) -> Iterator[Service]:
        answer = httpx.Response(200, json={"model_version": self.answers})
        with httpx.Client(transport=httpx.MockTransport(lambda _: answer)) as client:
            yield Service(client, "http://service/predict", b"{}")

    def version(self, asked: State) -> str:
        return self.answers

    def running(self, asked: State) -> tuple[int, set[str]]:
        return 1, set()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    """What dev is, with version 1 of the model in its image."""
    its = Place("1")
    monkeypatch.setattr(run, "find", lambda *_: its)
    return its


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with one environment, by somebody whom git knows."""
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\n    name = Ada\n    email = ada@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    root = tmp_path / "project"
    overlay = root / "deploy" / "kubernetes" / "environments" / "dev" / "kustomization.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.write_text("resources: []\n")
    (root / ".gitignore").write_text("build/\n")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message=Begin")):
        subprocess.run(["git", *words], cwd=root, check=True)
    return Project(root)


def deploy(project: Project, **asked: Any) -> None:
    """Deploy to dev what is asked."""
    given = {"image": "", "version": "", "source": "", "rollback": False, "seconds": 0, **asked}
    run.deploy(project, "dev", **given)


def write(project: Project, text: str) -> None:
    """Commit the state of dev by hand."""
    file = state.path(project, "dev")
    file.write_text(text)
    commit = ["git", "commit", "--quiet", "--all", "--message=By hand"]
    subprocess.run(commit, cwd=file.parent, check=True)


def bear(project: Project, p95_ms: float) -> None:
    """Commit what dev has to bear."""
    file = project.root / "deploy" / "load.yaml"
    file.write_text(f"dev: {{seconds: 1, callers: 2, lost: 0, p95_ms: {p95_ms}}}\n")
    for words in (("add", "."), ("commit", "--quiet", "--message=Bear")):
        subprocess.run(["git", *words], cwd=file.parent, check=True)


def said(project: Project) -> tuple[int | str, str]:
    """The model that dev was asked to run, and the version that answered."""
    known = state.read(project, "dev")
    assert known
    return known.model, known.version


def test_two_do_not_deploy_at_once(project: Project) -> None:
    folder = project.root / "build" / "deploy"
    folder.mkdir(parents=True)
    with FileIO(folder / "dev.lock", "a+") as held:
        assert lock(held)
        with pytest.raises(UserError, match="Another deployment to dev is at work"):
            deploy(project)


def test_git_must_be_able_to_take_what_is_written_down(project: Project, tmp_path: Path) -> None:
    (project.root / "deploy" / "load.yaml").write_text("{}\n")
    with pytest.raises(UserError, match="deploy/ has changes that git does not hold"):
        deploy(project)
    (tmp_path / "gitconfig").write_text("[user]\n    useConfigOnly = true\n")
    with pytest.raises(UserError, match="git failed: no email was given"):
        deploy(project)


def test_an_environment_that_makes_no_service_is_told(project: Project) -> None:
    """Somebody's own folder, say, before it names the base."""
    with pytest.raises(UserError, match=r"^deploy/kubernetes/environments/dev makes no ConfigMap"):
        deploy(project, image=FIRST.image)


def test_git_takes_one_file_alone_unless_it_merges(project: Project) -> None:
    asked = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(asked, cwd=project.root, check=True, capture_output=True)
    (project.root / ".git" / "MERGE_HEAD").write_bytes(commit.stdout)
    with pytest.raises(UserError, match="git is in the middle of a merge: end it first"):
        deploy(project)


def test_what_was_deleted_is_told(
    project: Project, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is gone by mistake does not look like an environment that is new."""
    deploy(project, image=FIRST.image.upper().replace("SHA", "sha"))
    assert state.path(project, "dev").exists()
    state.path(project, "dev").unlink()
    capsys.readouterr()
    run.deployed(project, "dev")
    said = " ".join(capsys.readouterr().out.split())
    assert said == "dev nothing was deployed; not committed"


@pytest.mark.parametrize("version", ["0", "007", "a b", "x/y", "-" * 65])
def test_a_version_is_a_number_or_an_alias(project: Project, version: str) -> None:
    with pytest.raises(UserError, match="is neither a number nor an alias"):
        deploy(project, image=FIRST.image, version=version)


def test_what_a_person_wrote_there_by_mistake_is_no_deployment(project: Project) -> None:
    for it in (FIRST, SECOND):
        state.record(project, "dev", it)
    whole = state.path(project, "dev").read_text()
    for broken, said in {
        "image: latest\n": r"Expected `str` matching regex .* - at `\$\.image`",
        f"{whole}image: {FIRST.image}\n": "a name stands there twice",
        f"image: {FIRST.image}\n\tmodel: 1\n": r"found character '\\t' that cannot start any",
        f"image: {FIRST.image}\nmodel: a b\n": r"Expected `str` matching regex .* at `\$\.model`",
        f"image: {FIRST.image}\nmodle: 1\n": "Object contains unknown field `modle`",
    }.items():
        write(project, broken)
        sentence = rf"^deploy/state/dev\.yaml is not what `make deploy` wrote \({said}"
        with pytest.raises(UserError, match=sentence):
            deploy(project)
    write(project, whole.replace("\n", "\r\n"))
    assert state.earlier(project, "dev").is_same(FIRST)


@pytest.mark.parametrize("broken", ["<<<<<<< HEAD\n", "image: latest\n", "since: 2026-13-45\n", ""])
def test_one_broken_file_hides_no_other_environment(
    kubectl: Project, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    """Each has its line, and what is typed as the broken one's says mends it, in a merge too."""
    state.record(kubectl, "production", msgspec.structs.replace(FIRST, version="1"))
    state.record(kubectl, "dev", FIRST)
    state.path(kubectl, "dev").write_text(broken)
    if broken.startswith("<"):
        asked = ["git", "rev-parse", "HEAD:deploy/state/dev.yaml"]
        blob = subprocess.check_output(asked, cwd=kubectl.root, text=True).strip()
        sides = f"0 {'0' * 40}\tdeploy/state/dev.yaml\n" + "".join(
            f"100644 {blob} {side}\tdeploy/state/dev.yaml\n" for side in (1, 2, 3)
        )
        merging = ["git", "update-index", "--index-info"]
        subprocess.run(merging, cwd=kubectl.root, input=sides, text=True, check=True)
    with pytest.raises(UserError, match=r"^It is not known what dev should run, as said above"):
        run.deployed(kubectl, "")
    lines = dict(it.split(maxsplit=1) for it in capsys.readouterr().out.splitlines())
    assert lines["dev"].startswith("deploy/state/dev.yaml is not what `make deploy` wrote (")
    assert lines["canary"] == lines["staging"] == "nothing was deployed"
    assert lines["production"].endswith(": as git says, ready: 1, version: 1")
    mend = re.findall("`(git .+?)`", lines["dev"])
    for command in mend:
        subprocess.run(command.split(), cwd=kubectl.root, check=True, capture_output=True)
    run.deployed(kubectl, "")


def test_what_differs_is_told_beside_what_is_broken(
    kubectl: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    state.record(kubectl, "staging", SECOND)
    with pytest.raises(Refused, match=r"^staging should run what git says"):
        run.deployed(kubectl, "")
    state.path(kubectl, "dev").write_text("[]")
    with pytest.raises(UserError, match=r"^It is not known what dev should run"):
        run.deployed(kubectl, "")
    assert f"{FIRST.image} runs there, nothing of it is ready" in capsys.readouterr().out


def test_a_deployment_is_written_down_under_any_settings_of_git(
    project: Project, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in hostile(tmp_path).items():
        monkeypatch.setenv(name, value)
    deploy(project, image=FIRST.image)
    place.answers = "2"
    deploy(project, image=SECOND.image)
    monkeypatch.delenv("GIT_EXTERNAL_DIFF")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    asked = ["git", "log", "--format=%s", "--", "deploy/state"]
    log = subprocess.run(asked, cwd=project.root, check=True, capture_output=True, text=True)
    assert len(log.stdout.splitlines()) == 2
    assert state.earlier(project, "dev").image == FIRST.image


def test_what_git_does_not_take_is_told(project: Project) -> None:
    (project.root / ".git" / "index.lock").touch()
    with pytest.raises(
        UserError, match=r"^dev runs .*, but git failed: .* commit deploy/state/dev"
    ):
        state.record(project, "dev", FIRST)


def test_what_an_image_holds_is_not_what_was_asked_for(project: Project, place: Place) -> None:
    """A registry that comes later is followed; what came from one does not go into an image."""
    deploy(project, image=FIRST.image)
    assert said(project) == ("", "1")
    place.bundle = FOLLOWED
    deploy(project)
    assert said(project) == ("champion", "1")

    place.answers = "7"
    deploy(project, version="7")
    assert said(project) == (7, "7")
    with pytest.raises(
        Refused, match=r"^Version 7 answers, and not 8; dev runs .* version 7 again"
    ):
        deploy(project, version="8")
    deploy(project, rollback=True)
    assert said(project) == ("champion", "7")
    deploy(project, image=SECOND.image, version="7")
    assert said(project) == (7, "7")

    place.bundle = IMAGE
    deploy(project)
    assert said(project) == ("", "7")


def test_what_does_not_bear_its_load_gives_way(project: Project, place: Place) -> None:
    bear(project, p95_ms=60_000)
    deploy(project, image=FIRST.image)
    bear(project, p95_ms=0.001)
    sentence = r"ms; deploy/load\.yaml allows for 0 lost and 0\.001 ms; dev runs .* again\.$"
    with pytest.raises(Refused, match=sentence):
        deploy(project, image=SECOND.image)
    known = state.read(project, "dev")
    assert known
    assert known.image == FIRST.image


def test_a_monitor_keeps_its_image(project: Project, place: Place) -> None:
    """Until another one is named: also where it is the service that changes, or comes from dev."""
    place.monitors = True
    with pytest.raises(
        UserError, match=r"dev has a monitor: MONITOR=registry/name@sha256:\.\.\. names"
    ):
        deploy(project, image=FIRST.image)
    with pytest.raises(UserError, match="latest is no image with a digest: MONITOR="):
        deploy(project, image=FIRST.image, monitor="latest")
    monitors: list[str] = []
    for asked in (
        {"image": FIRST.image, "monitor": FIRST.image},
        {"monitor": SECOND.image},
        {"image": SECOND.image},
        {"rollback": True},
        {"rollback": True},
    ):
        deploy(project, **asked)
        known = state.read(project, "dev")
        assert known
        monitors.append(known.monitor)
    assert monitors == [FIRST.image, SECOND.image, SECOND.image, SECOND.image, FIRST.image]


def with_manifests(project: Project) -> Path:
    """Give a project the manifests as they are rendered, and a name: where they lie."""
    manifests = project.root / "deploy" / "kubernetes"
    shutil.rmtree(manifests)
    shutil.copytree(ROOT / "template" / "deploy" / "kubernetes", manifests)
    (project.root / "pyproject.toml").write_text('[project]\nname = "a-name"\n')
    return manifests


def test_a_cluster_is_given_both_images_in_the_project_s_own_namespace(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real kubectl builds, from the files as they are rendered."""
    kubectl, applied = Path(sys.executable).with_name("kubectl"), tmp_path / "applied.yaml"
    tool = tmp_path / "bin" / "kubectl"
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/sh\nfolder=${{2#--kustomize=}}\ncase $1 in\nkustomize) exec {kubectl} "$@" ;;\n'
        f"apply) exec {kubectl} kustomize $folder > {applied} ;;\nesac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    manifests = with_manifests(project)
    file = manifests / "environments" / "production" / "kustomization.yaml"
    components = "".join(f"  - ../../components/{it}\n" for it in ("log-claim", "monitoring"))
    text = file.read_text().replace("\nconfigMapGenerator", f"{components}\nconfigMapGenerator")
    setting = "      - BUNDLE=http://registry:5000/a-name@champion\n"
    file.write_text(text.replace("\npatches", f"{setting}\npatches"))

    place = find(project, "production")
    assert place.monitors
    place.roll(State(FIRST.image, 7, monitor=SECOND.image), 1)
    built = {it["kind"]: it for it in yaml.safe_load_all(applied.read_text())}
    assert {it["metadata"]["namespace"] for it in built.values()} == {"a-name-production"}
    (service,) = built["Deployment"]["spec"]["template"]["spec"]["containers"]
    (monitor,) = built["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert (service["image"], monitor["image"]) == (FIRST.image, SECOND.image)
    assert built["ConfigMap"]["data"]["BUNDLE"] == "http://registry:5000/a-name/7"
    assert monitor["envFrom"] == [
        {"configMapRef": {"name": built["ConfigMap"]["metadata"]["name"]}}
    ]

    file.write_text(text.replace("namespace: production", "namespace: given-to-us"))
    again = find(project, "production")
    again.roll(State(FIRST.image, monitor=SECOND.image), 1)
    built = {it["kind"]: it for it in yaml.safe_load_all(applied.read_text())}
    assert {it["metadata"]["namespace"] for it in built.values()} == {"given-to-us"}


CLUSTER = """#!{python}
import http.server, json, os, sys
words = sys.argv[1:]
READY = '{{"conditions": [{{"type": "Ready", "status": "True"}}]}}'
if words[0] == "get":
    if "AWAY" in os.environ:
        sys.exit("The connection to the server cluster:6443 was refused")
    spec = {{"containers": [{{"name": "service", "image": "{image}"}}]}}
    status = json.loads(os.environ.get("STATUS", READY))
    pod = {{"metadata": {{"name": "one"}}, "spec": spec, "status": status}}
    print(json.dumps({{"items": [pod]}}))
elif words[0] == "port-forward":
    class Pod(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{{"model_version": "1"}}')
        do_POST = do_GET
    server = http.server.HTTPServer(("127.0.0.1", 0), Pod)
    print(f"Forwarding from 127.0.0.1:{{server.server_port}} -> 8080", flush=True)
    server.serve_forever()
elif words[0] == "kustomize":
    os.execv("{kubectl}", ["kubectl", *words])
elif "STATUS" in os.environ and words[0] != "apply":
    failed = {{"rollout": "exceeded its progress deadline", "logs": "is waiting to start"}}
    sys.exit("error: " + failed[words[0]])
elif "STATUS" not in os.environ:
    sys.exit("nothing may be changed there")
"""
"""A kubectl whose cluster has one pod, which answers through a forwarded port."""


SLOW = """\
sagemaker:
\t@sleep 60 & slow=$$!; trap 'kill $$slow; touch let-go; exit 1' TERM; wait
"""
"""A cloud's target that takes long."""


def test_a_cloud_that_takes_too_long_is_let_go_of(project: Project) -> None:
    """What the target has begun ends, and keeps no lock from the way back."""
    (project.root / "deploy" / "kubernetes").rename(project.root / "deploy" / "aws")
    (project.root / "Makefile").write_text(SLOW)
    with pytest.raises(UserError, match=r"^`make sagemaker` was not done after 1 seconds\."):
        find(project, "dev").roll(FIRST, 1)
    assert (project.root / "let-go").exists()


NO_SECRET = {"reason": "CreateContainerConfigError", "message": 'secret "log-bucket" not found'}
NO_IMAGE = {"reason": "ImagePullBackOff", "message": "no such"}
NO_NODE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available",
}


@pytest.fixture
def kubectl(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project with its manifests as they are rendered, and that kubectl."""
    tool = tmp_path / "bin" / "kubectl"
    tool.parent.mkdir()
    real = Path(sys.executable).with_name("kubectl")
    tool.write_text(CLUSTER.format(python=sys.executable, image=FIRST.image, kubectl=real))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    with_manifests(project)
    for words in (("add", "."), ("commit", "--quiet", "--message=Kubernetes")):
        subprocess.run(["git", *words], cwd=project.root, check=True)
    return project


def test_a_cluster_that_is_away_is_told_before_anything_is_tried(
    kubectl: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWAY", "true")
    with pytest.raises(UserError, match=r"^kubectl failed: The connection to the .* was refused"):
        deploy(kubectl, image=FIRST.image)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (
            {
                "initContainerStatuses": [{"state": {"waiting": NO_SECRET}}],
                "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            'CreateContainerConfigError: secret "log-bucket" not found',
        ),
        ({"containerStatuses": [{"state": {"waiting": NO_IMAGE}}]}, "ImagePullBackOff: no such"),
        ({"conditions": [NO_NODE]}, "Unschedulable: 0/3 nodes are available"),
    ],
)
def test_a_pod_that_has_not_begun_is_told_of(
    kubectl: Project, monkeypatch: pytest.MonkeyPatch, status: dict[str, Any], told: str
) -> None:
    """It has no log, and a secret, an image or a node is missing."""
    monkeypatch.setenv("STATUS", json.dumps(status))
    sentence = rf"deadline: {told}; nothing ran in dev before\.$"
    with pytest.raises(Refused, match=sentence):
        deploy(kubectl, image=FIRST.image)
    assert state.read(kubectl, "dev") is None


def test_pods_may_pull_from_a_registry_that_asks_who_does(kubectl: Project) -> None:
    """By what the page says, at the end of the file of any environment."""
    page = (ROOT / "template" / "docs" / "ops" / "kubernetes.md").read_text()
    blocks = [it.split("```")[0] for it in page.split("```yaml\n")[1:]]
    (patch,) = [it for it in blocks if "imagePullSecrets" in it]
    folders = kubectl.root / "deploy" / "kubernetes" / "environments"
    for name in ("dev", "staging", "production", "canary"):
        with (folders / name / "kustomization.yaml").open("a") as file:
            file.write(patch)
        built = kubernetes.Environment(kubectl, name, "kubernetes").manifests
        accounts = {it["metadata"]["name"]: it for it in built if it["kind"] == "ServiceAccount"}
        pods = next(it for it in built if it["kind"] == "Deployment")["spec"]["template"]["spec"]
        assert accounts[pods["serviceAccountName"]]["imagePullSecrets"] == [{"name": "pull"}]


def test_a_forwarded_port_lasts_as_long_as_it_is_needed(
    kubectl: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limit is for kubectl, to begin; a load test may take longer."""
    place = find(kubectl, "dev")
    assert not place.has_registry, "its manifests are built by now"
    monkeypatch.setattr(kubernetes, "PATIENCE", 3)
    with place.service(FIRST) as service:
        time.sleep(6.5)
        assert service.predict() == "1"


def test_what_may_answer_is_what_was_asked_for_or_what_the_image_holds() -> None:
    held, followed = State(FIRST.image, version="1"), State(FIRST.image, "champion", "1")
    for its in (FIRST, held):
        assert its.is_answered_by("1")
        assert not its.is_answered_by("2")
    assert followed.is_answered_by("2")
