"""Terraform's files for AWS, applied and taken away as docs/ops/aws.md says, against moto."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import yaml
from containers import until
from documents import commands
from render import ROOT, run
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TERRAFORM = ROOT / "tests" / "terraform"
MOTO = "moto[server]==5.2.5"
NAME = "my-company-my-model"
"""What the page calls the project."""
ACCOUNT = "123456789012"
IMAGE = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/{NAME}@sha256:"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A cloud that listens on this machine; gives the variables that lead Terraform to it."""
    port = str(free_port())
    command = ["uv", "run", "--quiet", "--no-project", "--with", MOTO, "python"]
    with (tmp_path / "moto.log").open("w") as log:
        process = subprocess.Popen(
            [*command, str(TERRAFORM / "amazon.py"), "-p", port],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(lambda: urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=10))
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "of-a-test",
            "AWS_SECRET_ACCESS_KEY": "of-a-test",
            "AWS_REGION": "eu-central-1",
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_ARGS_apply": "-auto-approve",
            "TF_CLI_ARGS_destroy": "-auto-approve",
            "TF_INPUT": "false",
            **mirror(tmp_path),
        }
    finally:
        process.terminate()
        process.wait(30)


def mirror(folder: Path) -> dict[str, str]:
    """Where Terraform finds its provider, if it lies on this machine."""
    for found in Path("/").glob("*/*/registry.terraform.io"):
        settings = folder / "terraform.tfrc"
        settings.write_text(
            "provider_installation {\n  filesystem_mirror {\n"
            f'    path = "{found.parent}"\n'
            "  }\n}\n"
        )
        return {"TF_CLI_CONFIG_FILE": str(settings)}
    return {}


@pytest.fixture
def project(rendered: Callable[..., Path], tmp_path: Path) -> Path:
    """A project on GitHub, with the settings of the page."""
    return settled(rendered(deploy="[aws]"), tmp_path / "project")


def settled(source: Path, folder: Path) -> Path:
    """A copy of a render with the settings that the page writes, and a row to ask with."""
    shutil.copytree(source, folder)
    aws = folder / "deploy" / "aws"
    foundation, endpoint, backend = re.findall(
        r"^```hcl\n(.*?)^```$", (folder / "docs/ops/aws.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (aws / "foundation" / "project.auto.tfvars").write_text(foundation)
    (aws / "endpoint" / "project.auto.tfvars").write_text(endpoint)
    (aws / "endpoint" / "project.tfbackend").write_text(backend)
    (folder / "deploy" / "row.json").write_text("{}")
    return folder


def commit(project: Path) -> None:
    """Let git hold everything."""
    for command in ("init --quiet", "add --all", "commit --quiet --message begin"):
        run("git", *command.split(), cwd=project)


def documented(project: Path, beginning: str) -> str:
    """The one command of the page that begins so."""
    page = (project / "docs" / "ops" / "aws.md").read_text()
    found = [*dict.fromkeys(its for its in commands(page) if its.startswith(beginning))]
    assert len(found) == 1, found
    return found[0]


def signed(where: str) -> dict[str, str]:
    """How a client of a service in a region signs; moto looks at no more than that."""
    scope = f"of-a-test/20260101/{where}/aws4_request"
    return {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    }


def ask(cloud: Mapping[str, str], target: str, **body: str) -> dict[str, Any]:
    """Call SageMaker, as its clients do."""
    request = Request(  # noqa: S310  it is ours
        cloud["AWS_ENDPOINT_URL"],
        json.dumps(body).encode(),
        {
            "X-Amz-Target": f"SageMaker.{target}",
            "Content-Type": "application/x-amz-json-1.1",
            **signed("eu-central-1/sagemaker"),
        },
    )
    with urlopen(request, timeout=30) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found


def served(cloud: Mapping[str, str], endpoint: str) -> str:
    """The image that an endpoint runs."""
    configuration = ask(cloud, "DescribeEndpoint", EndpointName=endpoint)["EndpointConfigName"]
    (variant,) = ask(cloud, "DescribeEndpointConfig", EndpointConfigName=configuration)[
        "ProductionVariants"
    ]
    model = ask(cloud, "DescribeModel", ModelName=variant["ModelName"])
    return str(model["PrimaryContainer"]["Image"])


def policies(cloud: Mapping[str, str], role: str) -> str:
    """Who may take a role, and what it may, as AWS keeps them."""
    asked = {"RoleName": f"{NAME}-{role}", "PolicyName": role, "Version": "2010-05-08"}
    text = ""
    for action in ("GetRole", "GetRolePolicy"):
        body = urlencode({"Action": action, **asked}).encode()
        request = Request(cloud["AWS_ENDPOINT_URL"], body, signed("us-east-1/iam"))  # noqa: S310
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            text += answer.read().decode()
    return re.sub(r"%[0-9A-F]{2}", lambda code: chr(int(code[0][1:], 16)), text)


@contextmanager
def beside(command: str, project: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A command that runs beside the block, and must end well."""
    with subprocess.Popen(
        command.split(),
        cwd=project,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield
            said, _ = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 0, said


def test_what_the_page_says_makes_and_changes_and_takes_away(
    project: Path, cloud: dict[str, str]
) -> None:
    environment = {**os.environ, **cloud}

    def do(command: str) -> str:
        return run(*shlex.split(command), cwd=project, env=environment)

    def ops(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "my_model.ops.cli", *arguments],
            cwd=project,
            env={**environment, "PYTHONPATH": str(project / "src")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def agrees(part: str, *options: str) -> None:
        """A difference between the files and what is there would end with 2."""
        do(f"terraform -chdir=deploy/aws/{part} plan -detailed-exitcode {' '.join(options)}")

    do(documented(project, "terraform -chdir=deploy/aws/foundation init"))
    commit(project)
    with beside(
        documented(project, "terraform -chdir=deploy/aws/foundation apply"), project, environment
    ):
        bucket = f"{cloud['AWS_ENDPOINT_URL']}/{NAME}"
        until(lambda: urlopen(bucket, timeout=10))  # noqa: S310
        assert "dev runs" in ops("deploy", "dev", "--image", IMAGE + "a" * 64)
        assert served(cloud, f"{NAME}-dev") == IMAGE + "a" * 64
        commit(project)  # the versions of Terraform's providers
        agrees("endpoint", "-var=environment=dev")
        said = ops("deploy", "dev", "--image", f"{IMAGE}bad{'0' * 61}", code=3)
        assert re.search(
            "The service does not answer: 'model_version'; dev runs .*@aaaa.* again", said
        )
        assert served(cloud, f"{NAME}-dev") == IMAGE + "a" * 64
        assert re.search("as git says, ready: 1, version: 7\n", ops("deployed", "dev"))
        ops("deploy", "dev", "--image", IMAGE + "b" * 64)
        assert served(cloud, f"{NAME}-dev") == IMAGE + "b" * 64
        assert "dev runs" in ops("deploy", "dev", "--rollback")
        assert served(cloud, f"{NAME}-dev") == IMAGE + "a" * 64
    agrees("foundation")
    do(f"bash -c '{documented(project, 'terraform -chdir=deploy/aws/foundation output')}'")
    names = re.findall(r"^STORAGE_\w+ = \S+$", (project / "storage.mk").read_text(), re.MULTILINE)
    role = f"arn:aws:iam::{ACCOUNT}:role/{NAME}"
    assert names == [
        f"STORAGE_READER = {role}-read",
        f"STORAGE_WRITER = {role}-retrain",
        "STORAGE_REALM = eu-central-1",
    ]

    production = policies(cloud, "production")
    assert '"repo:my-company/my-model:environment:production"' in production
    assert f":endpoint/{NAME}-production*" in production
    assert f"{NAME}-dev" not in production
    subjects = ("pull_request", "ref:refs/heads/main")
    assert [f"repo:my-company/my-model:{it}" in policies(cloud, "read") for it in subjects] == [
        True
    ] * 2
    page = (ROOT / "template" / "docs" / "ops" / "storage.md").read_text()
    policy = page.split("```json\n")[-1].partition("```")[0].replace("OWNER", "my-company")
    trust = json.loads(policy.replace("HOST", "token.actions.githubusercontent.com"))
    text = policies(cloud, "read").replace("my-model", "NAME")
    made, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    told, there = (its["Statement"][0] for its in (trust, made))
    assert all(told[part] == there[part] for part in ("Action", "Condition", "Effect"))
    assert "pull_request" not in policies(cloud, "retrain")
    assert "PutObject" not in policies(cloud, "read")
    assert "*" not in re.findall(r'"Action": ?"([^"]+)"', production)

    do(documented(project, "terraform -chdir=deploy/aws/endpoint destroy"))
    assert ask(cloud, "ListEndpoints") == {"Endpoints": []}
    assert ask(cloud, "ListModels") == {"Models": []}


def test_terraforms_own_tests_pass(project: Path, cloud: dict[str, str]) -> None:
    """An image by its tag is refused; the model comes from the registry, if there is one."""
    endpoint = project / "deploy" / "aws" / "endpoint"
    shutil.copy(TERRAFORM / "endpoint.tftest.hcl", endpoint)
    states = project / "deploy" / "state"
    states.mkdir()
    for name, image in {"dev": f"{IMAGE}{1:064x}", "staging": "my-model:latest"}.items():
        (states / f"{name}.yaml").write_text(f"image: {image}\nmodel: 7\n")
    terraform = ("terraform", f"-chdir={endpoint}")
    environment = {**os.environ, **cloud}
    run(*terraform, "init", "-backend=false", cwd=project, env=environment)
    assert "3 passed, 0 failed" in run(
        *terraform, "test", "-no-color", cwd=project, env=environment
    )


def test_gitlab_shows_tokens_of_its_own(
    rendered: Callable[..., Path], cloud: dict[str, str], tmp_path: Path
) -> None:
    """For its own address in every job, which is the audience that AWS takes."""
    project = settled(rendered(deploy="[aws]", ci="gitlab", storage="s3"), tmp_path / "gitlab")
    audiences = Counter(
        found
        for file in sorted(project.glob(".gitlab/*.yml"))
        for found in re.findall(r"ID_TOKEN:(?: #.*)?\n +aud: (\S+)", file.read_text())
    )
    assert audiences.pop("sigstore") == 1
    assert set(audiences) == {"$CI_SERVER_URL"}
    jobs = yaml.safe_load((project / ".gitlab" / "image.yml").read_text())
    assert jobs.keys() == {"build", "publish", "dev", "staging", "production"}
    assert all("ID_TOKEN" in job["id_tokens"] for job in jobs.values())
    foundation = project / "deploy" / "aws" / "foundation"
    shutil.copy(TERRAFORM / "foundation.tftest.hcl", foundation)
    terraform = ("terraform", f"-chdir={foundation}")
    environment = {**os.environ, **cloud}
    run(*terraform, "init", cwd=project, env=environment)
    assert "2 passed, 0 failed" in run(
        *terraform, "test", "-no-color", cwd=project, env=environment
    )


def test_the_files_are_formatted() -> None:
    run("terraform", "fmt", "-check", "-recursive", "template/deploy", "tests/terraform", cwd=ROOT)


def test_what_is_declared_is_used() -> None:
    """As tflint would ask: variables, locals and data that somebody reads, and typed variables."""
    for part in ("foundation", "endpoint"):
        files = sorted((ROOT / "template" / "deploy" / "aws" / part).glob("*.tf"))
        text = "".join(re.sub(r"(?m)^\s*#.*$", "", it.read_text()) for it in files)
        names = {f"var.{it}" for it in re.findall(r'(?m)^variable "(\w+)"', text)}
        names |= {f"data.{'.'.join(it)}" for it in re.findall(r'(?m)^data "(\w+)" "(\w+)"', text)}
        for block in re.findall(r"(?ms)^locals \{\n(.*?)^\}", text):
            names |= {f"local.{it}" for it in re.findall(r"(?m)^  (\w+) +=", block)}
        assert {it for it in names if not re.search(rf"\b{re.escape(it)}\b", text)} == set()
        variables = re.findall(r'(?ms)^variable "\w+" \{\n(.*?)^\}', text)
        assert len(variables) >= 5
        assert all(re.search(r"(?m)^  type +=", it) for it in variables)
