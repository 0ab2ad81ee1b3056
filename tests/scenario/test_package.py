"""What `make package` packs and `make install` installs, by the same rules, of the build that is tested. Invariants: it
runs wherever it is put, holds nothing of the tests, and all that its pages name is there."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from examples import REPOSITORY, links
from tailrace import BINARY

BUILD = REPOSITORY / "build/release"
PAGES = "usr/share/doc/tailrace"

pytestmark = pytest.mark.skipif("TAILRACE_BIN" in os.environ, reason="packs the release build")


def said(*command, **how):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True, **how).stdout


def test_the_package(tmp_path):
    """All of it in one test: packing takes the most of its time. gzip, for the real one's compression takes half a
    minute."""
    folder = tmp_path / "package"
    said("cpack", "-G", "DEB", "-B", folder, "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=gzip", cwd=BUILD)
    (deb,) = folder.glob("*.deb")
    root = folder / "root"
    said("dpkg-deb", "-R", deb, root)
    it_runs_and_is_stripped(root)
    it_says_what_it_needs_and_keeps_what_was_changed(deb, root)
    units_and_notices(root)
    completion_and_man_pages(root)
    the_pages_links_lead_somewhere(root)
    listed = said("dpkg-deb", "-c", deb)
    assert "/tests/" not in listed and "_test" not in listed.replace("alerts_test.yml", "")
    an_installation_is_the_same(root, tmp_path)


def it_runs_and_is_stripped(root):
    program = root / "usr/bin/tailrace"
    assert said(program, "--version") == said(BINARY, "--version")
    assert "not stripped" not in said("file", program)
    assert program.stat().st_size < 15_000_000


def it_says_what_it_needs_and_keeps_what_was_changed(deb, root):
    needs = said("dpkg-deb", "-f", deb, "Depends")
    for library in ("libpq5", "libyaml-cpp", "libspdlog", "libc6"):
        assert library in needs
    assert "duckdb" not in needs, "it brings that along"
    assert (root / "DEBIAN/conffiles").read_text().split() == ["/etc/default/tailrace"]
    assert (root / "etc/default/tailrace").is_file()
    for script in ("postinst", "prerm"):
        assert os.access(root / "DEBIAN" / script, os.X_OK)
        said("sh", "-n", root / "DEBIAN" / script)


def units_and_notices(root):
    for name in ("tailrace.service", "tailrace@.service"):
        unit = (root / "usr/lib/systemd/system" / name).read_text()
        assert re.search(r"^ExecStart=tailrace run -c /etc/tailrace/", unit, re.M)
        assert "EnvironmentFile=-/etc/default/tailrace" in unit
    assert (root / "usr/lib/sysusers.d/tailrace.conf").is_file()
    assert "DuckDB Foundation" in (root / PAGES / "copyright").read_text()
    assert (root / PAGES / "LICENSE").is_file()


def completion_and_man_pages(root):
    share = root / "usr/share"
    for name in ("tailrace", "tailrace-run", "tailrace-config-init"):
        assert list((share / "man/man1").glob(f"{name}.1*")), name
    for file in ("bash-completion/completions/tailrace", "zsh/vendor-completions/_tailrace",
                 "fish/vendor_completions.d/tailrace.fish"):
        assert (share / file).is_file(), file


def the_pages_links_lead_somewhere(root):
    pages = sorted((root / PAGES).rglob("*.md"))
    assert len(pages) > 15
    missing = []
    for page in pages:
        for link in links(page):
            path = link.partition("#")[0]
            if path and not re.match(r"https?:", path) and not (page.parent / path).exists():
                missing.append(f"{page.relative_to(root)}: {link}")
    assert not missing, missing


def an_installation_is_the_same(root, tmp_path):
    """But for what is outside of every prefix."""
    said("cmake", "--install", BUILD, "--prefix", tmp_path / "usr", "--strip")

    def files(of):
        return {str(path.relative_to(of)) for path in Path(of).rglob("*") if not path.is_dir()}

    assert files(tmp_path / "usr") == files(root / "usr")
    assert said(tmp_path / "usr/bin/tailrace", "--version") == said(BINARY, "--version")


def test_installing_builds_the_program_alone():
    """`make -n` shows what would be done."""
    for target in ("install", "package", "demo"):
        plan = said("make", "-n", target, cwd=REPOSITORY)
        assert re.findall(r"tools/build (\w+)", plan) == ["program"], plan
    presets = (REPOSITORY / "CMakePresets.json").read_text()
    assert re.search(r'"program".*?"TAILRACE_TESTS": "OFF"', presets, re.S)
