"""Deployments of real images and models, on a machine that stands in for a cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cluster import balanced, cluster
from containers import ask, copy, podman, ready, registry, rows, until
from project import Project, change_params
from servers import registry as mlflow
from test_image_pipeline import github, signing
from walks import Walker, steps
from workflows import GitLab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workflows import Job

IMAGE = "localhost/of-a-deployment"
MUTE = """
import http.server as web, os
class Mute(web.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
web.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Mute).serve_forever()
"""
"""A service that says it is ready, and takes no rows."""
NAMES = {
    "first": "",
    "second": "LABEL second=true",
    "bad": 'ENTRYPOINT ["sh", "-c", "echo It is broken; exit 1"]',
    "mute": f"ENTRYPOINT {json.dumps(['python', '-c', MUTE])}\nCMD []",
}
"""Images, each by what it has beside that of `make image`."""
ENVIRONMENTS = ("canary", "dev", "production", "staging")
DIGEST = "registry/name@sha256:..."
"""What the page calls an image."""
ALONE = {
    "LOG_LEVEL=info\n": "LOG_LEVEL=info\n      - DRAIN_SECONDS=0\n",
    "minReplicas\n        value: 2": "minReplicas\n        value: 1",
}
"""Each environment has one pod, which nobody calls when it goes."""
SCORED = 'shadow_rows_total{version="2"} 2'
"""Twenty rows, and the one of a deployment."""
CALLS = 200


@pytest.fixture(scope="module")
def project(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project with a cluster, and with the image that `make image` builds."""
    folder = tmp_path_factory.mktemp("deployment")
    with cluster(folder / "cluster", sample.environment["PATH"]) as variables:
        project = copy(sample, folder / "project", IMAGE=IMAGE, **variables)
        for name in ENVIRONMENTS:
            file = overlay(project, name)
            text = file.read_text()
            for old, new in ALONE.items():
                text = text.replace(old, new)
            file.write_text(text)
        asked = project.root / "deploy" / "load.yaml"
        limits = yaml.safe_load(asked.read_text())
        limits["staging"] |= {"seconds": 1, "p95_ms": 60_000}
        asked.write_text(yaml.safe_dump(limits))
        project.commit("Run one pod each, and bear little", "--no-verify")
        project.run("make", "image")
        yield project


@pytest.fixture(scope="module")
def images(project: Project) -> dict[str, str]:
    """Each image by its digest."""
    for name, more in NAMES.items():
        file = project.root.parent / name
        file.write_text(f"FROM {IMAGE}\n{more}\n")
        podman("build", "--quiet", "--format=docker", f"--file={file}", f"--tag={IMAGE}-{name}")
    digests = {
        name: podman("image", "inspect", "--format={{.Digest}}", f"{IMAGE}-{name}")
        for name in NAMES
    }
    assert len({*digests.values()}) == len(NAMES)
    return {name: f"{IMAGE}-{name}@{digest}" for name, digest in digests.items()}


@pytest.fixture(scope="module")
def models(sample: Project, project: Project) -> Iterator[str]:
    """An MLflow server with the champion, and with a challenger, version 2; by its address."""
    folder = project.root.parent
    with mlflow(sample, folder, f"{folder}/files") as address:
        tracked = Project(project.root, {**project.environment, "MLFLOW_TRACKING_URI": address})
        assert "Version 1 (champion)" in tracked.run("uv", "run", "ops", "register")
        changes = {"promote: auto": "promote: manual", "model: blend": "model: linear"}
        change_params(project, changes)
        assert "Version 2 (challenger)" in tracked.run("make", "train")
        project.commit("Train a challenger", "--no-verify")
        yield address


def overlay(project: Project, environment: str) -> Path:
    """The file that a person changes of an environment."""
    return project.root / f"deploy/kubernetes/environments/{environment}/kustomization.yaml"


def state(project: Project, environment: str) -> dict[str, Any]:
    """What git holds of an environment."""
    name = f"deploy/state/{environment}.yaml"
    found: dict[str, Any] = yaml.safe_load(project.run("git", "show", f"HEAD:{name}"))
    return found


def told(project: Project) -> dict[str, str]:
    """What `make deployed` says, by environment."""
    lines = project.run("make", "deployed").splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def routed(project: Project) -> dict[int, int]:
    """How production's route shares the calls: the port of each pod, and its weight."""
    folder = Path(project.environment["CLUSTER"], "my-model-production")
    (rule,) = json.loads((folder / "service.applied").read_text())["HTTPRoute"]["spec"]["rules"]
    weights = {its["name"]: its["weight"] for its in rule["backendRefs"]}
    pods = {name: next(folder.glob(f"{name}-??????????-0.json")) for name in weights}
    return {json.loads(pods[name].read_text())["port"]: its for name, its in weights.items()}


@contextmanager
def forwarded(walker: Walker, command: str) -> Iterator[str]:
    """What a person lets run in another terminal, to ask a pod; gives its address here."""
    process = subprocess.Popen(
        walker.here(command).split(), env=walker.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        found = re.search(r"127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, command
        yield found[0]
    finally:
        process.terminate()
        process.communicate()


def shadowed(pod: str, asked: list[dict[str, Any]]) -> None:
    """Let the shadow of a pod score some rows."""
    until(lambda: ask(f"{pod}/version")[1].get("shadow_version") == "2")
    assert ask(f"{pod}/predict", asked)[0] == 200
    until(lambda: SCORED in ask(f"{pod}/metrics")[1])


def test_the_page_is_walked_as_written(
    project: Project, images: dict[str, str], models: str, tmp_path: Path
) -> None:
    """Image and model go to environments, apart and back; a canary gets its share, and wins."""
    image = images["first"]
    meant = {
        "NAME-": "my-model-",
        "VERSION=8": "VERSION=2",
        "promote 8": "promote 2",
        "http://registry.example.org:5000": models,
        DIGEST: image,
    }
    walker = Walker(project.root, {**project.environment, "MLFLOW_TRACKING_URI": models}, meant)
    asked = rows(project, 20)
    went: list[tuple[str, int | str | None]] = []
    printed: dict[str, str] = {}
    with ExitStack() as terminals:
        for step in steps(project.root / "docs" / "ops" / "kubernetes.md"):
            if step.kind == "yaml":  # for a cluster that this one is not
                continue
            if step.text.startswith("kubectl port-forward "):
                pod = terminals.enter_context(forwarded(walker, step.text))
                meant["localhost:8081"] = pod
                shadowed(f"http://{pod}", asked)
                continue
            printed[step.text] = walker.take(step)
            if step.kind == "diff" and step.section == "Where the model comes from":
                for name in ("production", "canary"):  # "in each environment"
                    walker.edit(walker.here(step.text.replace("/dev/", f"/{name}/")))
            if found := re.match(r"make (?:deploy|rollback) ENVIRONMENT=(\w+)", step.text):
                its = state(project, found[1])
                assert its["image"] == image
                went.append((found[1], its.get("model")))
                if len(went) == 8:  # before the challenger is promoted
                    with balanced(tmp_path, routed(project)) as service:
                        answers = [ask(f"{service}/predict", asked[0])[1] for _ in range(CALLS)]

    assert went == [
        ("dev", None),
        ("production", None),
        ("dev", "champion"),
        ("dev", 2),
        ("dev", "champion"),
        ("production", "champion"),
        ("canary", 2),
        ("production", "champion"),
    ]
    assert printed["make deployed"].count("as git says, ready: 1, version: 1") == 2
    assert SCORED in printed["curl --silent localhost:8081/metrics | grep shadow_rows"]
    shares = Counter(its["model_version"] for its in answers)
    assert shares == {"1": CALLS * 95 // 100, "2": CALLS * 5 // 100}
    assert "is served at" in printed["kubectl logs --namespace NAME-production deployment/service"]
    following = ("dev", "production")  # to them, the promotion was no deployment
    until(lambda: all("version: 2" in told(project)[name] for name in following))

    said = project.refuse("make", "deploy", "ENVIRONMENT=dev", "VERSION=7", code=2)
    assert f"There is no {models}/my-model/7 (HTTP 404)" in said
    assert state(project, "dev")["model"] == "champion"


def test_a_change_goes_from_one_environment_to_the_next_and_back(
    project: Project, images: dict[str, str]
) -> None:
    """To dev and, under load, to staging; a bad one to dev."""
    assert told(project)["staging"] == "nothing was deployed"
    said = project.refuse("make", "deploy", "ENVIRONMENT=staging", code=2)
    assert "It is not said which image: DIGEST=registry/name@sha256:... names one." in said
    said = project.refuse("make", "deploy", "ENVIRONMENT=dev", "FROM=staging", code=2)
    assert "Nothing was deployed to staging yet." in said
    project.run("make", "deploy", "ENVIRONMENT=dev", f"DIGEST={images['second']}")
    assert state(project, "dev")["image"] == images["second"]
    said = project.run("make", "deploy", "ENVIRONMENT=staging", "FROM=dev")
    assert re.search(r"staging: [\d,]+ answers in 1 s, 0 lost, p95 [\d,]+ ms", said)
    its = state(project, "staging")
    assert (its["image"], its.get("model"), its["version"]) == (images["second"], None, "1")

    bad = ("--image", images["bad"], "--seconds", "5")
    said = project.refuse("uv", "run", "ops", "deploy", "dev", *bad, code=3)
    assert "dev runs" in said
    assert "exceeded its progress deadline: CrashLoopBackOff: It is broken" in said
    assert state(project, "dev")["image"] == images["second"]

    lines = told(project)
    shown = images["second"].split("sha256:")[1][:12]
    for name in ("dev", "staging"):
        assert shown in lines[name]
        assert "as git says, ready: 1" in lines[name]


def test_what_runs_beside_git_is_told(project: Project, images: dict[str, str]) -> None:
    assert images["second"] == state(project, "dev")["image"]
    (pod,) = Path(project.environment["CLUSTER"], "my-model-dev").glob("*.json")
    podman("pod", "stop", pod.stem)
    said = project.refuse("uv", "run", "ops", "deployed", "dev", code=3)
    assert "nothing of it is ready" in said
    podman("pod", "start", pod.stem)
    until(lambda: "as git says" in project.run("uv", "run", "ops", "deployed", "dev"))


def test_pods_read_secrets(project: Project, images: dict[str, str]) -> None:
    """Made as the heads of the components say: keys as a file, credentials as variables."""
    assert images["second"] == state(project, "dev")["image"]
    space = ("kubectl", "create", "secret", "generic", "--namespace=my-model-dev")
    keys = project.root.parent / "keys"
    keys.write_text("a-key-of-sixteen-letters\n")
    project.run(*space, "api-keys", f"--from-file={keys}")
    project.run(*space, "registry", "--from-literal=MLFLOW_TRACKING_TOKEN=a token")
    file = overlay(project, "dev")
    line = "- ../../components/registry\n"
    written = file.read_text()
    added = line.replace("registry", "api-keys")
    file.write_text(written.replace(line, f"{line}  {added}", 1))
    project.commit("Ask callers for a key", "--no-verify")

    said = project.refuse("make", "deploy", "ENVIRONMENT=dev", code=2)
    assert "The service answers /predict with 401; let API_KEY hold a key" in said
    assert "going back failed, too" in said  # the files of the environment are git's, not undone
    keyed = {**project.environment, "API_KEY": "a-key-of-sixteen-letters"}
    Project(project.root, keyed).run("make", "deploy", "ENVIRONMENT=dev")
    (pod,) = Path(project.environment["CLUSTER"], "my-model-dev").glob("service-*.json")
    service = f"http://127.0.0.1:{json.loads(pod.read_text())['port']}"
    assert ask(f"{service}/predict", rows(project, 1))[0] == 401
    variables = podman("exec", f"{pod.stem}-service", "env")
    assert "MLFLOW_TRACKING_TOKEN=a token" in variables
    assert "a-key-of-sixteen-letters" not in variables

    file.write_text(written)
    project.commit("Ask callers for none", "--no-verify")
    project.run("make", "deploy", "ENVIRONMENT=dev")


def test_every_probe_is_asked(project: Project, images: dict[str, str]) -> None:
    """A pod that one probe does not find well is never ready, and what ran before stays."""
    assert images["second"] == state(project, "dev")["image"]
    file = project.root / "deploy" / "kubernetes" / "base" / "deployment.yaml"
    written = file.read_text()
    place = "--namespace=my-model-dev"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        manifest = yaml.safe_load(written)
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        container[probe]["httpGet"]["path"] = "/nowhere"
        file.write_text(yaml.safe_dump(manifest))
        project.run("kubectl", "apply", "--kustomize=build/deploy/dev", place)
        rollout = ("kubectl", "rollout", "status", "deployment/service", place, "--timeout=0s")
        assert "exceeded its progress deadline" in project.refuse(*rollout, code=1)
    file.write_text(written)

    pods = Path(project.environment["CLUSTER"], "my-model-dev").glob("*.json")
    begun = [json.loads(pod.read_text()) for pod in pods]
    until(lambda: all(ready(f"http://127.0.0.1:{pod['port']}") for pod in begun))
    selector = ",".join(f"{name}={value}" for name, value in begun[0]["labels"].items())
    answer = project.run("kubectl", "get", "pods", place, f"--selector={selector}")
    conditions = [pod["status"]["conditions"][0] for pod in json.loads(answer)["items"]]
    assert Counter(its["status"] for its in conditions) == {"False": 3, "True": 1}
    assert "as git says, ready: 1" in told(project)["dev"]

    project.run("make", "deploy", "ENVIRONMENT=dev")
    assert "as git says, ready: 1" in told(project)["dev"]


@pytest.mark.parametrize("host", ["github", pytest.param("gitlab", marks=pytest.mark.exhaustive)])
def test_the_pipeline_delivers_what_it_has_published(
    host: str,
    project: Project,
    images: dict[str, str],
    rendered: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """From dev to staging to production; what takes no rows does not come further than dev.

    Production takes nothing that this pipeline has not signed.
    """
    bare = tmp_path / "remote.git"
    project.run("git", "clone", "--quiet", "--bare", str(project.root), str(bare))
    pipeline = project.root
    if host == "gitlab":
        pipeline = rendered(deploy="[kubernetes]", ci="gitlab")
    python = str(project.install(tmp_path / "environment"))
    signer = signing(tmp_path / "signing", host)

    def published(name: str) -> str:
        """Push an image to the registry; gives it by its digest there."""
        there = f"{address}/ada/model:{name}"
        digest = tmp_path / "digest"
        image = images[name].partition("@")[0]
        podman("push", "--quiet", "--tls-verify=false", f"--digestfile={digest}", image, there)
        return f"{address}/ada/model@{digest.read_text()}"

    def sign(image: str) -> None:
        """Do what a job of this pipeline does with an image that it has published."""
        attest = ("attest", image, "--type=slsaprovenance1", "--predicate=-")
        for words in (("sign", image), attest):
            command = [*signer["COSIGN"].split(), *words]
            subprocess.run(command, input="{}", env={**os.environ, **signer}, text=True, check=True)

    def deliver(job: Job) -> subprocess.CompletedProcess[str]:
        """Do what a job does, in a clone of its own."""
        root = Path(tempfile.mkdtemp(dir=tmp_path)) / job.name
        project.run("git", "clone", "--quiet", str(bare), str(root))
        project.run("git", "-C", str(root), "checkout", "--quiet", "--detach")
        own = {
            **project.environment,
            "UV_PROJECT_ENVIRONMENT": python,
            "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
            **signer,
        }
        own.pop("UV_NO_SYNC")
        for step in job.steps:
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", step.script],
                cwd=root,
                env={**own, **step.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode:
                break
        return done

    with registry(tmp_path) as address:
        good, mute = (published(name) for name in ("second", "mute"))
        sign(good)
        for job in delivering(host, pipeline, good):
            done = deliver(job)
            assert done.returncode == 0, done.stdout
        log = project.run("git", "-C", str(bare), "log", "--format=%s", "-3", "main")
        places = [line.removeprefix("Deploy to ").partition(":")[0] for line in log.splitlines()]
        assert places == ["production", "staging", "dev"]
        dev, _, production = delivering(host, pipeline, mute)
        done = deliver(production)
        assert done.returncode == 2
        assert "cosign: no signatures found" in done.stdout
        assert "rolling out" not in done.stdout
        done = deliver(dev)
        assert done.returncode == 2
        assert "The service answers /predict with 501; dev runs" in done.stdout
        assert project.run("git", "-C", str(bare), "log", "--format=%s", "-3", "main") == log
        shown = good.split("sha256:")[1][:12]
        project.run("git", "pull", "--quiet", str(bare), "main")
        assert f"@{shown}" in told(project)["dev"]
        assert "as git says, ready: 1" in told(project)["dev"]


def delivering(host: str, project: Path, image: str) -> list[Job]:
    """The jobs that deploy an image which the pipeline has published, in their order."""
    if host == "github":
        jobs = github(
            project, "push", **{"vars.DEPLOY": "true", "needs.publish.outputs.image": image}
        )
        return [job for job in jobs if job.name != "publish"]
    settings = {
        **dict.fromkeys(("CI_COMMIT_BRANCH", "CI_DEFAULT_BRANCH"), "main"),
        **dict.fromkeys(("CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD"), "ada"),
        "CI_PROJECT_URL": "https://gitlab.com/ada/model",
        "CI_SERVER_URL": "https://gitlab.com",
        **dict.fromkeys(("GITLAB_USER_NAME", "GITLAB_USER_EMAIL", "DEPLOY_TOKEN"), "ada"),
        "CI_PIPELINE_SOURCE": "push",
        "DEPLOY": "true",
        "image": image,
    }
    jobs = list(GitLab(project / ".gitlab-ci.yml", settings).jobs())
    return [job for job in jobs if job.name in {"dev", "staging", "production"}]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((), "ENVIRONMENT is not set: there are canary, dev, production and staging."),
        (("ENVIRONMENT=prod",), "There is no environment prod"),
        (("ENVIRONMENT=staging", "DIGEST=model"), "model is no image with a digest"),
        (("ENVIRONMENT=staging", "VERSION=7"), "staging serves the model in its image"),
    ],
)
def test_a_mistake_is_one_sentence(
    project: Project, images: dict[str, str], given: tuple[str, ...], sentence: str
) -> None:
    del images
    said = project.refuse("make", "deploy", *given, code=2)
    assert f"ops deploy: {sentence}" in said
    assert project.changes() == set()
