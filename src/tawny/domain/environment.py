"""Which names may be added to a command's environment: hooks that make a program run something else may not."""

import re
from collections.abc import Mapping

from tawny.errors import Refused

# These change what a program says, not what it does; they may stand beside an allow-listed command.
_HARMLESS = re.compile(
    r"LANG|LANGUAGE|LC_[A-Z]+|TZ|TERM|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|CLICOLOR|COLORTERM|NAME"
)

# Names by which a loader, an interpreter or a tool is told to run or load something else, or to trust somebody else.
_HOOKS = re.compile(
    "|".join(
        [
            "LD_.*",
            "DYLD_.*",
            "GLIBC_.*",
            "GCONV_PATH",
            "MALLOC_.*",
            "NLSPATH",
            "LOCPATH",
            "HOSTALIASES",
            "RES_OPTIONS",
            "LOCALDOMAIN",
            "NIS_PATH",
            "PYTHON.*",
            "_PYTHON.*",
            "PYENV_.*",
            "VIRTUAL_ENV",
            "CONDA_.*",
            "PIP_.*",
            "UV_.*",
            "POETRY_.*",
            "NODE_.*",
            "NPM_.*",
            "YARN_.*",
            "DENO_.*",
            "BUN_.*",
            "ELECTRON_.*",
            "PERL.*",
            "RUBY.*",
            "GEM_.*",
            "BUNDLE_.*",
            "BUNDLER_.*",
            "PHP.*",
            "LUA_.*",
            "R_.*",
            "JULIA_.*",
            "OCAML.*",
            "CAML.*",
            "GHC.*",
            "ERL_.*",
            "ELIXIR_.*",
            "MIX_.*",
            "JAVA_.*",
            "_JAVA_.*",
            "JDK_.*",
            "CLASSPATH",
            "MAVEN_.*",
            "GRADLE_.*",
            "SBT_.*",
            "KOTLIN_.*",
            "SCALA_.*",
            "DOTNET_.*",
            "COREHOST_.*",
            "CORECLR_.*",
            "COMPLUS_.*",
            "CARGO.*",
            "RUST.*",
            "GO(?:PATH|ROOT|FLAGS|PROXY|ENV|TOOLCHAIN|SUMDB|NOSUMDB|BIN|MODCACHE|INSECURE|PRIVATE|AUTH)",
            "CGO_.*",
            "CC",
            "CXX",
            "CPP",
            "LD",
            "AR",
            "AS",
            "NM",
            "CFLAGS",
            "CXXFLAGS",
            "CPPFLAGS",
            "LDFLAGS",
            "MAKE.*",
            "GNUMAKEFLAGS",
            "CMAKE_.*",
            "CONFIG_SITE",
            "BASH.*",
            "ENV",
            "SHELL",
            "SHELLOPTS",
            "BASHOPTS",
            "IFS",
            "CDPATH",
            "GLOBIGNORE",
            "PS[0-4]",
            "PROMPT_COMMAND",
            "ZDOTDIR",
            "ZSH.*",
            "FPATH",
            "KSH.*",
            "FISH.*",
            "FCEDIT",
            "HISTFILE",
            "GIT_.*",
            "SSH_.*",
            "GPG_.*",
            "GNUPGHOME",
            "SVN_.*",
            "HG(?:RC.*|EDITOR|MERGE|PLAIN)?",
            "CVS.*",
            "RSYNC_.*",
            "EDITOR",
            "VISUAL",
            "PAGER",
            "MANPAGER",
            "LESS.*",
            "MORE",
            "BROWSER",
            "TERMINFO.*",
            "TERMCAP",
            "INPUTRC",
            "VIM.*",
            "VIMINIT",
            "EXINIT",
            "EMACS.*",
            "NANO.*",
            ".*_PROXY",
            "PROXY",
            "NO_PROXY",
            "CURL_.*",
            "WGETRC",
            "SSL_.*",
            ".*_CA_BUNDLE",
            ".*_CAINFO",
            "OPENSSL_.*",
            "KRB5.*",
            "XDG_.*",
            "DBUS_.*",
            "HOME",
            "PATH",
            "TMPDIR",
            "TMP",
            "TEMP",
            "USER",
            "LOGNAME",
            "MAIL",
            "OLDPWD",
            "PWD",
            "SHLVL",
            "DOCKER_.*",
            "CONTAINER_.*",
            "KUBECONFIG",
            "AWS_.*",
            "AZURE_.*",
            "GOOGLE_.*",
            "GCLOUD_.*",
            "TAR_OPTIONS",
            "GZIP",
            "BZIP.*",
            "XZ_.*",
            "ZIPOPT",
            "UNZIP.*",
            "GREP_OPTIONS",
            "LS_COLORS",
            "JQ_.*",
            "AWK.*",
            "POSIXLY_CORRECT",
            "FIND_.*",
            "MAGIC",
            "GCC_.*",
            "COMPILER_PATH",
            "LIBRARY_PATH",
            ".*_PRELOAD",
            ".*_OPTIONS",
            ".*_OPTS",
            "TAWNY_.*",
        ]
    )
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_MAX_VALUE = 32_768


def check(env: Mapping[str, str]) -> None:
    """Refuse what may never be added, whoever asks.

    Raises:
        Refused: a name is a hook or no name, or a value is too long or has a NUL.
    """
    for name, value in env.items():
        if not _NAME.fullmatch(name):
            raise Refused(
                f"{name[:60]!r} is no name for an environment variable", hint="for example REPORT_DAY"
            )
        if _HOOKS.fullmatch(name.upper()):
            raise Refused(
                f"the environment variable {name} may not be set: it can make programs run or trust something else",
                hint="give the program an argument, or a file in the workspace, instead",
            )
        if "\0" in value or len(value) > _MAX_VALUE:
            raise Refused(f"the value of the environment variable {name} is too long or has a NUL")


def is_harmless(env: Mapping[str, str]) -> bool:
    """Whether these names change nothing that an approval of the command would have to look at."""
    return all(_HARMLESS.fullmatch(name) for name in env)
