"""The pipelines of the image, run step by step: Podman, a registry, an SBOM, and a local key.

cosign's servers and the databases of vulnerabilities are out of reach: docs/decisions says what is
proven in their place.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest
from containers import registry
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from project import Project
from render import ROOT, run
from test_run_ci import work
from workflows import GitHub, GitLab, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workflows import Job

IMAGE = "localhost/of-a-pipeline"
COSIGN = f"{sys.executable} {ROOT / 'tests' / 'stand-ins' / 'cosign.py'}"
SIGNERS = {
    "github": (
        "https://github.com/Ada/Model/.github/workflows/image.yml@refs/heads/main",
        "https://token.actions.githubusercontent.com",
    ),
    "gitlab": (
        "https://gitlab.com/ada/model//.gitlab-ci.yml@refs/heads/main",
        "https://gitlab.com",
    ),
}
"""What certificates say of who signs on each host, and who knows it.

https://docs.sigstore.dev/certificate_authority/oidc-in-fulcio
"""
ON_MAIN = {
    "CI_COMMIT_BRANCH": "main",
    "CI_DEFAULT_BRANCH": "main",
    "CI_PIPELINE_SOURCE": "push",
}
"""What GitLab says of a pipeline that a push to the main branch begins."""


@pytest.fixture(name="registry")
def registry_of_images(tmp_path: Path) -> Iterator[str]:
    """A registry of images on this machine, by its address."""
    with registry(tmp_path) as address:
        yield address


def signing(folder: Path, host: str) -> dict[str, str]:
    """Keep statements in a folder, with a key of its own; gives the variables of a host's job."""
    folder.mkdir()
    (folder / "key").write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
    signer = " ".join(SIGNERS[host])
    return {"COSIGN": COSIGN, "COSIGN_STORE": str(folder), "COSIGN_SIGNER": signer}


def github(project: Path, event: str, **variables: str) -> list[Job]:
    """The jobs of the workflow at an event."""
    contexts = {
        "github.event_name": event,
        "github.ref_name": "main",
        "github.event.repository.default_branch": "main",
        "github.event.pull_request.head.repo.full_name": "Ada/Model",
        "github.repository": "Ada/Model",
        "github.actor": "ada",
        "github.token": "a token",
        "github.server_url": "https://github.com",
        "github.workflow_ref": "Ada/Model/.github/workflows/image.yml@refs/heads/main",
        "github.run_id": "7",
        "needs.publish.outputs.image": f"registry.example.org/model@sha256:{1:064x}",
        **variables,
    }
    return list(GitHub(project / ".github" / "workflows" / "image.yml", contexts).jobs())


def digest(registry: str, name: str, tag: str) -> str:
    """What a registry says that a tag is."""
    request = Request(
        f"http://{registry}/v2/{name}/manifests/{tag}",
        headers={
            "Accept": "application/vnd.docker.distribution.manifest.v2+json,"
            "application/vnd.oci.image.manifest.v1+json"
        },
    )
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(answer.headers["Docker-Content-Digest"])


def test_what_the_main_branch_builds_is_checked_published_and_signed(
    sample: Project, registry: str, tmp_path: Path
) -> None:
    environment = {
        "CI": "true",
        "UV_PROJECT_ENVIRONMENT": str(sample.install(tmp_path / "environment")),
        "IMAGE": IMAGE,
        "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
        **signing(tmp_path / "signing", "github"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GRYPE": "sh -c 'grep --quiet onnxruntime' grype",
    }
    (job,) = github(sample.root, "push")
    steps = [
        replace(
            step,
            variables={
                name: value.replace("ghcr.io", registry) for name, value in step.variables.items()
            },
        )
        for step in job.steps
    ]
    said = work(sample, [replace(job, steps=tuple(steps))], tmp_path, environment)
    assert said.keys() == {"publish"}

    root = tmp_path / "publish"
    commit = sample.run("git", "-C", str(root), "rev-parse", "HEAD").strip()
    published = (root / "build" / "digest").read_text()
    assert digest(registry, "ada/model", commit) == published
    assert (tmp_path / "output").read_text() == f"image={registry}/ada/model@{published}\n"
    listed = json.loads((root / "build" / "sbom.json").read_text())["components"]
    assert {"numpy", "onnxruntime", "base-files"} <= {part["name"] for part in listed}

    name = f"{registry}/ada/model@{published}"
    project = Project(root, {**sample.environment, **environment, "ENGINE": "podman"})
    signer, issuer = SIGNERS["github"]
    verify = ("make", "image-verify", f"DIGEST={name}", f"SIGNER={signer}", f"ISSUER={issuer}")
    project.run(*verify)
    another = (*verify[:3], f"SIGNER={signer}/other", verify[4])
    assert "none of the expected identities matched" in project.refuse(*another, code=2)
    more = (*verify[:2], f"DIGEST={name}; touch more", *verify[3:])
    assert "name the image by its digest" in project.refuse(*more, code=2)
    assert not (root / "more").exists()
    (materials,) = (tmp_path / "signing").glob("*.cyclonedx.org-bom.json")
    attested = json.loads(base64.b64decode(json.loads(materials.read_text())["payload"]))
    assert attested["predicate"]["components"] == listed
    (provenance,) = (tmp_path / "signing").glob("*.slsa.dev-provenance-v1.json")
    envelope = json.loads(provenance.read_text())
    payload = base64.b64decode(envelope["payload"])
    assert json.loads(payload)["predicate"]["buildDefinition"]["resolvedDependencies"] == [
        {"uri": "git+https://github.com/Ada/Model", "digest": {"gitCommit": commit}}
    ]
    forged = payload.replace(commit.encode(), b"0" * 40)
    envelope["payload"] = base64.b64encode(forged).decode()
    provenance.write_text(json.dumps(envelope))
    assert "the signature does not fit" in project.refuse(*verify, code=2)

    checks = project.run("make", "--dry-run", "image-check")
    assert all(its in checks for its in ("run --detach --read-only", "megabytes", "--fail-on"))
    large = project.refuse("make", "image-size", "MOST_MEGABYTES=1", code=2)
    assert "These are more than the 1 that it may have." in large
    vulnerable = project.refuse("make", "image-scan", "GRYPE=sh -c 'exit 1' grype", code=2)
    assert "image-scan" in vulnerable


def test_a_proposed_change_is_checked_and_not_published(rendered: Callable[..., Path]) -> None:
    (job,) = github(rendered(deploy="[kubernetes]"), "pull_request")
    assert [step.script for step in job.steps][-2:] == ["make image", "make image-check"]


def test_gitlab_does_the_same(rendered: Callable[..., Path]) -> None:
    settings = {**ON_MAIN, "CI_REGISTRY_IMAGE": "registry.example.org/ada/model"}
    project = rendered(deploy="[kubernetes]", ci="gitlab")
    jobs = {job.name: job for job in GitLab(project / ".gitlab-ci.yml", settings).jobs()}
    (theirs,) = github(rendered(deploy="[kubernetes]"), "push")
    ours = [its.script.replace("image.env", '"$GITHUB_OUTPUT"') for its in jobs["publish"].steps]
    assert ours == [its.script for its in theirs.steps]
    needed = {"REGISTRY_IMAGE", "REGISTRY_USER", "REGISTRY_PASSWORD", "SOURCE", "RUN", "ENGINE"}
    assert needed <= jobs["publish"].steps[0].variables.keys()
    assert "build" not in jobs


def test_each_environment_waits_for_the_one_before(rendered: Callable[..., Path]) -> None:
    """And production for a person: by the host's environments, or a manual job."""
    names = ["dev", "staging", "production"]
    project = rendered(deploy="[kubernetes]")
    jobs = github(project, "push", **{"vars.DEPLOY": "true"})
    assert [job.name for job in jobs] == ["publish", *names]
    workflow = read(project / ".github" / "workflows" / "image.yml")["jobs"]
    theirs = read(rendered(deploy="[kubernetes]", ci="gitlab") / ".gitlab" / "image.yml")
    before = ["publish"]
    (cloud,) = rendered(deploy="[aws]").glob("src/*/ops/deployment/cloud.py")
    (patience,) = re.findall(r"^    patience = (\d+)$", cloud.read_text(), re.MULTILINE)
    enough = 2 * int(patience) // 60 + 10  # minutes to fail, to go back, and to load
    for name, job in zip(names, jobs[1:], strict=True):
        assert int(workflow[name]["timeout-minutes"]) >= enough
        assert theirs[name]["timeout"] == f"{workflow[name]['timeout-minutes']} minutes"
        assert workflow[name]["needs"] == theirs[name]["needs"] == before
        assert workflow[name]["environment"] == theirs[name]["environment"] == name
        assert (
            job.steps[-1].script == theirs[name]["script"][-1] == f"make deliver ENVIRONMENT={name}"
        )
        before = ["publish", name]
    assert [name for name in names if theirs[name]["rules"][0].get("when")] == ["production"]


def test_what_signs_and_judges_an_image_is_named_by_its_digest(
    rendered: Callable[..., Path],
) -> None:
    """These containers get the pipeline's token, or decide on what is deployed."""
    text = (rendered(deploy="[kubernetes]") / "deploy" / "image.mk").read_text()
    images = re.findall(r"\S+/\S+/\S+:v[\d.]+\S*", text)
    assert len(images) == 2
    assert all(re.search(r":v[\d.]+@sha256:[0-9a-f]{64}$", image) for image in images)


def test_production_takes_what_this_pipeline_has_signed(rendered: Callable[..., Path]) -> None:
    """Each host's asks for the identity that its certificates have, before it deploys."""
    jobs = github(rendered(deploy="[kubernetes]"), "push", **{"vars.DEPLOY": "true"})
    settings = {
        **ON_MAIN,
        "CI_PROJECT_URL": "https://gitlab.com/ada/model",
        "CI_SERVER_URL": "https://gitlab.com",
        "DEPLOY": "true",
    }
    project = rendered(deploy="[kubernetes]", ci="gitlab")
    theirs = {job.name: job for job in GitLab(project / ".gitlab-ci.yml", settings).jobs()}
    production = {"github": jobs[-1], "gitlab": theirs["production"]}
    for host, job in production.items():
        setup, verify, deliver = job.steps
        assert (setup.script, verify.script) == ("make setup", "make image-verify")
        assert (verify.variables["SIGNER"], verify.variables["ISSUER"]) == SIGNERS[host]
        assert verify.variables["DIGEST"] == deliver.variables["DIGEST"]
        assert {"ENGINE", "REGISTRY_USER", "REGISTRY_PASSWORD"} <= verify.variables.keys()


def test_what_was_deployed_reaches_the_branch_beside_what_came_meanwhile(
    rendered: Callable[..., Path], tmp_path: Path
) -> None:
    """`make deploy` commits; others push before and while it does; git holds all of it."""
    git = ("git", "-c", "user.name=ada", "-c", "user.email=ada@example.org")
    person = {
        f"GIT_{who}_{what}": "ada@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    remote, clone, other = tmp_path / "remote.git", tmp_path / "clone", tmp_path / "other"
    run(*git, "init", "--quiet", "--bare", "--initial-branch=main", remote, cwd=tmp_path)
    shutil.copytree(rendered(deploy="[kubernetes]"), clone)
    push = "cd ../other && git commit --quiet --allow-empty --message {} && git push --quiet"
    with (clone / "Makefile").open("a") as menu:
        menu.write(f"deploy:\n\t{push.format('during')}\n")
        menu.write("\tgit commit --quiet --allow-empty --message deployed\n")
    run(*git, "init", "--quiet", "--initial-branch=main", cwd=clone)
    run(*git, "add", "--all", cwd=clone)
    run(*git, "commit", "--quiet", "--message", "begin", cwd=clone)
    run(*git, "remote", "add", "origin", remote, cwd=clone)
    run(*git, "push", "--quiet", "origin", "main", cwd=clone)
    run(*git, "clone", "--quiet", remote, other, cwd=tmp_path)
    run("bash", "-c", push.format("before"), cwd=clone, env={**os.environ, **person})
    run(*git, "checkout", "--quiet", "--detach", cwd=clone)
    environment = {**os.environ, **person, "BRANCH": "main", "TOKEN": "secret"}
    said = run("make", "deliver", "ENVIRONMENT=dev", cwd=clone, env=environment)
    assert "secret" not in said
    log = run(*git, "log", "--format=%s", "main", cwd=remote)
    assert log.split() == ["deployed", "during", "before", "begin"]
