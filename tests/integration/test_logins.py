# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins of every vendor: the page's examples as they are, and what expires or may not be done, against stand-ins of their documented flows."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import shutil
import stat
import time
import typing as t

import pytest
import registries
import yaml
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from vendors import SERVICE_ACCOUNT, Acr, EcrVendor, Gar, Internet, TokenVendor, Vendor

from playbooks import ROOT, Ansible, Run, play_of

PAGE = (ROOT / "docs/logins.md").read_text()
SECRET = "s3cr3t-Pa55w0rd-of-"
ALL = "pull,push,delete"
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
ECR_API = "api.ecr.eu-central-1.amazonaws.com"
KEY = "AKIAIOSFODNN7EXAMPLE"
TEMPORARY = "ASIAIOSFODNN7EXAMPLE"
ACR = "myregistry.azurecr.io"
GAR = "europe-docker.pkg.dev"
ENTRA = SECRET + "entra"


def ecr(**options: t.Any) -> EcrVendor:
    return EcrVendor(ECR, ECR_API, "eu-central-1", {KEY: SECRET + "aws", TEMPORARY: SECRET + "sts"}, {TEMPORARY: SECRET + "session"}, **options)


def ecr_public() -> EcrVendor:
    return EcrVendor("public.ecr.aws", "api.ecr-public.us-east-1.amazonaws.com", "us-east-1", {KEY: SECRET + "aws"})


def acr() -> Acr:
    return Acr(ACR, {("publisher", SECRET + "acr"): ALL}, {ENTRA: ALL})


def gitlab() -> TokenVendor:
    accounts = {("gitlab-ci-token", SECRET + "job"): ALL, ("gitlab+deploy-token-1", SECRET + "deploy"): "pull,push"}
    return TokenVendor("registry.gitlab.com", "https://gitlab.com/jwt/auth", "container_registry", accounts)


def docker_hub() -> TokenVendor:
    accounts = {("example", SECRET + "hub"): ALL}
    answer = {"expires_in": 300, "issued_at": "2026-11-21T11:00:00.123456789Z"}
    return TokenVendor(
        "registry-1.docker.io",
        "https://auth.docker.io/token",
        "registry.docker.io",
        accounts,
        anonymous="pull",
        answer=lambda token: {"token": token, "access_token": token, **answer},
    )


def quay() -> TokenVendor:
    accounts = {("example+publisher", SECRET + "robot"): "pull,push,*", ("$oauthtoken", SECRET + "oauth"): "pull,push,*"}
    # Quay's SCOPE_REGEX: no action but these, and to delete is to push.
    scope = r"repository:[.a-zA-Z0-9_\-/:]+:(?:(?:push|pull|\*),)*(?:push|pull|\*)"
    return TokenVendor("quay.io", "https://quay.io/v2/auth", "quay.io", accounts, anonymous="pull", scope=scope, needed={"DELETE": "push"})


def ghcr() -> TokenVendor:
    return TokenVendor("ghcr.io", "https://ghcr.io/token", "ghcr.io", {("", SECRET + "github"): "pull,push"}, anonymous="pull")


def harbor() -> TokenVendor:
    return TokenVendor(
        "harbor.example.org",
        "https://harbor.example.org/service/token",
        "harbor-registry",
        {("robot$my-project+publisher", SECRET + "harbor"): ALL},
        answer=lambda token: {"token": token, "access_token": token, "expires_in": 1800, "issued_at": "2026-11-21T11:00:00Z"},
    )


def gar() -> Gar:
    return Gar(GAR, SERVICE_ACCOUNT, {SECRET + "gcloud"})


@dataclasses.dataclass
class Example:
    """An example of the page: the vendor, and what is in the environment that it speaks of."""

    vendor: t.Callable[[], t.Any]
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    programs: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


AWS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET + "aws", "AWS_EC2_METADATA_DISABLED": "true"}
EXAMPLES = {
    "docker-hub": Example(docker_hub, {"DOCKER_HUB_TOKEN": SECRET + "hub"}),
    "quay-robot": Example(quay, {"QUAY_ROBOT_TOKEN": SECRET + "robot"}),
    "quay-oauth": Example(quay, {"QUAY_OAUTH_TOKEN": SECRET + "oauth"}),
    "ghcr": Example(ghcr, {"GITHUB_ACTOR": "somebody", "GITHUB_TOKEN": SECRET + "github"}),
    "gitlab-job": Example(gitlab, {"CI_JOB_TOKEN": SECRET + "job"}),
    "gitlab-deploy": Example(gitlab, {"CI_DEPLOY_PASSWORD": SECRET + "deploy"}),
    "harbor": Example(harbor, {"HARBOR_ROBOT_SECRET": SECRET + "harbor"}),
    "ecr-chain": Example(ecr, AWS),
    "ecr-keys": Example(ecr, {"CI_AWS_KEY": TEMPORARY, "CI_AWS_SECRET": SECRET + "sts", "CI_AWS_SESSION": SECRET + "session"}),
    "ecr-password": Example(ecr, programs={"aws ecr get-login-password --region eu-central-1": SECRET + "ready"}),
    "ecr-public": Example(ecr_public, AWS),
    "acr-token": Example(acr, {"ACR_TOKEN_PASSWORD": SECRET + "acr"}),
    "acr-entra": Example(acr, programs={"az account get-access-token --query accessToken --output tsv": ENTRA}),
    "acr-refresh": Example(acr, programs={"az acr login --name myregistry --expose-token --query accessToken --output tsv": SECRET + "refresh"}),
    "gar-key": Example(gar),
    "gar-key-base64": Example(gar),
    "gar-access-token": Example(gar, programs={"gcloud auth print-access-token": SECRET + "gcloud"}),
}


def block(name: str) -> t.Any:
    found = re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, name
    return yaml.safe_load(found[1])


@pytest.fixture
def internet(registry: registries.Server, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[t.Callable[..., Internet]]:
    """Makes the proxy to vendors; at the end none of them may have seen what is in no documentation."""
    made: list[Internet] = []

    def make(*vendors: Vendor) -> Internet:
        made.append(Internet(vendors, registry, tmp_path_factory.mktemp("internet")))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert [violation for one in made for violation in one.violations] == []


def check_secrets(run: Run, net: Internet) -> None:
    """Nothing secret is in what a run of Ansible printed, at -vvv, or returned."""
    text = run.output + run.results.read_text()
    key = SERVICE_ACCOUNT["private_key"].splitlines()[1]
    assert [secret for secret in (SECRET, key, *net.secrets()) if secret in text] == [], text


def install(ansible: Ansible, name: str, text: str) -> None:
    """Put a program on the path of Ansible."""
    programs = ansible.directory / "bin"
    programs.mkdir(exist_ok=True)
    path = programs / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    ansible.environment["PATH"] = f"{programs}:{ansible.environment['PATH'].replace(f'{programs}:', '')}"


def prepare(ansible: Ansible, internet: t.Callable[..., Internet], name: str) -> tuple[t.Any, Internet]:
    """The vendor of an example, and Ansible in the environment that the example speaks of."""
    example = EXAMPLES[name]
    vendor = example.vendor()
    net = internet(vendor)
    ansible.environment.update({**net.environment, **example.environment})
    for command, printed in example.programs.items():
        words = command.split()
        install(ansible, words[0], f"[ \"$*\" = '{' '.join(words[1:])}' ] && echo '{printed}'")
    (ansible.directory / "key.json").write_text(json.dumps(SERVICE_ACCOUNT, indent=2))
    if name == "acr-refresh":
        vendor.refresh[SECRET + "refresh"] = ALL
    if name == "ecr-password":
        vendor.passwords[SECRET + "ready"] = True
    return vendor, net


def repository(vendor: t.Any) -> str:
    host = "docker.io" if vendor.host == "registry-1.docker.io" else vendor.host
    return f"{host}/my-project/app"


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_pages_examples(newest: Ansible, registry: registries.Server, internet: t.Any, name: str) -> None:
    vendor, net = prepare(newest, internet, name)
    digest = registry.api.index("my-project/app", ["rc"])
    given = block(name)["container_registry_credentials"]
    images = [{"repository": repository(vendor), "source": "rc", "tags": ["latest"]}]
    run = newest.task("registry_retag", "-vvv", credentials=given, images=images, retries=0)
    check_secrets(run, net)
    assert run.check().result.get("failed") is not True, run.result
    assert registry.api.digest("my-project/app", "latest") == digest


def test_every_example_of_the_page_is_tested() -> None:
    assert set(re.findall(r"<!-- test: ([a-z0-9-]+) -->", PAGE)) == {*EXAMPLES, "helper"}


def test_a_key_file_of_google_on_every_ansible(ansible: Ansible, registry: registries.Server, internet: t.Any) -> None:
    """Ansible before 2.19 makes a dictionary of it. What of it is no secret, such as the project, stays readable in results."""
    net = prepare(ansible, internet, "gar-key")[1]
    registry.api.index("my-project/app", ["rc"])
    images = [{"repository": f"{GAR}/my-project/app", "source": "rc", "tags": ["latest"]}]
    run = ansible.task("registry_retag", "-vvv", credentials=block("gar-key")["container_registry_credentials"], images=images, retries=0)
    check_secrets(run, net)
    assert run.check().result.get("failed") is not True, run.result
    assert f"{GAR}/my-project/app:latest" in json.dumps(run.result)


def test_the_pages_helper(newest: Ansible, registry: registries.Server, internet: t.Any) -> None:
    """Asked on stdin, and its answer is in no output."""
    net = internet(gar())
    newest.environment.update(net.environment)
    docker = newest.home / ".docker"
    docker.mkdir()
    (docker / "config.json").write_text(json.dumps(block("helper")))
    login = json.dumps({"ServerURL": GAR, "Username": "oauth2accesstoken", "Secret": SECRET + "gcloud"})
    asked = newest.directory / "asked"
    install(newest, "docker-credential-gcloud", f"echo \"$*\" > {asked}; cat >> {asked}; echo '{login}'")
    registry.api.index("my-project/app", ["rc"])
    images = [{"repository": f"{GAR}/my-project/app", "source": "rc", "tags": ["latest"]}]
    run = newest.task("registry_retag", "-vvv", credentials={GAR: {}}, images=images, retries=0)
    check_secrets(run, net)
    assert run.check().result.get("failed") is not True, run.result
    assert asked.read_text() == f"get\n{GAR}"


# -- what expires ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch, internet: t.Any, tmp_path: pathlib.Path) -> t.Callable[..., Internet]:
    """Leads this process to vendors."""

    def lead(*vendors: Vendor, **environment: str) -> Internet:
        net = internet(*vendors)
        for name, value in {**net.environment, **environment, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name, raising=False)
        return t.cast(Internet, net)

    return lead


def digest(client: Client, name: str) -> str | None:
    image = Reference.parse(name)
    found = client.registry(image).resolve(image)
    return found.digest if found else None


@pytest.mark.parametrize("entry", [{}, {"username": KEY, "password": SECRET + "aws"}], ids=["chain", "keys"])
def test_one_login_of_amazon_for_all_repositories_until_it_expires(registry: registries.Server, reach: t.Any, entry: t.Any) -> None:
    vendor = ecr()
    reach(vendor, **(AWS if not entry else {"AWS_EC2_METADATA_DISABLED": "true"}))
    digests = [registry.api.index(f"my-project/app{number}", ["rc"], text=str(number)) for number in range(5)]
    names = [f"{ECR}/my-project/app{number}:rc" for number in range(5)]
    with Client(Credentials({ECR: entry}), ("pull",), retries=0) as client:
        assert client.map(lambda name: digest(client, name), names) == digests
        assert vendor.calls == 1
        vendor.expire()
        assert client.map(lambda name: digest(client, name), names) == digests
        assert vendor.calls == 2


def test_a_login_of_amazon_is_renewed_before_it_expires(registry: registries.Server, reach: t.Any) -> None:
    vendor = ecr()
    vendor.lifetime = 0.2
    net = reach(vendor, **AWS)
    expected = registry.api.index("my-project/app", ["rc"])
    with Client(Credentials({ECR: {}}), ("pull",), retries=0) as client:
        assert digest(client, f"{ECR}/my-project/app:rc") == expected
        time.sleep(0.2)
        assert digest(client, f"{ECR}/my-project/app:rc") == expected
    assert vendor.calls == 2
    # No request was refused: there was a new login in time.
    assert [request.target for request in net.requests if request.host == ECR].count("/v2/my-project/app/manifests/rc") == 2


def test_too_many_logins_at_amazon(registry: registries.Server, reach: t.Any) -> None:
    vendor = ecr()
    vendor.throttle = 2
    reach(vendor, **AWS)
    expected = registry.api.index("my-project/app", ["rc"])
    with Client(Credentials({ECR: {}}), ("pull",), retries=3) as client:
        assert digest(client, f"{ECR}/my-project/app:rc") == expected
    assert vendor.calls == 3


def test_tokens_of_azure_expire(registry: registries.Server, reach: t.Any) -> None:
    vendor = acr()
    reach(vendor)
    expected = registry.api.index("my-project/app", ["rc"])
    with Client(Credentials({ACR: {"api_token": ENTRA}}), ("pull",), retries=0) as client:
        assert digest(client, f"{ACR}/my-project/app:rc") == expected
        vendor.tokens.clear()
        assert digest(client, f"{ACR}/my-project/app:rc") == expected
        assert vendor.exchanges == 1
        vendor.tokens.clear()
        vendor.refresh.clear()
        assert digest(client, f"{ACR}/my-project/app:rc") == expected
        assert vendor.exchanges == 2
        # In the end the user's own token expires too.
        for held in (vendor.tokens, vendor.refresh, vendor.entra):
            held.clear()
        with pytest.raises(ContainersError, match="is to be an access token of Microsoft Entra ID that is not older than an hour"):
            digest(client, f"{ACR}/my-project/app:rc")


@pytest.mark.parametrize("name", ["docker-hub", "quay-robot", "ghcr", "gitlab-job", "harbor", "gar-access-token", "ecr-public"])
def test_tokens_expire(registry: registries.Server, reach: t.Any, name: str) -> None:
    vendor = EXAMPLES[name].vendor()
    reach(vendor, **AWS)
    expected = registry.api.index("my-project/app", ["rc"])
    if name == "gar-access-token":
        entry = {"username": "oauth2accesstoken", "password": SECRET + "gcloud"}
    elif name == "ecr-public":
        entry = {}
    else:
        username, password = next(iter(vendor.accounts))
        entry = {"username": username or "any", "password": password}
    image = f"{repository(vendor)}:rc"
    with Client(Credentials({image.partition("/")[0]: entry}), ("pull", "push"), retries=0) as client:
        assert digest(client, image) == expected
        (vendor.tokens.tokens if name == "ecr-public" else vendor.tokens).clear()
        assert digest(client, image) == expected


def test_an_image_of_the_public_gallery_without_a_login(registry: registries.Server, reach: t.Any) -> None:
    vendor = ecr_public()
    reach(vendor, **AWS)
    expected = registry.api.index("my-project/app", ["rc"])
    with Client(Credentials({}), ("pull",), retries=0) as client:
        assert digest(client, "public.ecr.aws/my-project/app:rc") == expected
    assert vendor.calls == 0


# -- what is refused ---------------------------------------------------------------------------------------------------------------------


def refused(ansible: Ansible, net: Internet, module: str, credentials: t.Any, images: t.Any, **environment: str) -> str:
    """The message of a task that fails at -vvv, in whose output there is nothing secret."""
    ansible.environment.update({**net.environment, **environment})
    run = ansible.task(module, "-vvv", credentials=credentials, images=images, retries=0)
    check_secrets(run, net)
    assert run.result["failed"] is True
    assert len(run.result["msg"].splitlines()) == 1
    return str(run.result["msg"])


RETAG = [{"repository": f"{ECR}/my-project/app", "source": "rc", "tags": ["latest"]}]


@pytest.mark.parametrize(
    ("entry", "environment", "words"),
    [
        ({"username": KEY, "password": SECRET + "aws"}, {}, "ECR answered 400 AccessDeniedException"),
        ({"username": KEY, "password": SECRET + "aws"}, {}, "the AWS credentials need the right ecr:GetAuthorizationToken"),
        ({"username": KEY, "password": SECRET + "wrong"}, {}, "InvalidSignatureException"),
        ({"username": "AKIANOSUCHKEY", "password": SECRET + "wrong"}, {}, "UnrecognizedClientException"),
        ({"username": TEMPORARY, "password": SECRET + "sts", "api_token": SECRET + "old"}, {}, "the temporary AWS credentials have expired, get new ones"),
        ({"username": TEMPORARY, "password": SECRET + "sts"}, {}, "check the access key ID, its secret, the session token (api_token)"),
        (
            {},
            {**AWS, "AWS_ACCESS_KEY_ID": TEMPORARY, "AWS_SECRET_ACCESS_KEY": SECRET + "sts", "AWS_SESSION_TOKEN": SECRET + "old"},
            "have expired, get new ones",
        ),
        ({}, {"AWS_EC2_METADATA_DISABLED": "true"}, "no AWS credentials were found"),
        ({"username": "AWS", "password": SECRET + "none"}, {}, "answered 401: check username and password"),
    ],
)
def test_amazon_refuses(reach: t.Any, entry: t.Any, environment: dict[str, str], words: str) -> None:
    vendor = ecr()
    vendor.denied.add(KEY)
    reach(vendor, **{"AWS_EC2_METADATA_DISABLED": "true", **environment})
    message = refusal(ECR, entry)
    assert words in message


def refusal(host: str, entry: t.Any) -> str:
    """The message of a request that fails, in one line and with nothing secret."""
    with Client(Credentials({host: entry}), ("pull",), retries=0) as client, pytest.raises(ContainersError) as caught:
        digest(client, f"{host}/my-project/app:rc")
    message = str(caught.value)
    assert SECRET not in message
    assert len(message.splitlines()) == 1
    return message


def test_amazon_refuses_with_a_log(newest: Ansible, internet: t.Any) -> None:
    """The session token of the machine, which AWS writes into its answers, is nowhere."""
    vendor = ecr()
    log = newest.directory / "log"
    environment = {**AWS, "AWS_ACCESS_KEY_ID": TEMPORARY, "AWS_SECRET_ACCESS_KEY": SECRET + "sts", "AWS_SESSION_TOKEN": SECRET + "old"}
    message = refused(newest, internet(vendor), "registry_retag", {ECR: {}}, RETAG, ANSIBLE_LOG_PATH=str(log), **environment)
    assert 'ExpiredTokenException "The security token ******** included in the request is expired"' in message
    assert "registry_retag" in log.read_text()
    assert SECRET not in log.read_text()


def test_amazon_says_that_a_given_login_has_expired(newest: Ansible, internet: t.Any) -> None:
    vendor = ecr()
    vendor.passwords[SECRET + "ready"] = False
    message = refused(newest, internet(vendor), "registry_retag", {ECR: {"username": "AWS", "password": SECRET + "ready"}}, RETAG)
    assert "answered 403" in message


def test_without_botocore(newest: Ansible, internet: t.Any) -> None:
    hidden = newest.directory / "hidden"
    hidden.mkdir()
    (hidden / "botocore.py").write_text("raise ImportError('hidden')\n")
    net = internet(ecr())
    entry = {"username": KEY, "password": SECRET + "aws"}
    message = refused(newest, net, "registry_retag", {ECR: entry}, RETAG, PYTHONPATH=str(hidden))
    assert "needs the Python library botocore, which is not installed: run 'pip install botocore'" in message
    assert [request for request in net.requests if request.host == ECR_API] == []


@pytest.mark.parametrize(
    ("vendor", "entry", "words"),
    [
        (acr, {"api_token": SECRET + "expired"}, 'answered 401 UNAUTHORIZED "AAD access token ******** is expired or not valid"'),
        (acr, {"username": "publisher", "password": SECRET + "wrong"}, "answered 401 UNAUTHORIZED"),
        (gar, {"username": "oauth2accesstoken", "password": SECRET + "expired"}, "answered 401 UNAUTHORIZED"),
        (gar, {"username": "_json_key", "password": json.dumps({**SERVICE_ACCOUNT, "private_key_id": "revoked"})}, "answered 401 UNAUTHORIZED"),
        (docker_hub, {"username": "example", "password": SECRET + "revoked"}, "to the login 'example': check username and password for docker.io"),
        (harbor, {"username": "robot$my-project+publisher", "password": SECRET + "wrong"}, "to the login 'robot$my-project+publisher'"),
        (gitlab, {"username": "gitlab-ci-token", "password": SECRET + "over"}, "to the login 'gitlab-ci-token'"),
        (ghcr, {"username": "somebody", "password": SECRET + "wrong"}, "to the login 'somebody'"),
        (quay, {"username": "$oauthtoken", "password": SECRET + "wrong"}, "to the login '$oauthtoken'"),
    ],
)
def test_others_refuse(reach: t.Any, vendor: t.Any, entry: t.Any, words: str) -> None:
    made = vendor()
    reach(made)
    message = refusal(repository(made).partition("/")[0], entry)
    assert words in message
    assert SERVICE_ACCOUNT["private_key"].splitlines()[1] not in message


def test_azure_refuses(newest: Ansible, internet: t.Any) -> None:
    images = [{"repository": f"{ACR}/my-project/app", "source": "rc", "tags": ["latest"]}]
    message = refused(newest, internet(acr()), "registry_retag", {ACR: {"api_token": SECRET + "expired"}}, images)
    assert 'answered 401 UNAUTHORIZED "AAD access token ******** is expired or not valid"' in message


def test_a_deploy_token_cannot_remove_tags(newest: Ansible, registry: registries.Server, internet: t.Any) -> None:
    """GitLab's token server grants less than was asked for, without a word."""
    registry.api.index("my-project/app", ["rc", "latest"])
    before = registry.api.state("my-project/app")
    entry = {"username": "gitlab+deploy-token-1", "password": SECRET + "deploy"}
    images = [{"repository": "registry.gitlab.com/my-project/app", "tags": ["rc"]}]
    message = refused(newest, internet(gitlab()), "registry_untag", {"registry.gitlab.com": entry}, images)
    assert "the login for registry.gitlab.com needs the right to do this" in message
    assert registry.api.state("my-project/app") == before


def test_who_may_only_pull_cannot_retag(newest: Ansible, registry: registries.Server, internet: t.Any) -> None:
    registry.api.index("my-project/app", ["rc"])
    vendor = acr()
    vendor.accounts["reader", SECRET + "reader"] = "pull"
    images = [{"repository": f"{ACR}/my-project/app", "source": "rc", "tags": ["latest"]}]
    message = refused(newest, internet(vendor), "registry_retag", {ACR: {"username": "reader", "password": SECRET + "reader"}}, images)
    assert f"the login for {ACR} needs the right to do this" in message
    assert registry.api.tags("my-project/app") == ["rc"]


# -- container tools -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ecr-chain", "ecr-keys", "ecr-public", "acr-entra", "acr-refresh", "gar-key", "quay-robot"])
def test_podman_uploads(newest: Ansible, registry: registries.Server, internet: t.Any, podman: dict[str, str], name: str) -> None:
    """The tool gets the login that the user's was exchanged for."""
    vendor, net = prepare(newest, internet, name)
    newest.environment.update(podman)
    (newest.directory / "app").mkdir()
    shutil.copy("/bin/busybox", newest.directory / "app" / "busybox")
    (newest.directory / "app" / "Containerfile").write_text("FROM scratch\nCOPY busybox /bin/\n")
    given = block(name)["container_registry_credentials"]
    host = next(iter(given))
    given[host]["ca_cert"] = str(net.ca)
    variables = {
        "container_images": [{"context": "app", "repository": repository(vendor)}],
        "container_registry_credentials": given,
        "zuul_work_dir": str(newest.directory),
    }
    run = newest.play("-vvv", playbook=play_of("build_container_image", "upload_container_image"), variables=variables)
    assert [secret for secret in (SECRET, *net.secrets()) if secret in run.output] == []
    run.check()
    assert registry.api.tags("my-project/app") == ["staged_latest"]
    assert any(request.headers.get("user-agent", "").startswith("containers/") and request.method == "PUT" for request in net.requests)
