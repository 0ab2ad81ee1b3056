"""Completion and man pages are made from what --help knows. Invariants: every command and every option is in each of
them; a real bash completes commands, options, their values and files; man has nothing to complain of."""
import re
import shutil
import subprocess

import pytest

from tailrace import BINARY, run


def help_of(path):
    outcome = run(*path, "--help")
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def commands(path=()):
    """Every command as its words, from what --help lists."""
    out = [tuple(path)]
    listed = re.split(r"^Subcommands:\n", help_of(path), flags=re.MULTILINE)
    if len(listed) > 1:
        for name in re.findall(r"^  ([a-z-]+)", listed[1].split("\n\n")[0], flags=re.MULTILINE):
            out += commands((*path, name))
    return out


def options(path):
    """Every option of a command, long and short."""
    listed = re.search(r"^Options:\n((?:  .*\n)+)", help_of(path), flags=re.MULTILINE)
    assert listed, path
    return {name for line in listed[1].splitlines() if re.match(r"  -", line)
            for name in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line[:34])}


ALL = commands()


def test_there_are_commands():
    names = {" ".join(path) for path in ALL}
    assert {"", "run", "status", "config check", "config init", "completion", "man"} <= names, names


def completed(tmp_path, *words):
    """What a real bash offers for the last word, after the script was sourced as users do."""
    script = f"""
        source <({BINARY} completion bash)
        complete -p tailrace > /dev/null || exit 9
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${{#COMP_LINE}}
        _tailrace tailrace "${{@: -1}}" "${{@: -2:1}}"
        ((${{#COMPREPLY[@]}})) && printf '%s\\n' "${{COMPREPLY[@]}}"
        true
    """
    outcome = subprocess.run(["bash", "-c", script, "bash", "tailrace", *words], capture_output=True, text=True,
                             cwd=tmp_path, timeout=60, check=False)
    assert outcome.returncode == 0 and not outcome.stderr, outcome
    return set(outcome.stdout.splitlines())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_in_bash(path, tmp_path):
    assert completed(tmp_path, *path, "-") == options(path)


def test_words_in_bash(tmp_path):
    (tmp_path / "a file.yaml").touch()
    (tmp_path / "shop.duckdb").touch()
    assert completed(tmp_path, "") == {path[0] for path in ALL if len(path) == 1}
    assert completed(tmp_path, "st") == {"status"}
    assert completed(tmp_path, "config", "") == {"check", "init"}
    assert completed(tmp_path, "run", "--orig") == {"--origin"}
    assert completed(tmp_path, "run", "--origin", "") == {"any", "none"}
    assert completed(tmp_path, "run", "--log-level", "w") == {"warn"}
    assert completed(tmp_path, "run", "--log-level", "=", "d") == {"debug"}
    assert completed(tmp_path, "run", "-c", "a") == {"a file.yaml"}
    assert completed(tmp_path, "config", "check", "--config", "") == {"a file.yaml", "shop.duckdb"}
    assert completed(tmp_path, "run", "duck") == {"duckdb:"}
    assert completed(tmp_path, "run", "duckdb", ":", "sh") == {"shop.duckdb"}
    assert completed(tmp_path, "run", "--name", "") == set(), "nobody knows which"
    assert completed(tmp_path, "completion", "") == {"bash", "zsh", "fish"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell):
    """Every command and option is in the script, and the shell takes it, where there is one."""
    script = run("completion", shell).stdout
    for path in ALL:
        assert not path or path[-1] in script
        for name in options(path):
            word = name.lstrip("-") if shell == "fish" else name
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", script), (path, name)
    if shutil.which(shell):
        outcome = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=60, check=False)
        assert outcome.returncode == 0 and not outcome.stderr, outcome


def test_another_shell():
    outcome = run("completion", "tcsh")
    assert outcome.returncode == 2 and "bash, zsh, fish" in outcome.stderr, outcome


def without_formatting(page):
    return re.sub(r"\\f[BIR]", "", page).replace("\\-", "-").replace("\\(aq", "'").replace("\\&", "")


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_man_pages(path):
    page = run("man", *path).stdout
    assert page.startswith(f".TH {'-'.join(('tailrace', *path)).upper()} ".replace("-", "\\-")), page[:80]
    plain = without_formatting(page)
    for name in options(path):
        assert re.search(rf"^(?:.*, )?{re.escape(name)}(?:,| |$)", plain, flags=re.MULTILINE), (name, page)
    for below in ALL:
        if below[:-1] == path and below:
            assert f"{'-'.join(('tailrace', *below))}(1)" in plain
    if shutil.which("groff"):
        outcome = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-z"], input=page, capture_output=True, text=True,
                                 timeout=60, check=False)
        assert outcome.returncode == 0 and not outcome.stderr, outcome


def test_all_at_once(tmp_path):
    """As the build does it for the package."""
    assert run("man", "--into", tmp_path / "share").returncode == 0
    made = {str(file.relative_to(tmp_path / "share")) for file in (tmp_path / "share").rglob("*") if file.is_file()}
    pages = {f"man/man1/{'-'.join(('tailrace', *path))}.1" for path in ALL}
    assert made == pages | {"bash-completion/completions/tailrace", "zsh/vendor-completions/_tailrace",
                            "zsh/site-functions/_tailrace", "fish/vendor_completions.d/tailrace.fish"}
    for shell, file in (("bash", "bash-completion/completions/tailrace"),
                        ("fish", "fish/vendor_completions.d/tailrace.fish")):
        assert (tmp_path / "share" / file).read_text(encoding="utf-8") == run("completion", shell).stdout


def test_a_command_that_is_none():
    outcome = run("man", "bogus")
    assert outcome.returncode == 2 and "there is no command 'tailrace bogus'" in outcome.stderr, outcome
