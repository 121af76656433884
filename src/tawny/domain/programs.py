"""What is known about programs that a bare name on the allow-list might mean."""

import re

# Programs that only read and print, whatever their arguments, but for the options below. A bare name on the list means
# something for these alone: of any other program nobody here knows what its arguments can make it do. (Of some 480
# programs in the public collections of such tricks, a list of the dangerous ones missed three hundred.)
READERS = frozenset(
    """
    arch b2sum base32 base64 basename basenc cal cat cksum cmp column comm cut date df diff dirname du echo egrep
    expand expr factor fgrep file fmt fold free getconf grep groups head id join jq logname ls lsblk lscpu md5sum nl
    nproc numfmt od paste pr printf ps pwd readlink realpath rev rg seq sha1sum sha224sum sha256sum sha384sum
    sha512sum shuf sort stat strings sum tac tail tr tree tsort tty uname unexpand uniq uptime wc which whoami xxd
    """.split()  # noqa: SIM905 - read more easily as a text
)

# Programs whose arguments are programs. A bare name on the list would mean everything, so it means nothing.
RUNNERS = frozenset(
    """
    sh ash bash csh dash fish ksh mksh rbash tcsh zsh busybox toybox env nice nohup ionice chrt taskset setsid
    timeout stdbuf unbuffer script watch time xargs parallel flock setpriv runuser su sudo doas pkexec chroot
    unshare nsenter strace ltrace gdb perf valgrind bwrap firejail proot fakeroot ssh scp sftp rsync socat nc ncat
    netcat telnet awk gawk mawk nawk sed ed ex vi vim nvim nano emacs less more most man pager view git hg svn make
    gmake cmake ninja python python2 python3 pypy pypy3 pip pip3 uv uvx pipx node nodejs npm npx yarn pnpm deno bun
    perl ruby gem bundle irb php lua luajit tclsh wish expect R Rscript julia octave java javac jshell jrunscript
    kotlin scala groovy dotnet mono go cargo rustc gcc g++ cc c++ clang ld as tar cpio zip 7z 7za gpg openssl curl
    wget docker podman kubectl systemctl systemd-run journalctl crontab at batch m4 dc sqlite3 psql mysql ansible
    terraform tmux screen find fd tcpdump nmap mail mutt dpkg apt apt-get rpm yum dnf pacman apk snap flatpak
    ldconfig ld.so run-parts start-stop-daemon
    """.split()  # noqa: SIM905 - read more easily as a text
)

# What keeps a listed name from running by itself: options that write, run, load or wait for ever.
LONG: dict[str, tuple[str, ...]] = {
    "sort": ("output", "compress-program", "temporary-directory", "files0-from", "parallel", "random-source"),
    "grep": (
        "file",
        "recursive",
        "dereference-recursive",
        "perl-regexp",
        "directories",
        "include",
        "exclude-from",
    ),
    "rg": ("pre", "pre-glob", "hostname-bin", "search-zip", "file", "ignore-file", "config"),
    "tail": ("follow", "retry", "pid", "sleep-interval"),
    "wc": ("files0-from",),
    "du": ("files0-from", "exclude-from"),
    "date": ("set", "file", "reference"),
    # Also what takes words before the filter, which would hide it.
    "jq": ("from-file", "rawfile", "slurpfile", "argfile", "argjson", "indent", "library-path", "run-tests"),
    "diff": ("to-file", "from-file", "output", "paginate"),
    "file": ("magic-file", "files-from", "compile"),
    "ls": ("hyperlink",),
    "tree": ("output", "fromfile"),
    "shuf": ("output", "random-source"),
    "split": ("filter",),
    "uniq": (),
    "xxd": ("revert",),
    "head": (),
    "cat": (),
    "base64": (),
    "tee": ("output-error",),
    "stat": (),
    "yes": (),
}
SHORT: dict[str, str] = {
    "sort": "oT",
    "grep": "frRPd",
    "rg": "fz",
    "tail": "fFs",
    "date": "sfr",
    "jq": "fL",
    "file": "mfC",
    "tree": "oR",
    "shuf": "o",
    "xxd": "r",
    "diff": "l",
}
FAMILY = {"egrep": "grep", "fgrep": "grep", "zgrep": "grep"}
INPUTS = {"uniq": 1, "xxd": 1, "comm": 2, "split": 1}
"""How many operands only name input; the next one names a file to write."""
CLOCK = re.compile(r"[0-9]{8,12}(?:\.[0-9]{2})?")
"""An operand that sets the clock, where `date` finds it."""
OUTWARD_FILTER = re.compile(
    r"env|\$ENV|input_filename|include|import|input_line|debug|stderr|halt|getpath|limit\("
)
NEVER_ALONE = frozenset(
    {"yes", "tee", "split", "dd", "rm", "mv", "cp", "ln", "chmod", "chown", "install", "truncate", "shred"}
)
