# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Zuul of its own on loopback: ZooKeeper, PostgreSQL, a stand-in for Gerrit, scheduler, executor and web."""

from __future__ import annotations

import configparser
import contextlib
import functools
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
import typing as t

import requests
import yaml

HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
AUTHOR = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Author"), ("EMAIL", "author@example.invalid"))}
# Debian's zookeeper.jar does not name all that TLS needs.
JARS = ("zookeeper", "netty-codec", "netty-handler", "slf4j-log4j12", "log4j-1.2")


def run(*command: str, **options: t.Any) -> str:
    """Run a command, fail with its words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def free_ports() -> t.Iterator[int]:
    """Ports that nothing listens on, none of those that the system gives to connections: it takes a while until they are used."""
    numbers = list(range(20000, 32000))
    while True:
        port = numbers.pop(secrets.randbelow(len(numbers)))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            yield port


class Site:
    """The site.

    :param directory: everything is kept there. It must be open to others, since PostgreSQL does not run as root.
    :param zuul: virtual environment of Zuul.
    :param ansible: directory with a virtual environment for each version of Ansible that Zuul supports.
    """

    def __init__(self, directory: pathlib.Path, zuul: pathlib.Path, ansible: pathlib.Path) -> None:
        self.directory = directory
        self.zuul = zuul
        self.ansible = ansible
        self.logs = directory / "joblogs"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = dict(zip(("web", "zookeeper", "postgres", "gerrit", "ssh", "finger"), free_ports()))
        self.url = f"http://127.0.0.1:{self._ports['web']}"
        self.api = f"{self.url}/api/tenant/acme"
        self.tenant: dict[str, t.Any] = {"name": "acme", "source": {"git": {}, "gerrit": {}}}
        for name in ("tls", "git", "gerrit", "etc", "log", "zookeeper", "state", "builds", "run", "joblogs", "containers", "work"):
            (directory / name).mkdir()

    # -- start and stop ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything. The repositories that the tenant names must be there."""
        self._certificates()
        self._configure()
        self._postgres()
        log4j = "log4j.rootLogger=WARN, C\nlog4j.appender.C=org.apache.log4j.ConsoleAppender\nlog4j.appender.C.layout=org.apache.log4j.SimpleLayout\n"
        (self.directory / "etc/log4j.properties").write_text(log4j)
        path = ":".join([str(self.directory / "etc"), *(f"/usr/share/java/{name}.jar" for name in JARS)])
        self._spawn("zookeeper", "/usr/bin/java", "-Xmx256m", "-cp", path, "org.apache.zookeeper.server.quorum.QuorumPeerMain", self._etc("zoo.cfg"))
        key = str(self.directory / "tls/gerrit_host")
        ports = [str(self._ports[name]) for name in ("gerrit", "ssh")]
        self._spawn("gerrit", str(self.zuul / "bin/python"), str(HERE / "gerrit.py"), str(self.directory / "gerrit"), *ports, key)
        for name in ("zookeeper", "gerrit", "ssh"):
            self._wait_for_port(name)
        for name in ("scheduler", "executor", "web"):
            self._spawn(name, str(self.zuul / f"bin/zuul-{name}"), "-f", "-d", "-c", self._etc("zuul.conf"))
        self.wait("the tenant", lambda: self.get("status")["pipelines"])
        self.wait("the executor", lambda: requests.get(f"{self.url}/api/components", timeout=10).json()["executor"][0]["state"] == "running")
        errors = self.get("config-errors")
        assert not errors, json.dumps(errors, indent=1)

    def stop(self) -> None:
        """Stop what was started, in turn."""
        for name in ("web", "executor", "scheduler", "gerrit", "zookeeper", "postgres"):
            process = self._processes.pop(name, None)
            if process is None:
                continue
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                # Its own session, which nobody else is in.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    def _spawn(self, name: str, *command: str) -> None:
        # What is in this environment gets into every job.
        environment = {
            **ENVIRONMENT,
            "HOME": str(self.directory / "state"),
            "PATH": f"{self.zuul}/bin:{ENVIRONMENT['PATH']}",
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_STORAGE_CONF": str(self.directory / "containers/storage.conf"),
            "CONTAINERS_CONF": str(self.directory / "containers/containers.conf"),
        }
        with (self.directory / "log" / name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command, env=environment, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _wait_for_port(self, name: str) -> None:
        def connect() -> bool:
            assert self._processes.get(name, self._processes["gerrit"]).poll() is None, f"{name} ended: see its log"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._ports[name]), 1):
                return True
            return False

        self.wait(name, connect)

    def wait(self, what: str, condition: t.Callable[[], t.Any], seconds: float = 300) -> t.Any:
        """Wait until something is true, and return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(requests.RequestException, KeyError, IndexError, ValueError):
                found = condition()
                if found:
                    return found
            for name, process in self._processes.items():
                assert process.poll() is None, f"{name} ended: {(self.directory / 'log' / name).read_text(errors='replace')[-2000:]}"
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come about in {seconds} s")

    def _etc(self, name: str) -> str:
        return str(self.directory / "etc" / name)

    def _certificates(self) -> None:
        tls = self.directory / "tls"
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.pem", cwd=tls)
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem", cwd=tls)
        (tls / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        signing = ["openssl", "x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        run(*signing, "-extfile", "extensions", "-out", "cert.pem", cwd=tls)
        (tls / "keystore.pem").write_text((tls / "key.pem").read_text() + (tls / "cert.pem").read_text())
        run("ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", "id_rsa", cwd=tls)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "gerrit_host", cwd=tls)

    def _postgres(self) -> None:
        """A cluster of its own."""
        (programs,) = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        data = self.directory / "postgres"
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        data.mkdir(0o700)
        if user:
            shutil.chown(data, "postgres", "postgres")
        run(*user, str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "zuul", "-E", "UTF8", "--no-sync", cwd="/")
        port = self._ports["postgres"]
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(f"listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\n")
        # runuser would not hand its signals on.
        options: dict[str, t.Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if user else {}
        with (self.directory / "log/postgres").open("wb") as log:
            self._processes["postgres"] = subprocess.Popen(
                [str(programs / "postgres"), "-D", str(data)], env=ENVIRONMENT, cwd="/", stdout=log, stderr=log, start_new_session=True, **options
            )
        ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        self.wait("PostgreSQL", lambda: subprocess.run(ready, check=False).returncode == 0)
        run(str(programs / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "zuul", "zuul")

    def _configure(self) -> None:
        here, ports = self.directory, self._ports
        (here / "etc/zoo.cfg").write_text(
            f"tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={here}/zookeeper\nsecureClientPort={ports['zookeeper']}\n"
            "secureClientPortAddress=127.0.0.1\nserverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n"
            f"ssl.keyStore.location={here}/tls/keystore.pem\nssl.trustStore.location={here}/tls/ca.pem\nssl.clientAuth=need\nadmin.enableServer=false\n"
        )
        # A job without nodes builds in the executor's sandbox. There /var/tmp is writable, and gone after each playbook.
        (here / "containers/storage.conf").write_text('[storage]\ndriver = "vfs"\ngraphroot = "/var/tmp/storage"\nrunroot = "/var/tmp/run"\n')
        (here / "containers/containers.conf").write_text('[network]\nnetwork_config_dir = "/var/tmp/net.d"\n')
        (here / "etc/tenants.yaml").write_text(yaml.safe_dump([{"tenant": self.tenant}]))
        settings = {
            "zookeeper": {
                "hosts": f"127.0.0.1:{ports['zookeeper']}",
                "tls_ca": f"{here}/tls/ca.pem",
                "tls_cert": f"{here}/tls/cert.pem",
                "tls_key": f"{here}/tls/key.pem",
            },
            "keystore": {"password": secrets.token_hex(16)},
            "database": {"dburi": f"postgresql+psycopg2://zuul@127.0.0.1:{ports['postgres']}/zuul"},
            "scheduler": {"tenant_config": f"{here}/etc/tenants.yaml", "state_dir": f"{here}/state", "command_socket": f"{here}/run/scheduler"},
            "merger": {"git_dir": f"{here}/state/merger", "git_user_email": "zuul@example.invalid", "git_user_name": "Zuul"},
            "executor": {
                "hostname": "127.0.0.1",
                "state_dir": f"{here}/state",
                "git_dir": f"{here}/state/executor",
                "job_dir": f"{here}/builds",
                "command_socket": f"{here}/run/executor",
                "private_key_file": f"{here}/tls/id_rsa",
                "ansible_root": str(self.ansible),
                "manage_ansible": "false",
                "finger_port": str(ports["finger"]),
                "trusted_rw_paths": f"{here}/joblogs",
                "trusted_ro_paths": f"{here}/containers:/etc/containers",
                "untrusted_ro_paths": f"{here}/containers:/etc/containers",
                "disk_limit_per_job": "-1",
                "load_multiplier": "50",
                "min_avail_mem": "1",
                "min_avail_hdd": "1",
                "sigterm_method": "stop",
            },
            "web": {"listen_address": "127.0.0.1", "port": str(ports["web"]), "root": f"{self.url}/", "command_socket": f"{here}/run/web"},
            "connection git": {"driver": "git", "baseurl": f"file://{here}/git", "canonical_hostname": "git", "poll_delay": "2"},
            "connection gerrit": {
                "driver": "gerrit",
                "server": "127.0.0.1",
                "canonical_hostname": "gerrit",
                "port": str(ports["ssh"]),
                "user": "zuul",
                "sshkey": f"{here}/tls/id_rsa",
                "baseurl": f"http://127.0.0.1:{ports['gerrit']}",
                "password": "not-asked-for",
                "verify_ssl": "false",
            },
            "auth operator": {
                "driver": "HS256",
                "allow_authz_override": "true",
                "realm": "example.invalid",
                "default": "true",
                "client_id": "example.invalid",
                "issuer_id": "operator",
                "secret": secrets.token_hex(32),
                "max_validity_time": "36000",
            },
        }
        configuration = configparser.RawConfigParser()
        configuration.read_dict(settings)
        with (here / "etc/zuul.conf").open("w") as file:
            configuration.write(file)

    # -- repositories and changes ------------------------------------------------------------------------------------------

    def commit(self, repository: str, files: t.Mapping[str, str | pathlib.Path], message: str = "Change", ref: str = "refs/heads/main") -> str:
        """Commit files on top of a repository's main branch, push the commit to a ref, and return it.

        :param repository: ``git/NAME`` or ``gerrit/NAME``.
        :param files: text; or a path to link to.
        """
        bare = self.directory / repository
        if not bare.exists():
            run("git", "init", "-q", "--bare", "-b", "main", str(bare))
        work = self.directory / "work" / secrets.token_hex(4)
        run("git", "clone", "-q", str(bare), str(work), env={**ENVIRONMENT, **AUTHOR})
        for name, content in files.items():
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, pathlib.Path):
                path.symlink_to(content)
            else:
                path.write_text(content)
        git = ["git", "-C", str(work)]
        run(*git, "add", "-A")
        run(*git, "commit", "-q", "--allow-empty", "-m", message, env={**ENVIRONMENT, **AUTHOR})
        run(*git, "push", "-q", "-f", "origin", f"HEAD:{ref}")
        commit = run(*git, "rev-parse", "HEAD").strip()
        shutil.rmtree(work)
        return commit

    def propose(self, project: str, files: t.Mapping[str, str]) -> str:
        """A new change, by its number."""
        self.commit(f"gerrit/{project}", files, f"Change\n\nChange-Id: I{secrets.token_hex(20)}\n", "refs/for-test/change")
        return str(self._gerrit("propose", project=project, ref="refs/for-test/change")["number"])

    def approve(self, change: str) -> None:
        self._gerrit("vote", number=int(change), label="Workflow", value=1)

    def _gerrit(self, what: str, **data: t.Any) -> dict[str, t.Any]:
        answer = requests.post(f"http://127.0.0.1:{self._ports['gerrit']}/test/{what}", json=data, timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(json.loads(answer.text.partition("\n")[2]))

    def tag(self, project: str, tag: str) -> None:
        self._gerrit("tag", project=project, tag=tag)

    def reviews(self) -> str:
        """All that Zuul wrote to changes."""
        return requests.get(f"http://127.0.0.1:{self._ports['gerrit']}/test/reviews", timeout=30).text

    def is_merged(self, change: str) -> bool:
        answer = requests.get(f"http://127.0.0.1:{self._ports['gerrit']}/changes/{change}", timeout=30)
        return bool(json.loads(answer.text.partition("\n")[2])["status"] == "MERGED")

    def reconfigure(self) -> None:
        """Let Zuul read all configuration anew, as it does by itself when a change to it merges."""
        before = self.get("status")["last_reconfigured"]
        run(str(self.zuul / "bin/zuul-scheduler"), "-c", self._etc("zuul.conf"), "tenant-reconfigure", "acme")
        self.wait("the configuration", lambda: self.get("status")["last_reconfigured"] > before)

    # -- what Zuul knows ---------------------------------------------------------------------------------------------------

    def get(self, path: str) -> t.Any:
        return requests.get(f"{self.api}/{path}", timeout=30).json()

    def builds(self, **query: str) -> list[dict[str, t.Any]]:
        """Builds that ended, the newest first."""
        return list(self.get("builds?" + "&".join(f"{key}={value}" for key, value in {**query, "complete": "true"}.items())))

    def build(self, number: int = 1, **query: str) -> dict[str, t.Any]:
        """The newest of so many builds, when they have ended."""

        def found() -> t.Any:
            builds = self.builds(**query)
            return builds[0] if len(builds) >= number else None

        return dict(self.wait(f"build {number} of {query}", found))

    def log(self, build: t.Mapping[str, t.Any]) -> str:
        """What a job printed."""
        path = self.logs / build["uuid"] / "job-output.txt"
        return path.read_text() if path.exists() else f"no log of {build}"

    @functools.cached_property
    def _token(self) -> str:
        admin = [str(self.zuul / "bin/zuul-admin"), "-c", self._etc("zuul.conf"), "create-auth-token", "--auth-config", "operator"]
        return run(*admin, "--tenant", "acme", "--user", "tester", "--expires-in", "36000").strip().removeprefix("Bearer ")

    def client(self, *arguments: str) -> str:
        """Run zuul-client as an operator."""
        return self._client("--auth-token", self._token, *arguments)

    def _client(self, *arguments: str) -> str:
        return run(str(self.zuul / "bin/zuul-client"), "--zuul-url", self.url, *arguments)

    def encrypt(self, project: str, text: str) -> str:
        """A text encrypted with the key of a project, as it is written in YAML."""
        given, got = self.directory / "work/plain", self.directory / "work/encrypted"
        given.write_text(text)
        names = ["--secret-name", "x", "--field-name", "y"]
        self._client("encrypt", "--tenant", "acme", "--project", project, *names, "--infile", str(given), "--outfile", str(got))
        given.unlink()
        chunks = re.split(r"\s- ", got.read_text().split("!encrypted/pkcs1-oaep", 1)[1])
        return "!encrypted/pkcs1-oaep " + json.dumps(["".join(chunk.split()) for chunk in chunks if chunk.strip()])
