# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes on their way through a real Zuul: check, gate, merge, promotion. The configuration is that of docs/zuul.md."""

from __future__ import annotations

import base64
import datetime
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import typing as t

import pytest
import yaml
from artifacts import check, push
from proxy import Proxy
from registries import Api, Server, make_certificate, start_docker_registry, start_zuul_registry
from zuul_site import Site, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
ZUUL = pathlib.Path(os.environ["GATING_TEST_ZUUL"])
ANSIBLE = pathlib.Path(os.environ["GATING_TEST_ZUUL_ANSIBLE"])
WHEEL = "ansible-collection-gating-containers"
VERSIONS = ["9", "11"]
#: The ways in which the jobs' playbooks find the collection.
WAYS = ["link", "vendored", "wheel"]
PREFIX = {"link": "", "vendored": "vendored-", "wheel": "wheel-"}
CONTAINERFILE = "FROM scratch\nCOPY content /\n"


def blocks() -> dict[str, str]:
    """The examples of the page, by their names."""
    text = (ROOT / "docs/zuul.md").read_text()
    return dict(re.findall(r"<!-- test: ([\w-]+) -->\n```yaml\n(.*?)```", text, re.DOTALL))


BASE = """
- job:
    name: base
    parent: null
    nodeset:
      nodes: []
    attempts: 1
    # Debian 12's podman does not run in a sandbox.
    vars:
      container_command: buildah
    post-run: playbooks/base/post.yaml
    timeout: 300

- project:
    name: config
    post:
      jobs: []
"""
# What a site's base job does: it keeps the logs.
POST = """
- hosts: localhost
  gather_facts: false
  tasks:
    - shell: |
        mkdir {logs}/{{{{ zuul.build }}}}
        cp -a {{{{ zuul.executor.log_root }}}}/. {{{{ zuul.executor.work_root }}}}/results.json {logs}/{{{{ zuul.build }}}}/
"""


def tracked() -> list[str]:
    names = run("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted({name for name in names if name and (ROOT / name).is_file() and not name.startswith("playbooks/collections/")})


def contents(*prefixes: str) -> dict[str, str]:
    """Files of this repository."""
    return {name: (ROOT / name).read_text() for name in tracked() if name.startswith(prefixes)}


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """Where images are published, with a password."""
    server = start_docker_registry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, pathlib.Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def intermediate(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[pathlib.Path, pathlib.Path]) -> t.Iterator[Server]:
    server = start_zuul_registry(tmp_path_factory.mktemp("intermediate"), os.environ["GATING_TEST_ZUUL_REGISTRY"], certificate)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def site() -> t.Iterator[Site]:
    directory = pathlib.Path(tempfile.mkdtemp(prefix="gating-zuul-"))
    directory.chmod(0o755)
    made = Site(directory, ZUUL, ANSIBLE)
    made.commit(
        "git/config", {"zuul.d/jobs.yaml": BASE, "zuul.d/pipelines.yaml": blocks()["zuul-pipelines"], "playbooks/base/post.yaml": POST.format(logs=made.logs)}
    )
    link = {"playbooks/collections/ansible_collections/gating/containers": pathlib.Path("../../../..")}
    everything = contents("")
    made.commit("git/gating/containers", {**everything, **link})
    jobs = everything["zuul.d/jobs.yaml"]
    playbooks = contents("playbooks/")
    parts = contents("galaxy.yml", "meta/", "plugins/", "roles/")
    vendored = {f"playbooks/collections/ansible_collections/gating/containers/{name}": text for name, text in parts.items()}
    for way, more in (("vendored", vendored), ("wheel", {})):
        names = re.sub(r"(name|parent): (\w+-container-images?)", rf"\1: {PREFIX[way]}\2", jobs)
        made.commit(f"git/{way}", {"zuul.d/jobs.yaml": names, "zuul.d/project.yaml": everything["zuul.d/project.yaml"], **playbooks, **more})
    (example,) = yaml.safe_load(blocks()["zuul-tenant"])
    made.tenant["source"] = {"git": example["tenant"]["source"]["git.example.org"], "gerrit": {"untrusted-projects": []}}
    # The project of the example is at the other server.
    made.tenant["source"]["git"]["untrusted-projects"][-1:] = [{name: {"include": ["job", "project"]}} for name in ("vendored", "wheel")]
    # A repository with jobs of the same names, and others, as zuul-jobs has.
    theirs = re.findall(r"name: (\w+-container-images?)", jobs) + ["another-job"]
    made.commit("git/zuul/zuul-jobs", {"zuul.d/jobs.yaml": yaml.safe_dump([{"job": {"name": name, "run": "gone.yaml"}} for name in theirs])})
    shadowed = yaml.safe_load(blocks()["zuul-shadow"])["untrusted-projects"]
    listed = made.tenant["source"]["git"]["untrusted-projects"]
    assert shadowed[0] == listed[0]
    listed[1:1] = shadowed[1:]
    for version in VERSIONS:
        subprocess.run([ANSIBLE / version / "bin/pip", "uninstall", "--quiet", "--yes", WHEEL], check=True, capture_output=True)
        for name in PROJECTS:
            made.commit(f"gerrit/{name}{version}", {"content": "0\n"})
            made.tenant["source"]["gerrit"]["untrusted-projects"].append(f"{name}{version}")
    try:
        made.start()
        yield made
    finally:
        made.stop()
        if os.environ.get("GATING_TEST_KEEP"):
            print(f"kept: {directory}")
        else:
            shutil.rmtree(directory)


#: Each has two projects, one for each version of Ansible.
PROJECTS = ["link", "vendored", "wheel", "intermediate", "release", "mirror", "leak", "order", "handover"]


class Project:
    """A project of the site, with its own jobs.

    :param name: of the project, with the version of Ansible at its end.
    """

    def __init__(self, site: Site, registry: Server, name: str, version: str) -> None:
        self.site = site
        self.registry = registry
        self.name = f"{name}{version}"
        self.version = version
        self.configuration = ""

    def configure(self, *parts: str, way: str = "link", replacements: t.Mapping[str, str] | None = None, files: t.Mapping[str, str] | None = None) -> None:
        """Let the project have a configuration.

        :param parts: examples of the page, or other configuration.
        :param replacements: made in each part, after those that all tests make.
        :param files: further files of the project.
        """
        examples = blocks()
        text = "\n".join(examples.get(part, part) for part in parts)
        password = self.site.encrypt(f"gerrit/{self.name}", self.registry.password)
        text = re.sub(r"password: !encrypted/pkcs1-oaep\n +- \.\.\.", f"password: {password}", text)
        text = text.replace("^quay\\.io", "^" + re.escape(self.registry.name)).replace("quay.io", self.registry.name)
        text = text.replace("https://zuul.example.org/api/tenant/example", self.site.api)
        text = re.sub(r"\bexample-", f"{self.name}-", text).replace("/example/", f"/{self.name}/")
        text = re.sub(r"parent: (\w+-container-images?)", rf"parent: {PREFIX[way]}\1\n    ansible-version: '{self.version}'", text)
        for old, new in (replacements or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        self.configuration = text
        self.site.commit(f"gerrit/{self.name}", {".zuul.yaml": text, "Containerfile": CONTAINERFILE, **(files or {})})

    @property
    def path(self) -> str:
        """Its image, at the registry."""
        return f"{self.name}/app"

    def state(self) -> dict[str, str]:
        """What each tag names."""
        return {name.partition(":")[2]: str(digest) for name, digest in self.registry.api.state(self.path).items()}

    def propose(self, content: str, **files: str) -> str:
        return self.site.propose(self.name, {"content": f"{content}\n", **files})

    def build(self, change: str, pipeline: str, number: int = 1, result: str = "SUCCESS", job: str = "") -> dict[str, t.Any]:
        """A build of a change, when it has ended as it should."""
        build = self.site.build(number, change=change, pipeline=pipeline, **({"job_name": job} if job else {}))
        assert build["result"] == result, f"{build}\n{self.site.log(build)}"
        return build

    def enqueue(self, change: str, pipeline: str = "promote") -> None:
        """Do what an operator does who wants a pipeline to run for a change."""
        self.site.client("enqueue", "--tenant", "acme", "--pipeline", pipeline, "--project", f"gerrit/{self.name}", "--change", f"{change},1")

    def gate(self, change: str) -> dict[str, t.Any]:
        """Approve a change, and wait for its merge; the build of the gate."""
        self.site.approve(change)
        build = self.build(change, "gate")
        self.site.wait(f"the merge of {change}", lambda: self.site.is_merged(change))
        return build


@pytest.fixture(scope="session")
def projects(
    site: Site, registry: Server, upstream: Upstream, intermediate: Server, buildsets: list[Server], certificate: tuple[pathlib.Path, pathlib.Path]
) -> dict[str, Project]:
    """All projects by their names, configured. Zuul reads it all at once, which takes it a while."""
    made = {}
    for version in VERSIONS:
        named = {name: Project(site, registry, name, version) for name in PROJECTS}
        for way in WAYS:
            named[way].configure("zuul-secret", "zuul-by-tag", way=way)
        parts = ("zuul-secret", "zuul-intermediate-secret", "zuul-by-intermediate-registry")
        named["intermediate"].configure(*parts, replacements=reached(intermediate, certificate))
        named["release"].configure("zuul-secret", "zuul-release")
        named["mirror"].configure("zuul-secret", "zuul-mirror", replacements={"docker.io/library/": f"{upstream.proxy.name}/library/"})
        named["leak"].configure("zuul-secret", "zuul-by-tag", VERIFY, files={"verify.yml": VERIFY_PLAYBOOK})
        configure_order(named["order"])
        configure_handover(named["handover"], intermediate, buildsets, certificate)
        made.update({project.name: project for project in named.values()})
    site.reconfigure()

    def known() -> bool:
        # zuul-web learns of it later than the scheduler.
        jobs = {job["name"] for job in site.get("jobs")}
        return bool(site.get("config-errors")) or all(any(job.startswith(f"{name}-") for job in jobs) for name in made)

    site.wait("the jobs", known)
    errors = site.get("config-errors")
    assert not errors, json.dumps(errors, indent=1)
    assert "another-job" in {job["name"] for job in site.get("jobs")}
    return made


class Upstream:
    """A registry to mirror from: the other one, as everybody may read it.

    :ivar flows: set while blobs are given.
    """

    def __init__(self, registry: Server) -> None:
        self.flows = threading.Event()
        login = "Basic " + base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
        self.proxy = Proxy(registry.port, registry.host, self._hold, authorization=login)

    def _hold(self, method: str, path: str, dummy: bytes) -> None:
        if method == "GET" and "/blobs/" in path:
            assert self.flows.wait(60)


@pytest.fixture(scope="session")
def upstream(registry: Server) -> t.Iterator[Upstream]:
    made = Upstream(registry)
    yield made
    made.proxy.close()


@pytest.fixture(scope="session")
def buildsets(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[pathlib.Path, pathlib.Path]) -> t.Iterator[list[Server]]:
    """What would be registries of two buildsets."""
    servers = [start_docker_registry(tmp_path_factory.mktemp("buildset"), tls=certificate) for dummy in range(2)]
    yield servers
    for server in servers:
        server.stop()


def configure_order(project: Project) -> None:
    """Promotions by hand, and a job that does nothing."""
    by_hand = {f"    promote:\n      jobs: [{project.name}-promote-image]\n": BY_HAND.replace("example-", f"{project.name}-")}
    empty = EMPTY.replace("VERSION", project.version)
    project.configure("zuul-secret", "zuul-by-tag", empty, replacements=by_hand, files={"empty.yml": NOTHING})


def configure_handover(project: Project, intermediate: Server, buildsets: list[Server], certificate: tuple[pathlib.Path, pathlib.Path]) -> None:
    """Jobs with registries of their buildsets, as the role run-buildset-registry of zuul-jobs would return them."""
    names = [f"{project.name}-{name}" for name in ("intermediate", "first", "second")]
    parts = []
    for name, server in zip(names, (intermediate, *buildsets)):
        part = blocks()["zuul-intermediate-secret"].replace("example-intermediate", name)
        for old, new in reached(server, certificate).items():
            part = part.replace(old, new)
        parts.append(part)
    given = "    secrets:\n      - name: intermediate_registry\n"
    more = "    secrets:\n      - name: buildset_registry\n        secret: {}\n        pass-to-parent: true\n      - name: intermediate_registry\n"
    build, use = blocks()["zuul-handover"].split("- job:\n    name: example-use-image")
    parts.append(build.replace(given, more.format(names[1])) + "- job:\n    name: example-use-image" + use.replace(given, more.format(names[2])))
    paths = {"push": "push_to_intermediate_registry", "pull": "pull_from_intermediate_registry"}
    playbooks = {f"playbooks/{name}.yml": (ROOT / f"playbooks/{path}.yml").read_text() for name, path in paths.items()}
    version_of = {"    run: playbooks/use.yml\n": f"    run: playbooks/use.yml\n    ansible-version: '{project.version}'\n"}
    project.configure(*parts, way="wheel", replacements=version_of, files={**playbooks, "playbooks/use.yml": NOTHING})


def seconds(log: str, phase: str) -> float:
    """How long the playbooks of a phase took."""
    times = [datetime.datetime.fromisoformat(line[:26]) for line in log.splitlines() if re.search(rf"\| {phase} (START|END)", line)]
    return (times[-1] - times[0]).total_seconds()


@pytest.fixture
def wheel(request: pytest.FixtureRequest) -> t.Iterator[None]:
    """The collection as a wheel in Zuul's environments of Ansible, if the test is of that way; in no other."""
    if request.getfixturevalue("way") != "wheel":
        yield
        return
    with tempfile.TemporaryDirectory() as index:
        run(str(ZUUL / "bin/pip"), "wheel", "--quiet", "--no-deps", "--wheel-dir", index, str(ROOT))
        # Zuul's own look whether it has all that it was told to install; it looks for its environments here too.
        program = (
            "import logging; logging.disable(); from zuul.lib.ansible import AnsibleManager;"
            f"zuul = AnsibleManager(runtime_install_root={str(ANSIBLE)!r}); print(all(map(zuul._validate_packages, {VERSIONS})))"
        )
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "ANSIBLE_EXTRA_PACKAGES": WHEEL, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": index}
        before = run(str(ZUUL / "bin/python"), "-c", program, env=environment)
        for version in VERSIONS:
            run(str(ANSIBLE / version / "bin/pip"), "install", "--quiet", WHEEL, env=environment)
        assert (before, run(str(ZUUL / "bin/python"), "-c", program, env=environment)) == ("False\n", "True\n")
    yield
    for version in VERSIONS:
        run(str(ANSIBLE / version / "bin/pip"), "uninstall", "--quiet", "--yes", WHEEL)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
def test_a_change_is_published_by_tag(
    site: Site, registry: Server, projects: dict[str, Project], wheel: None, way: str, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = projects[f"{way}{version}"]
    change = project.propose("1")
    build = project.build(change, "check")
    assert build["artifacts"] == []
    assert project.state() == {}

    build = project.gate(change)
    merged = datetime.datetime.now(datetime.timezone.utc)
    name = f"{registry.name}/{project.path}"
    assert [(one["name"], one["url"], one["metadata"]["type"], one["metadata"]["platforms"]) for one in build["artifacts"]] == [
        (f"{name}:{tag}", f"docker://{name}:change_{change}_{tag}", "container_image", ["linux/amd64"]) for tag in ("latest", "1.4")
    ]
    digests = {one["metadata"]["tag"]: one["metadata"]["digest"] for one in build["artifacts"]}
    promotion = project.build(change, "promote")
    assert project.state() == digests, "the tags are not those that the gate made"
    log = site.log(promotion)
    assert "promoted 2 of 2 tags, removed 2 temporary tags" in log
    ended = datetime.datetime.fromisoformat(f"{log.rstrip().splitlines()[-1][:26]}+00:00")
    config = registry.api.call("GET", f"{project.path}/manifests/latest").json()["config"]["digest"]
    labels = registry.api.call("GET", f"{project.path}/blobs/{config}").json()["config"]["Labels"]
    assert labels["org.zuul-ci.change"] == change
    with capsys.disabled():
        print(f"\nAnsible {version}, {way}: {(ended - merged).total_seconds():.1f} s from the merge to the published tags")

    # Again, as an operator does who is not sure.
    before = project.state()
    project.enqueue(change)
    again = project.build(change, "promote", 2)
    assert again["uuid"] != promotion["uuid"]
    assert "promoted 0 of 2 tags, removed 0 temporary tags" in site.log(again)
    assert project.state() == before


def reached(server: Server, certificate: tuple[pathlib.Path, pathlib.Path]) -> dict[str, str]:
    """What differs in the page's example of a registry of Zuul's own."""
    text = certificate[0].read_text().rstrip().replace("\n", "\n        ")
    example = "-----BEGIN CERTIFICATE-----\n        ...\n        -----END CERTIFICATE-----"
    return {"host: registry.example.org": f"host: {server.host}", "port: 5000": f"port: {server.port}", example: text}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_change_is_published_by_the_intermediate_registry(
    site: Site, registry: Server, intermediate: Server, projects: dict[str, Project], version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = projects[f"intermediate{version}"]
    change = project.propose("1")
    project.build(change, "check")
    build = project.gate(change)
    merged = datetime.datetime.now(datetime.timezone.utc)
    place = f"{intermediate.name}/{registry.name.replace(':', '-')}/{project.path}"
    assert [(one["name"], one["url"]) for one in build["artifacts"]] == [
        (f"{registry.name}/{project.path}:{tag}", f"docker://{place}:{build['uuid']}_{tag}") for tag in ("latest", "1.4")
    ]
    promotion = project.build(change, "promote")
    assert project.state() == {one["metadata"]["tag"]: one["metadata"]["digest"] for one in build["artifacts"]}
    log = site.log(promotion)
    ended = datetime.datetime.fromisoformat(f"{log.rstrip().splitlines()[-1][:26]}+00:00")
    with capsys.disabled():
        print(f"\nAnsible {version}, intermediate registry: {(ended - merged).total_seconds():.1f} s from the merge to the published tags")
    # What is told while the task runs comes before its result.
    told, result = log.index(f"{project.path}@sha256:"), log.index("promoted 2 of 2 tags")
    assert f"| localhost | {place}@sha256:" in log
    assert told < result

    before = project.state()
    project.enqueue(change)
    assert "promoted 0 of 2 tags" in site.log(project.build(change, "promote", 2))
    assert project.state() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_a_release_is_published_by_its_tag(site: Site, registry: Server, projects: dict[str, Project], version: str) -> None:
    project = projects[f"release{version}"]
    site.tag(project.name, "2.0.1")
    build = site.build(project=project.name, pipeline="tag")
    assert build["result"] == "SUCCESS", site.log(build)
    assert project.state() == {"2.0.1": build["artifacts"][0]["metadata"]["digest"]}
    assert build["artifacts"][0]["url"] == f"docker://{registry.name}/{project.path}:2.0.1"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_mirror_is_kept(site: Site, registry: Server, upstream: Upstream, projects: dict[str, Project], version: str) -> None:
    project = projects[f"mirror{version}"]
    copy = f"{project.name}/busybox"
    logs = site.directory / "builds"

    def mirror() -> None:
        site.client("enqueue-ref", "--tenant", "acme", "--pipeline", "periodic", "--project", f"gerrit/{project.name}", "--ref", "refs/heads/main")

    def told() -> list[str]:
        return [text for text in (path.read_text() for path in logs.glob("*/work/logs/job-output.txt")) if re.search(r"\| localhost \| 0 of 1 images, ", text)]

    for number in (1, 2):
        digest = push(registry.api, "library/busybox", "1.37")
        upstream.flows.clear()
        mirror()
        # The log tells how far the copy is while it is not done.
        (log,) = site.wait("a line of progress", told)
        assert "TASK [gating.containers.mirror_container_images : Mirror the images]" in log
        assert "copied" not in log
        upstream.flows.set()
        build = site.build(number, project=project.name, pipeline="periodic")
        assert build["result"] == "SUCCESS", site.log(build)
        assert registry.api.state(copy) == {f"{copy}:1.37": digest}
        assert check(registry.api, copy, digest)
        assert f"| localhost | {upstream.proxy.name}/library/busybox:1.37 to {registry.name}/{copy}:1.37: copied" in site.log(build)

    asked = len(upstream.proxy.requests)
    mirror()
    assert "unchanged" in site.log(site.build(3, project=project.name, pipeline="periodic"))
    assert {request.method for request in upstream.proxy.requests[asked:] if "/manifests/" in request.path} == {"HEAD"}


VERIFY = """
- job:
    name: example-verify
    run: verify.yml

- project:
    gate:
      jobs:
        - example-verify:
            dependencies: example-upload-image
"""
VERIFY_PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - assert:
        that: "'bad' not in lookup('file', zuul.executor.work_root ~ '/' ~ zuul.project.src_dir ~ '/content')"
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_failed_gate_left_is_removed_when_it_is_old(site: Site, projects: dict[str, Project], version: str) -> None:
    project = projects[f"leak{version}"]
    upload = f"{project.name}-upload-image"
    bad = project.propose("bad")
    project.build(bad, "check")
    site.approve(bad)
    project.build(bad, "gate", job=f"{project.name}-verify", result="FAILURE")
    leaked = {f"change_{bad}_{tag}" for tag in ("latest", "1.4")}
    assert set(project.state()) == leaked
    assert not site.is_merged(bad)

    good = project.propose("good")
    site.approve(good)
    project.build(good, "gate", job=upload)
    assert "promoted 2 of 2 tags, removed 2 temporary tags" in site.log(project.build(good, "promote"))
    assert set(project.state()) == {"latest", "1.4"} | leaked, "a day has not passed"

    # A site to which a second is a long time.
    sooner = project.configuration.replace(
        "      promote_container_image_api:", "      promote_container_image_cleanup_age: 1\n      promote_container_image_api:"
    )
    another = project.propose("better", **{".zuul.yaml": sooner})
    site.approve(another)
    build = project.build(another, "gate", job=upload)
    assert "promoted 2 of 2 tags, removed 4 temporary tags" in site.log(project.build(another, "promote"))
    assert project.state() == {one["metadata"]["tag"]: one["metadata"]["digest"] for one in build["artifacts"]}


NOTHING = "- hosts: localhost\n  gather_facts: false\n  tasks: []\n"
EMPTY = """
- job:
    name: example-empty
    ansible-version: "VERSION"
    workspace-checkout: false
    run: empty.yml
"""
BY_HAND = """    manual:
      jobs:
        - example-empty
        - example-promote-image:
            dependencies: example-empty
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_two_changes_in_the_wrong_order(site: Site, projects: dict[str, Project], version: str, capsys: pytest.CaptureFixture[str]) -> None:
    project = projects[f"order{version}"]
    first = project.propose("1")
    second = site.propose(project.name, {"more": "2\n"})
    for change in (first, second):
        site.approve(change)
    builds = {change: project.build(change, "gate") for change in (first, second)}
    site.wait("the merges", lambda: site.is_merged(second) and site.is_merged(first))
    wanted = {one["metadata"]["tag"]: one["metadata"]["digest"] for one in builds[second]["artifacts"]}

    job = f"{project.name}-promote-image"
    project.enqueue(second, "manual")
    project.build(second, "manual", job=job)
    project.enqueue(first, "manual")
    log = site.log(project.build(first, "manual", job=job))
    assert "promoted 0 of 2 tags, removed 2 temporary tags" in log
    assert f"latest stays {wanted['latest']}, which is of change {second}: it went through the gate after this one" in log
    assert project.state() == wanted

    took: dict[str, list[float]] = {"empty": [], "promote-image": []}
    for number in range(2, 5):
        project.enqueue(second, "manual")
        for name, times in took.items():
            times.append(seconds(site.log(project.build(second, "manual", number, job=f"{project.name}-{name}")), "RUN"))
    empty, full = (statistics.median(times) for times in took.values())
    with capsys.disabled():
        print(f"\nAnsible {version}: a playbook without a task takes {empty:.2f} s, the promotion {full:.2f} s, so the role adds {full - empty:.2f} s")


@pytest.mark.parametrize("way", ["wheel"])
@pytest.mark.parametrize("version", VERSIONS)
def test_images_are_handed_to_other_jobs(
    site: Site,
    registry: Server,
    intermediate: Server,
    buildsets: list[Server],
    certificate: tuple[pathlib.Path, pathlib.Path],
    projects: dict[str, Project],
    wheel: None,
    way: str,
    version: str,
) -> None:
    project = projects[f"handover{version}"]
    change = project.propose("1")
    site.approve(change)
    made = project.build(change, "gate", job=f"{project.name}-build-image")
    project.build(change, "gate", job=f"{project.name}-use-image")
    (image,) = made["artifacts"]
    place = f"{registry.name.replace(':', '-')}/{project.path}"
    assert image["url"] == f"docker://{intermediate.name}/{place}:{made['uuid']}_latest"
    for server in buildsets:
        api = Api(server.name, server.username, server.password, base_url=f"https://{server.name}", verify=str(certificate[0]))
        assert api.state(place) == {f"{place}:latest": image["metadata"]["digest"]}


def test_nothing_is_left(site: Site, registry: Server) -> None:
    """After all the others: no secret in any log, no file in a job's HOME."""
    logs = [path for path in site.logs.rglob("*") if path.is_file()]
    assert len(logs) > 20
    login = f"{registry.username}:{registry.password}".encode()
    secrets = [registry.password.encode(), base64.b64encode(login)]
    for path in [*logs, *(site.directory / "log").iterdir()]:
        content = path.read_bytes()
        for secret in secrets:
            assert secret not in content, path
    assert registry.password not in site.reviews()
    assert "home directory" not in site.reviews()
    assert "found in build home directory" not in (site.directory / "log/scheduler").read_text()
