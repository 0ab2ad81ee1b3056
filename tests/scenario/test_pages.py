"""What the pages for users say of the program. Invariants: every link leads somewhere; every command and option that a
sentence names is there; every configuration that is shown is one; and the examples run (test_examples.py)."""
import re

import pytest

from examples import REPOSITORY, SPAN, anchors, blocks, links, named, pages, spans
from tailrace import run

KINDS = {"sh", "yaml", "sql source", "sql target", "sql duckdb", "text"}
TARGETS = ("postgres://app@new/shop", "duckdb:shop.duckdb")
OPTION = re.compile(r"--[a-z][a-z-]*|(?<=\s)-[a-z]\b")
PLACEHOLDER = re.compile(r"[A-Z]{3,}|^[^a-z]*$|\.\.\.|NAME")


def test_every_block_says_its_kind():
    wrong = [f"{block.page}:{block.line} ({block.kind or 'none'})" for page in pages() for block in blocks(page)
             if block.kind not in KINDS and not block.page.startswith("bench/")]
    assert not wrong, wrong


def test_every_link_leads_somewhere():
    wrong = []
    for page in pages():
        for link in links(page):
            if re.match(r"https?:", link):
                continue
            path, _, anchor = link.partition("#")
            other = (page.parent / path).resolve() if path else page
            if not other.exists() or (anchor and anchor not in anchors(other)):
                wrong.append(f"{named(page)}: {link}")
    assert not wrong, wrong


def test_every_page_can_be_found():
    """From the README, by one link or two."""
    seen = {named(REPOSITORY / "README.md")}
    for _ in range(2):
        for page in pages():
            if named(page) in seen:
                seen |= {str((page.parent / link.partition("#")[0]).resolve().relative_to(REPOSITORY))
                         for link in links(page) if not re.match(r"https?:", link)}
    assert {named(page) for page in pages() if page.parent.name != "bench"} <= seen


@pytest.fixture(scope="module")
def helps():
    """{command: what its --help says}, in which options stand. "" is the program's own."""
    known = {"": run("--help").stdout}

    def learn(command):
        if command not in known:
            outcome = run(*command.split(), "--help")
            known[command] = outcome.stdout if outcome.returncode == 0 else None
        return known[command]

    return learn


def test_commands_and_options_are_there(helps):
    """Wherever one is named: in an example, in a sentence, in a table."""
    wrong = []
    texts = [(named(page), text) for page in pages() for text in spans(page)]
    every_command = re.findall(r"^  ([a-z-]+) ", helps("").split("Subcommands:")[1], re.M)
    texts += [(f"{command} --help", line) for command in every_command
              for line in re.findall(r"^ +((?:sudo )?tailrace .*)$", helps(command), re.M)]
    texts += [(block.page, line) for page in pages() for block in blocks(page) if block.kind == "sh"
              for line in block.commands()]
    for page, text in texts:
        for part in re.findall(r"(?:^|[;&|] *|\$\(|sudo )tailrace ((?:[a-z-]+ ?)+)([^;&|)]*)", text):
            words = part[0].split()
            two = " ".join(words[:2])
            command = two if words[0] == "config" else words[0]
            said = helps(command)
            if said is None:
                wrong.append(f"{page}: there is no command {command!r} ({text})")
                continue
            for option in OPTION.findall(" " + part[0] + part[1]):
                if not re.search(rf"(?<![\w-]){option}(?![\w-])", said):
                    wrong.append(f"{page}: {command} has no {option} ({text})")
    every = "".join(helps(command) for command in [*every_command, "config check", "config init"])
    for page, text in texts:
        for option in re.findall(r"^(--[a-z][a-z-]+)", text):
            if page.startswith("docs/") and "docs/dev" not in page and option not in every + helps(""):
                wrong.append(f"{page}: nothing has {option}")
    assert not wrong, wrong


def refusals(text, tmp_path):
    """A part of a configuration is taken with a source and a target; some keys are of one kind of target alone."""
    said = []
    for target in TARGETS:
        whole = text
        for key, value in (("source", "postgres://app@db/shop"), ("target", target)):
            if not re.search(rf"^{key}(_file)?:", text, re.M):
                whole += f"\n{key}: {value}\n"
        config = tmp_path / "example.yaml"
        config.write_text(whole, encoding="utf-8")
        environment = {name: f"postgres://app@db/{name}" for name in re.findall(r"\$\{(\w+)\}", text)}
        outcome = run("config", "check", "-c", config, env=environment)
        if outcome.returncode == 0:
            return ""
        said.append(outcome.stderr)
    return "\n".join(said)


def test_every_configuration_is_one(tmp_path):
    """Blocks, and what sentences show of the file as `key: {...}`."""
    keys = re.findall(r"^\| `(\w+)[`.]", (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8"), re.M)
    checks = [(block.page, block.text) for page in pages() for block in blocks(page) if block.kind == "yaml"]
    checks += [(named(page), text) for page in pages() if page.parent.name != "dev" for text in spans(page)
               if re.match(rf"({'|'.join(set(keys))}): [^ ]", text) and not PLACEHOLDER.search(text)]
    assert len(checks) > 30
    for page, text in checks:
        said = refusals(text, tmp_path)
        assert not said, f"{page}: {text}\n{said}"


def test_a_makefile_has_every_target_that_is_named():
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.M))
    for page in pages():
        for text in spans(page) + [block.text for block in blocks(page)]:
            assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets, f"{named(page)}: {text}"


# What PostgreSQL and libpq say; everything else on the page is said by us.
SERVERS = ("Connection refused", "No such file or directory", "password authentication failed", "no pg_hba.conf entry",
           "certificate verify failed", "does not match host name", "all replication slots are in use")
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
# Errors that need somebody and have no remedy of their own, with what stands in for it.
SAY_IT_THEMSELVES = {
    "report.error": "a replay's, which names change and reason",
    "source and target could not be compared: ": "the reason follows",
    "--table: ": "names the pattern",
    "it was stopped": "by whom it was asked to",
    "it was stopped before the running tailrace had answered": "the same",
    "the refresh was stopped before it was done": "by whom it was asked to",
    "{} is for PostgreSQL targets": "a command that does not fit",
    "the running tailrace refused: {}": "the reason and its remedy follow",
    "mending {}: {}": "the reason follows",
    "publication {} is gone": "dropped while it was compared",
    "the file's log has {} MB that the next start reads first": "told where the file is closed",
    "columns of {} may hold": "ends in what to do",
}


def words_of_the_program():
    """All its string literals, those that follow one another joined."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "src").rglob("*.cpp")))
    joined = re.sub(r'"\s*\n\s*"', "", text)
    return [literal.replace('\\"', '"') for literal in LITERAL.findall(joined)]


def test_every_message_that_is_explained_is_said():
    said = "\n".join(words_of_the_program())
    page = REPOSITORY / "docs/troubleshooting.md"
    first = re.findall(r"^\| ([^|]*`[^|]*) \|", page.read_text(encoding="utf-8"), re.M)
    messages = [message for cell in first for message in SPAN.findall(cell)]
    assert len(messages) >= 40
    for message in messages:
        assert message in SERVERS or message.replace('\\"', '"') in said, message


def arguments(text, at):
    """The arguments of the call whose opening bracket is there."""
    out, depth = [""], 0
    while True:
        literal = LITERAL.match(text, at)
        part = literal[0] if literal else text[at]
        at += len(part)
        if part in "([{":
            depth += 1
        elif part in ")]}":
            depth -= 1
            if depth == 0:
                return [argument.strip() for argument in out if argument.strip()]
        if part == "," and depth == 1:
            out.append("")
        elif depth > 1 or part not in "(":
            out[-1] += part


def test_an_error_that_needs_somebody_says_what_helps():
    missing = []
    for path in sorted((REPOSITORY / "src").rglob("*.cpp")):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"\bError(?: \w+)?\(\s*(?=Retry::needs_operator)", text):
            given = arguments(text, text.index("(", match.start()))
            if len(given) >= 3:
                continue
            words = "".join(LITERAL.findall(given[1])) or given[1]
            if not any(words.startswith(known.rstrip()) for known in SAY_IT_THEMSELVES):
                missing.append(f"{path.name}: {words}")
    assert not missing, missing


def page(name):
    return (REPOSITORY / "docs" / name).read_text(encoding="utf-8")


def code():
    return "".join(path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "src").rglob("*.cpp"))
                   if not path.name.endswith("_test.cpp"))


def test_the_log_is_what_its_page_says():
    """Who speaks in it."""
    row = re.search(r"^\| `component` \|(.*)$", page("monitoring.md"), re.M)[1]
    spoken = set(re.findall(r'log::\w+\(\s*(?:[\w:.]+,\s*)?"([a-z]+)"', code()))
    assert set(re.findall(r"`(\w+)`", row)) == spoken


def test_every_key_is_explained(tmp_path):
    """What is in effect has no key that the configuration's page leaves out, nor the page one that is not there."""
    known = set(re.findall(r"`([a-z_.]+)`", "".join(re.findall(r"^\| (`[^|]*) \|", page("configuration.md"), re.M))))
    config = tmp_path / "t.yaml"
    section, printed = "", set()
    config.write_text(f"source: postgres://app@db/shop\ntarget: {TARGETS[0]}\nspool: {tmp_path}\nstart_lsn: 0/1\n"
                      "http: 1\ncontrol_socket: /c\nslot: {wal_room: 1GB}\nsnapshot: {enabled: off}\n")
    for line in run("config", "check", "-c", config).stdout.splitlines():
        outer, inner = re.match(r"(\w+):", line), re.match(r"  (\w+):", line)
        section = outer[1] if outer else section
        printed |= {outer[1]} if outer else {f"{section}.{inner[1]}"} if inner else set()
    sections = {key.partition(".")[0] for key in known}
    assert len(printed) > 40 and printed <= known | sections, printed - known
    for key in sorted(known - printed):
        outer, _, inner = key.partition(".")
        config.write_text(f"{outer}: {{{inner}: x}}\n" if inner else f"{outer}: x\n")
        assert "unknown key" not in run("config", "check", "-c", config).stderr, key


def test_every_setting_that_is_pinned_is_named():
    text = (REPOSITORY / "src/pg/session_settings.cpp").read_text(encoding="utf-8")
    pinned = set(re.findall(r'^    \{"([a-z_]+)", "', text, re.M))
    assert len(pinned) > 20
    named_there = set(re.findall(r"`([A-Za-z_]+)`", page("settings.md").lower()))
    assert pinned <= named_there, pinned - named_there


def test_the_exit_codes_are_those_of_the_page():
    declared = set(re.findall(r"exit_\w+ = (\d)", (REPOSITORY / "src/cli/command.h").read_text(encoding="utf-8")))
    assert set(re.findall(r"^\| (\d) \|", page("status.md"), re.M)) == declared
    assert all(f"{number} " in run("--help").stdout.split("Exit codes:")[1] for number in declared)
