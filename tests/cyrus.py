"""A Cyrus IMAP server of its own folder: the second kind that the mail listener is held to, beside Dovecot."""

import contextlib
import imaplib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import free_port, running, wait_for_login

_IMAPD = Path("/usr/lib/cyrus/bin/imapd")


@dataclass
class Cyrus:
    """With the user `ann`, password `pw`, who has an INBOX and makes her own folders beneath it."""

    port: int

    @property
    def url(self) -> str:
        return f"imap://ann@127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def signed_in(self) -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=30) as client:
            client.login("ann", "pw")
            yield client

    def append(self, data: bytes, *, mailbox: str = "INBOX") -> None:
        with self.signed_in() as client:
            said, answer = client.append(mailbox, "", imaplib.Time2Internaldate(time.time()), data)
            assert said == "OK", answer

    def make_anew(self, mailbox: str) -> None:
        """A folder of that name with another UIDVALIDITY than before: Cyrus takes it from the clock, by seconds."""
        before, deadline = self.validity(mailbox), time.monotonic() + 10
        while True:
            with self.signed_in() as client:
                client.delete(mailbox)
                said, answer = client.create(mailbox)
                assert said == "OK", answer
            if self.validity(mailbox) != before:
                return
            assert time.monotonic() < deadline, f"{mailbox} has the same UIDVALIDITY whenever it is made"
            time.sleep(0.1)

    def validity(self, mailbox: str) -> int | None:
        with self.signed_in() as client:
            said, answer = client.status(mailbox, "(UIDVALIDITY)")
            found = re.search(rb"UIDVALIDITY (\d+)", answer[0] or b"")
            return int(found[1]) if said == "OK" and found else None


@contextlib.contextmanager
def cyrus() -> Iterator[Cyrus]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    master, program, add_user = (
        shutil.which(name, path=path) for name in ("cyrmaster", "cyrus", "saslpasswd2")
    )
    if master is None or program is None or add_user is None or not _IMAPD.exists():
        # Debian lets but one IMAP server be installed: in CI that is Dovecot
        pytest.skip(
            "cyrus is not installed (Debian: cyrus-imapd and sasl2-bin, in the place of dovecot-imapd)"
        )
    if os.geteuid() != 0:
        pytest.skip("cyrus starts as root alone: it becomes the user cyrus")
    with tempfile.TemporaryDirectory(prefix="tawny-cyrus-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        _set_up(folder, port, program, add_user)
        argv = [master, "-C", f"{folder}/imapd.conf", "-M", f"{folder}/cyrus.conf", "-p", f"{folder}/pid"]
        with running(argv, port):
            wait_for_login(port)
            yield Cyrus(port)


def _set_up(folder: Path, port: int, program: str, add_user: str) -> None:
    for name in ("conf/socket", "conf/proc", "conf/lock", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "imapd.conf").write_text(f"""
configdirectory: {folder}/conf
defaultpartition: default
partition-default: {folder}/spool
idlesocket: {folder}/idle
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb2
sasl_mech_list: PLAIN LOGIN
allowplaintext: yes
servername: localhost
defaultdomain: localhost
admins: cyrus
autocreate_quota: 0
unixhierarchysep: no
""")
    own = f"-C {folder}/imapd.conf"
    (folder / "cyrus.conf").write_text(f"""
START {{
  recover cmd="{program} ctl_cyrusdb {own} -r"
  idled cmd="{program} idled {own}"
}}
SERVICES {{
  imap cmd="{program} imapd {own}" listen="127.0.0.1:{port}" proto="tcp4" prefork=0
}}
EVENTS {{
}}
""")
    argv = [add_user, "-p", "-c", "-f", f"{folder}/sasldb2", "-u", "localhost", "ann"]
    subprocess.run(argv, input=b"pw", check=True, capture_output=True)
    user = pwd.getpwnam("cyrus")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
