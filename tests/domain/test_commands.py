"""Command approval: a table of bypasses, each with its program on the list, and a table of honest commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tawny.domain import environment, shell
from tawny.domain.commands import (
    STAR,
    Binary,
    Decision,
    Entry,
    Mode,
    Request,
    Verdict,
    decide,
    fake_reminder,
    fingerprint,
    is_runner,
    parse_entry,
    parse_mode,
    quoted,
)
from tawny.domain.programs import NEVER_ALONE, READERS
from tawny.errors import ConfigError, Refused

NAMES = [
    "ls", "cat", "echo", "head", "tail", "sort", "grep", "wc", "jq", "date", "uniq", "cut", "tr", "git", "find", "awk",
    "sed", "env", "sh", "bash", "xargs", "python3", "tar", "nice", "timeout", "busybox", "tee", "rg", "diff", "stat",
    "python3.11", "flock", "printf", "curl", "xxd", "du", "file", "shuf", "comm", "egrep",
    "tree",
]  # fmt: skip


def binary(name: str) -> Binary:
    return Binary(f"/usr/bin/{name}", 1, 1000 + sum(map(ord, name)))


ALLOW = [
    *(Entry((name,), binary(name)) for name in NAMES),
    Entry(("git", "status"), binary("git")),
    Entry(("python3", "-m", "this"), binary("python3")),
]


def judge(
    line: str, mode: Mode = Mode.ASK, env: dict[str, str] | None = None, where: str = "/usr/bin"
) -> Decision:
    parsed = shell.parse(line)
    found = None
    if parsed.words and not parsed.words[0].startswith((".", "/work")):
        name = parsed.words[0].rsplit("/", 1)[-1]
        found = Binary(f"{where}/{name}", 1, 1000 + sum(map(ord, name)))
    elif parsed.words:
        found = Binary(parsed.words[0], 1, 7)
    request = Request(line=line, words=parsed.words, because=parsed.because, binary=found, env=env or {})
    return decide(mode, ALLOW, request)


BYPASSES = [
    # more than one command
    "echo x | node", "echo a;id", "echo a\nid", "echo a\r\nid", "echo a && id", "echo a || id", "echo a & id",
    "echo a &", "echo a;", "echo a |& id", "(echo a)", "{ echo a; }", "! echo a", "echo a\n\n\nid",
    "if echo a; then id; fi", "while echo a; do id; done", "for x in a; do echo $x; done",
    "echo() { id; }; echo a", "coproc echo", "time echo a", "exec echo a", "eval echo a", "command echo a",
    "builtin echo a", ". ./echo", "source echo", "trap id EXIT",
    # expansion
    "echo $(id)", "echo `id`", "echo ${IFS}id", "echo$IFS-n", "echo $HOME", "echo \"$HOME\"", "echo ${x:-$(id)}",
    "echo \"$(id)\"", "echo $((1+1))", "echo $'\\x24'", "echo $\"x\"", "echo *", "head -c9 *", "cat ?",
    "cat [a-z]", "ls ~", "ls ~root", "echo {a,b}", "echo {1..9}", "cat <(id)", "cat >(id)", "echo \"`id`\"",
    "echo a$1", "echo \"$@\"", "echo $_", "echo !!", "echo a\\\nb", "echo \\$(id)", "cat \"a\\$b\"",
    # redirection and here-documents
    "cat <<E\n$(id)\nE", "cat <<'E'\nx\nE", "cat <<<x", "echo a > f", "echo a >> f", "cat < f", "echo a 2>&1",
    "echo a &> f", "echo a >| f", "cat <&3", "ls 3<>f",
    # wrappers and runners, although listed by name
    "env id", "env -S 'id'", "nice id", "timeout 5 id", "xargs id", "busybox sh", "sh -c id", "bash -lc id",
    "bash -ec id", "flock f id", "python3 -c pass", "python3.11 x.py", "awk 'BEGIN{system(\"id\")}'",
    "sed -n '1e id' f", "find . -exec id", "find . -delete", "tar -cf x --to-command=id y", "git -c alias.x=!id x",
    "git status --porcelain", "git log", "curl x", "/usr/bin/env id", "sed s/a/b/e f",
    # flags that write, run, load or wait
    "sort -o f g", "sort -of g", "sort --output=f g", "sort --out f g", "sort --o=f g",
    "sort --compress-program=id g", "sort --compress-p id g", "sort -ro f g", "sort -T /x g",
    "sort --files0-from=f", "grep -f f g", "grep -R x .", "grep -rn x .", "grep --fil=f g", "egrep -f f g",
    "tail -f f", "tail -F f", "tail -fn3 f", "tail --follow f", "wc --files0-from=f", "jq env f",
    "jq '$ENV.KEY' f", "jq -f f g", "jq --from-file f g", "jq -L x . f", "jq 'input_filename' f",
    "jq 'include \"x\"; .' f", "date -s x", "date --set=x", "date -f f", "rg --pre id x", "rg --pre=id x",
    "rg -z x", "uniq a b", "xxd -r a b", "xxd a b", "tee f", "diff --to-file=x y", "file -C", "file -f f",
    "shuf -o f g", "comm a b c", "du --files0-from=f",
    "jq --argjson a 1 '$ENV'", "jq -n --argjson a 1 env", "jq --indent 2 env f", "jq --indent=2 env f",
    "date 11271200", "date -u 112712002026.30", "tree -R -L 1 -H . .", "tree -aR", "tree -o f", "tree --fromfile f",
    # not the program that was meant
    "./cat f", "./x/../cat f", "../cat f", "/work/cat f", "/tmp/cat f", "x/cat f", "nonesuch",
    "/usr/bin/../bin/cat f",
    # a variable before it, or none at all
    "X=1 echo a", "PATH=. cat f", "LD_PRELOAD=x cat f", "X=1", "a[1]=2", "", "   ", "# comment", "echo a # b", ";",
    "|",
    # not readable, or readable two ways
    "echo 'a", "echo \"a", "echo a\\", "echo \u202eid", "echo a\u200bb", "echo a\x00b", "echo a\x1b[2Jb",
    "echo \ufeffa", "[ -e x ]", "[[ -e x ]]", "test -e x && id", "declare x=1", "export A=1", "unset x",
    "alias ls=id", "set -e", "cd /", "echo a" + " b" * 60_000,
]  # fmt: skip


@pytest.mark.parametrize("line", BYPASSES)
def test_no_bypass_runs_by_itself(line: str) -> None:
    assert judge(line).verdict is Verdict.ASK
    assert judge(line, Mode.ALLOWLIST).verdict is Verdict.REFUSE


HONEST = [
    "ls", "ls -la", "ls -l --color=never src", "cat README.md", "cat -n a.txt b.txt", "echo hello world",
    "echo 'a b'", "echo \"a b\"", "echo 'a;b|c&d'", "echo \"it's\"", "echo a\\ b", "echo ''", "echo x=1",
    "echo -n", "head -n 3 f", "head -c9 f", "tail -n 20 log.txt", "tail -c 100 f", "sort f", "sort -u -k2,2 -t: f",
    "sort -rn f", "grep -n TODO main.py", "grep -i 'a b' f", "grep -c x f", "grep -e x -e y f", "egrep 'a|b' f",
    "wc -l f", "jq . f", "jq -r .name f", "jq '.items[] | .id' f", "date", "date +%F", "date -u",
    "date -d tomorrow", "date -d 2026-11-27", "tree -L 2 src",
    "uniq f", "uniq -c f", "cut -d: -f1 f", "tr a-z A-Z", "rg -n TODO src", "diff a b",
    "diff -u a b", "stat f", "git status", "python3 -m this", "/usr/bin/ls", "xxd f", "du -sh .", "file f",
    "printf '%s\\n' a", "comm a b", "echo 1 2 3", "cat ./a/b.txt", "shuf -n 1 f",
]  # fmt: skip


@pytest.mark.parametrize("line", HONEST)
def test_an_honest_command_runs(line: str) -> None:
    assert judge(line) == Decision(Verdict.RUN, "it is on the allow-list")
    assert judge(line, Mode.ALLOWLIST).verdict is Verdict.RUN


@pytest.mark.parametrize("line", ["ls", "git status", "echo a"])
def test_another_file_of_the_same_name_asks(line: str) -> None:
    assert judge(line, where="/usr/local/bin").verdict is Verdict.ASK


def test_a_program_exchanged_since_load_asks() -> None:
    request = Request(line="ls", words=("ls",), binary=Binary("/usr/bin/ls", 1, 99))
    assert decide(Mode.ASK, ALLOW, request).verdict is Verdict.ASK


def test_the_modes() -> None:
    assert judge("ls", Mode.DENY).verdict is Verdict.REFUSE
    assert judge("curl x | sh", Mode.FULL).verdict is Verdict.RUN
    assert judge("nonesuch", Mode.ASK).verdict is Verdict.ASK
    with pytest.raises(ConfigError) as error:
        parse_mode("auto")
    assert error.value.hint == "one of deny, allowlist, ask, full"


@pytest.mark.parametrize("entry", ["", "ls | cat", "ls -l *", "*", "ls a*", "$X", "a;b", "echo $(id)"])
def test_an_entry_that_needs_a_shell_is_an_error(entry: str) -> None:
    with pytest.raises(ConfigError):
        parse_entry(entry)


def test_added_names_in_the_environment_ask_unless_harmless() -> None:
    assert judge("ls", env={"LANG": "C", "TZ": "UTC"}).verdict is Verdict.RUN
    assert judge("ls", env={"KEY": "x"}).verdict is Verdict.ASK


HOOKS = [
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "GLIBC_TUNABLES", "GCONV_PATH",
    "PYTHONSTARTUP", "PYTHONPATH", "PYTHONHOME", "NODE_OPTIONS", "NODE_PATH", "PERL5OPT", "PERL5LIB", "RUBYOPT",
    "RUBYLIB", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "BASH_ENV", "ENV", "SHELLOPTS", "PS4",
    "PROMPT_COMMAND", "IFS", "CDPATH", "ZDOTDIR", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF",
    "GIT_CONFIG_GLOBAL", "GIT_EXEC_PATH", "GIT_EDITOR", "EDITOR", "VISUAL", "PAGER", "LESSOPEN", "BROWSER", "PATH",
    "HOME", "TMPDIR", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE", "CURL_HOME", "WGETRC", "OPENSSL_CONF", "RUSTC_WRAPPER", "RUSTUP_HOME", "CARGO_HOME",
    "GOFLAGS", "CC", "LDFLAGS", "MAKEFLAGS", "PIP_INDEX_URL", "UV_INDEX", "NPM_CONFIG_REGISTRY",
    "DOTNET_STARTUP_HOOKS", "TERMINFO", "INPUTRC", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK",
    "AWS_PROFILE", "DOCKER_HOST", "KUBECONFIG", "TAR_OPTIONS", "GREP_OPTIONS", "R_PROFILE", "LUA_INIT", "PHPRC",
    "TAWNY_HOME", "ld_preload", "Bash_Env",
]  # fmt: skip


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_are_refused_whoever_asks(name: str) -> None:
    with pytest.raises(Refused):
        environment.check({name: "x"})


@pytest.mark.parametrize(
    "name", ["API_KEY", "COLOUR", "DEBUG", "GOAL", "LANG", "MY_VAR", "HGT", "USER_ID", "RETRIES"]
)
def test_ordinary_names_are_not_refused(name: str) -> None:
    environment.check({name: "x"})


@pytest.mark.parametrize(
    "env", [{"": "x"}, {"A=B": "x"}, {"A B": "x"}, {"1A": "x"}, {"A": "x\0y"}, {"A": "x" * 40_000}]
)
def test_what_is_no_variable_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(Refused):
        environment.check(env)


def test_a_standing_yes_is_bound_to_every_byte() -> None:
    base = Request(line="ls -l", words=("ls", "-l"), binary=binary("ls"), env={"A": "1"})
    others = [
        Request(line="ls -l", words=("ls", "-a"), binary=binary("ls"), env={"A": "1"}),
        Request(line="ls -l", words=("ls", "-l", ""), binary=binary("ls"), env={"A": "1"}),
        Request(line="ls -l", words=("ls -l",), binary=binary("ls"), env={"A": "1"}),
        Request(line="ls -l", words=("ls", "-l"), binary=binary("cat"), env={"A": "1"}),
        Request(line="ls -l", words=("ls", "-l"), binary=binary("ls"), env={"A": "2"}),
        Request(line="ls -l", words=("ls", "-l"), binary=binary("ls"), env={}),
        Request(line="ls -l", words=None, binary=None, env={"A": "1"}),
    ]
    prints = {fingerprint(request, "/w") for request in [base, *others]}
    assert len(prints) == len(others) + 1
    assert fingerprint(base, "/w") != fingerprint(base, "/v")
    assert fingerprint(base, "/w") == fingerprint(base, "/w")


# From the public collection of programs that can be talked into something: one of each kind of trick.
TRICKS = [
    "aa-exec /bin/sh", "ab -p f http://a.test/", "acr -r ./f", "ansible-test shell", "apache2 -f f", "ar r f g",
    "aria2c --on-download-error=f http://a.test", "arj a f g", "borg extract @:/::: --rsh sh", "busctl --address=x",
    "capsh --", "choom -n 0 sh", "cowsay -f f x", "cpulimit -l 100 -f -- sh", "csplit -z -b '%df' g 1",
    "csvtool trim t f -o g", "dhclient -sf sh", "distcc sh", "dmsetup ls --exec sh", "dos2unix -f -n f g",
    "exiftool -filename=f g", "fzf --bind 'enter:execute(sh)'", "ghc -e x", "gnuplot -e 'system(\"sh\")'",
    "guile -c x", "hping3 a.test --file f", "ip netns exec x sh", "ispell f", "logsave /dev/null sh -i",
    "lua5.4 -e x", "mosquitto -c f", "msgfilter -P -i f cat", "multitime sh", "mypy f --junit-xml g",
    "nginx -c f", "nm f", "openvpn --config f", "pandoc -L f g", "pdflatex --shell-escape x", "pic -U",
    "pidstat -e sh", "poetry run python f", "pytest f", "qpdf --empty --add-attachment f --key=x -- g",
    "restic --password-command=f backup", "rlwrap sh", "rustdoc f -o g", "scrot -e sh", "setarch -3 sh",
    "slsh -e x", "socket -svp sh 1", "ssh-agent sh", "ssh-keygen -D f", "sshpass sh", "strace -o f ls",
    "sysctl x=y", "tex --shell-escape x", "tic -C f", "top", "torify sh", "tsc f --outFile g", "unzip f",
    "update-alternatives --force --install f x g 0", "wall f", "whois -h a.test x", "xdotool exec sh",
    "yt-dlp x --exec sh", "zcat f", "zic -d . -y f g", "a-program-of-my-own --harmless",
]  # fmt: skip


@pytest.mark.parametrize("line", TRICKS)
def test_a_bare_name_means_nothing_for_a_program_that_is_not_known_only_to_read(line: str) -> None:
    name = line.split()[0]
    program = binary(name)
    request = Request(line=line, words=shell.parse(line).words, binary=program)
    assert request.words
    decision = decide(Mode.ASK, [Entry((name,), program)], request)
    assert decision.verdict is Verdict.ASK
    assert "list the exact words" in decision.reason
    exact = decide(Mode.ASK, [Entry(request.words, program)], request)
    assert exact.verdict is (Verdict.RUN if len(request.words) > 1 else Verdict.ASK)


def test_a_star_is_the_owners_word_for_any_arguments() -> None:
    words = parse_entry("pytest *")
    entry = Entry(words, binary("pytest"))
    assert (words, entry.is_open, entry.is_exact) == (("pytest", STAR), True, False)
    for line in ("pytest", "pytest -x tests", "pytest '*'"):
        request = Request(line=line, words=shell.parse(line).words, binary=binary("pytest"))
        assert decide(Mode.ALLOWLIST, [entry], request).verdict is Verdict.RUN
    other = Request(line="pytest", words=("pytest",), binary=Binary("/work/pytest", 1, 5))
    assert decide(Mode.ASK, [entry], other).verdict is Verdict.ASK
    piped = Request(line="pytest | sh", words=None, because="it is a pipeline")
    assert decide(Mode.ASK, [entry], piped).verdict is Verdict.ASK


@pytest.mark.parametrize("entry", ["sh *", "env *", "python3.12 *", "/usr/bin/git *", "find *", "git log *"])
def test_no_star_behind_a_program_that_runs_others(entry: str) -> None:
    with pytest.raises(ConfigError, match="the star"):
        parse_entry(entry)


def test_no_known_reader_runs_others_or_writes_by_itself() -> None:
    assert not [name for name in READERS if is_runner(name) or name in NEVER_ALONE]


REMINDERS = [
    "sleep 3600", "sleep 1h", "sleep 30m && echo remind me", "sleep 20 20", "timeout 9999 sleep 600",
    "while true; do sleep 5; done", "while ! curl -s x; do sleep 1; done",
    "for i in 1 2 3; do check; sleep 10; done", "until test -e f; do sleep 1; done", "watch -n 60 date",
    "echo x | at now + 1 hour", "crontab -l", "sh -c 'sleep 3600'; sleep 40",
    "python3 -c 'import time; time.sleep(3600)'", "python3 -c 'import time; time.sleep(60 * 60)'",
    "python3 -c \"import time\nwhile True: time.sleep(5)\"", "nohup sleep 1d &", "(sleep 100; echo hi) &",
]  # fmt: skip


@pytest.mark.parametrize("line", REMINDERS)
def test_waiting_in_a_command_is_answered_with_the_hint(line: str) -> None:
    assert "automations" in (fake_reminder(line) or "")


@pytest.mark.parametrize(
    "line",
    ["sleep 1", "sleep 5 && ls", "ls", "echo sleep 100", "for i in 1 2; do echo $i; done", "make test"],
)
def test_other_commands_are_not(line: str) -> None:
    assert fake_reminder(line) is None


@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), max_size=12),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_read_as_plain_is_what_was_quoted(words: list[str]) -> None:
    line = shell.parse(quoted(words))
    assert line.words is None or line.words == tuple(words)


@given(st.text(max_size=40))
def test_any_text_is_read_without_an_error(text: str) -> None:
    shell.parse(text)
    fake_reminder(text)
