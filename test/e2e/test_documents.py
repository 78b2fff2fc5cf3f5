# SPDX-License-Identifier: BSD-3-Clause
"""What the documents say is what is built: options, keys, exit statuses,
the map of the code."""

import ast
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import house

MANUAL = (house.TOP / "dma.8").read_text()
README = (house.TOP / "README.markdown").read_text()
GENERATED = ("aliases_parse.c", "aliases_parse.h", "aliases_scan.c")
# First parts of a path that any machine has: naming them tells nothing.
USUAL_PLACES = ("bin", "boot", "dev", "etc", "export", "home", "lib", "mnt",
                "opt", "private", "proc", "root", "run", "sbin", "srv", "sys",
                "tmp", "usr", "Users", "var")


def source(*patterns):
    files = [f for p in patterns for f in sorted(house.TOP.glob(p))
             if f.name not in GENERATED]
    assert files, "no file is called %s" % (patterns,)
    return "\n".join(f.read_text() for f in files)


def section(name):
    """One section of the manual, to the next one."""
    found = re.search(r"^\.Sh %s$(.*?)(?=^\.Sh |\Z)" % name, MANUAL,
                      re.M | re.S)
    assert found, "dma.8 has no section %s" % name
    return found.group(1)


def manual_options():
    items = re.findall(r"^\.It (Fl .*)$", section("DESCRIPTION"), re.M)
    return items, {x for i in items for x in re.findall(r"\bFl ([A-Za-z])", i)}


def help_text(built, name="sendmail"):
    done = subprocess.run([name, "--help"], executable=built / "dma",
                          check=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    return done.stdout


# ---- Options ----

def table_options():
    found = re.findall(r"\{\s*'(.)',\s*(?:NO_|ATTACHED_)?VALUE,",
                       source("options.c"))
    assert len(found) == len(set(found)) > 20
    return set(found)


def test_the_manual_has_the_options_of_the_table():
    assert manual_options()[1] == table_options()


def test_help_has_the_options_of_the_table(built):
    shown = set()
    for line in help_text(built).splitlines():
        if line.startswith("  -"):
            flags = re.split(r"\s{2,}", line.strip())[0]
            shown |= set(re.findall(r"(?<![\w-])-(\w)", flags))
    assert shown == table_options()


def test_long_options_are_the_same_everywhere(built):
    items = "\n".join(manual_options()[0])
    known = set(re.findall(r'strcmp\(name, "(\w+)"\) == 0\)\s+'
                           r"o->action", source("options.c")))
    ctl = set(re.findall(r'\{"(\w+)", (?:true|false), take_',
                         source("options_ctl.c")))
    assert known and len(ctl) > 5
    assert known | ctl == set(re.findall(r"\bFl -(\w+)", items))
    assert known == long_options_in(help_text(built))
    assert known | ctl == long_options_in(help_text(built, "dmactl"))


def long_options_in(text):
    return set(re.findall(r"(?<![\w-])--(\w+)", text))


def test_commands_of_dmactl_are_the_same_everywhere(built):
    table = set(re.findall(r'\{"(\w+)", CTL_', source("options_ctl.c")))
    assert len(table) > 5
    told = re.search(r"^\.Ss Queue commands$(.*?)^\.El$", MANUAL,
                     re.M | re.S).group(1)
    assert table == set(re.findall(r"^\.It Cm (\w+)$", told, re.M))
    shown = set(re.findall(r"^  ([a-z]+) {2,}", help_text(built, "dmactl"),
                           re.M))
    assert shown == table | {"run", "id"}


@pytest.mark.parametrize("name", ["sendmail", "dmactl"])
def test_help_fits_a_screen(built, name):
    lines = help_text(built, name).splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80


def test_the_synopsis_names_no_other_option():
    synopsis = section("SYNOPSIS")
    letters = set("".join(re.findall(r"\bFl (\w+)", synopsis)))
    assert letters and letters <= table_options()


# ---- Keys ----

def program_keys():
    found = re.findall(r'\bK\("([A-Z_]+)"', source("conf*.c"))
    assert len(found) == len(set(found)) > 20
    return set(found)


def test_the_manual_has_the_keys_of_the_program():
    found = re.findall(r"^\.It Cm ([A-Z_]{2,})\b", section("CONFIGURATION"),
                       re.M)
    assert len(found) == len(set(found))
    assert set(found) == program_keys()


def test_dma_conf_has_the_keys_of_the_program():
    found = re.findall(r"^#?([A-Z_]{2,})(?:[ \t]|$)", source("dma.conf"), re.M)
    assert set(found) == program_keys()


def test_each_key_of_the_manual_has_its_default():
    items = re.split(r"^\.It Cm (?=[A-Z_]{2,}\b)", section("CONFIGURATION"),
                     flags=re.M)[1:]
    missing = [i.split()[0] for i in items
               if not re.search(r"^Default:| default\.$", i, re.M)]
    assert missing == []


# ---- Exit statuses ----

def objects_of_dma():
    text = re.sub(r"\\\n\s*", " ", source("sources.mk"))
    variables = dict(re.findall(r"^([A-Z0-9_]+)=[ \t]*(.*)$", text, re.M))
    objects = "dma.o " + variables["DMA_OBJS"]
    while "$(" in objects:
        objects = re.sub(r"\$\((\w+)\)", lambda m: variables[m[1]], objects)
    return [o[:-len(".o")] for o in objects.split()]


def test_exit_statuses_are_those_of_the_program():
    text = source(*(name + ".[cyl]" for name in objects_of_dma()))
    used = {name: getattr(os, name)
            for name in set(re.findall(r"\bEX_[A-Z]+\b", text))}
    told = re.findall(r"^\.It (\d+) Pq Dv (EX_[A-Z]+)$",
                      section("EXIT STATUS"), re.M)
    assert {name: int(number) for number, name in told} == used
    assert "EX_USAGE" in used and "EX_TEMPFAIL" not in used


# ---- The log ----

def test_fixed_words_of_each_log_line_are_in_the_manual():
    """Each format that goes to the log has its words in DIAGNOSTICS."""
    words = " ".join(re.findall(r"\S+", section("DIAGNOSTICS")))
    text = source(*(name + ".c" for name in objects_of_dma()))
    calls = re.findall(r'\blog_event\(\s*\w+(?:\([^()]*\))?,[^"]*?LOG_\w+,\s*'
                       r'((?:"(?:[^"\\]|\\.)*"\s*)+)', text)
    assert len(calls) > 15
    missing = []
    for call in calls:
        line = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', call))
        parts = re.split(r"%[-.\d]*(?:ll|l|z)?[a-z]", line)
        for part in (p.strip(" ,:;<>()=") for p in parts):
            if len(part) > 6 and part not in words:
                missing.append(line)
    assert missing == []


# ---- Form ----

def test_what_a_message_lost_is_in_the_manual():
    """The notes that mime*.c give the log."""
    notes = re.findall(r'\bnote_\w+\[\] = "([^"]+)"', source("mime*.c"))
    assert len(notes) == 4
    for note in notes:
        assert note in section("DIAGNOSTICS"), note


def test_mandoc_finds_nothing():
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-Tlint", "-Wall", house.TOP / "dma.8"],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def test_the_manual_has_its_sections():
    wanted = ("NAME", "SYNOPSIS", "DESCRIPTION", "CONFIGURATION", "QUEUE",
              "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES",
              "DIAGNOSTICS", "SEE ALSO", "STANDARDS", "HISTORY", "AUTHORS",
              "CAVEATS", "SECURITY CONSIDERATIONS")
    assert tuple(re.findall(r"^\.Sh (.*)$", MANUAL, re.M)) == wanted


# ---- README: the map of the code ----

def code_map():
    found = re.search(r"^## Map of the code$(.*?)(?=^## |\Z)", README,
                      re.M | re.S)
    assert found, "README.markdown has no map of the code"
    rows = re.findall(r"^\| (\d) \| (.*?) \|", found.group(1), re.M)
    assert len(rows) > 20
    return [(int(floor), name) for floor, cell in rows
            for name in re.findall(r"`([^`]+)`", cell)]


def test_each_file_of_the_map_exists():
    assert [n for _, n in code_map() if not list(house.TOP.glob(n))] == []


def test_each_file_named_in_the_readme_exists():
    named = re.findall(r"`(?:\./)?([\w./-]+(?:\.(?:md|mk|8|[chyl])|/))`",
                       README)
    named = [n for n in named if not n.startswith("/")]
    assert len(named) > 20
    assert [n for n in named if not (house.TOP / n).exists()] == []


def test_the_map_has_each_file():
    """A header belongs to the source, or the group, of its name."""
    stems = [os.path.splitext(name)[0] for _, name in code_map()]
    lost = [f.name for p in ("*.c", "*.h", "*.y", "*.l")
            for f in house.TOP.glob(p)
            if f.name not in GENERATED
            and not any(fnmatch.fnmatch(f.stem, s) for s in stems)]
    assert lost == []


def test_the_table_of_floors_has_each_source():
    text = (house.TOP / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| \d \| ([^|]+) \|", text, re.M)
    assert len(rows) > 8
    names = re.findall(r"[\w*]+", " ".join(rows))
    lost = [f.name for f in house.TOP.glob("*.c")
            if f.name not in GENERATED
            and not any(fnmatch.fnmatch(f.stem, n) for n in names)]
    assert lost == []


def test_the_map_has_the_floors_that_are_checked():
    """test/floors is what `make floors` goes by."""
    floors = {}
    text = (house.TOP / "test" / "floors").read_text()
    for number, names in re.findall(r'floor_is\((\d), "([^"]*)"\)', text):
        floors.update(dict.fromkeys(names.split(), int(number)))
    assert floors
    wrong = []
    for floor, name in code_map():
        stem = os.path.splitext(name)[0]
        if floors.get(stem, floors.get(stem.split("_")[0])) != floor:
            wrong.append((floor, name))
    assert wrong == []


# ---- All documents ----

def documents():
    names = ("*.md", "*.markdown", "*.8", "*.conf", "LICENSE")
    return [f for n in names for f in sorted(house.TOP.glob(n))]


def private_places():
    """Paths that only the machine of whoever wrote the documents has."""
    home = pathlib.Path.home()
    places = {house.TOP}
    if len(home.parts) > 1:
        places.add(home)
    for path in (house.TOP, home):
        if len(path.parts) > 1 and path.parts[1] not in USUAL_PLACES:
            places.add(pathlib.Path("/", path.parts[1]))
    return places


def test_no_document_names_a_path_of_this_machine():
    found = []
    for file in documents():
        text = file.read_text()
        for place in private_places():
            if re.search(r"(?<![\w.~$}])%s(?![\w.-])" % re.escape(str(place)),
                         text):
                found.append((file.name, str(place)))
    assert found == []


# ---- The code ----

@pytest.mark.rows("V-20")
def test_no_signal_has_a_handler():
    """What is not there cannot be interrupted in the wrong moment."""
    text = source("*.c")
    given = set(re.findall(r"\bsignal\(\w+, (\w+)\)", text))
    given |= set(re.findall(r"\bsa_(?:handler|sigaction) = (\w+)", text))
    assert given == {"SIG_IGN", "SIG_DFL"}


@pytest.mark.rows("V-03", "V-11")
def test_no_shell_and_no_format_of_others():
    assert not re.search(r"\b(?:system|popen|execlp|execvp)\(", source("*.c"))
    assert "-Wformat=2" in source("Makefile", "*.mk")


# ---- The rows: what is known to go wrong, and the test of each ----

ROW = re.compile(r"[A-Z]-[0-9]{2,3}\b")
LEADING_ROWS = re.compile(r"(?:%s[ ,]*)+" % ROW.pattern)
TESTS = house.TOP / "test"


def rows_of_python(path):
    """Strings that begin with rows: marks, and ids of a table's lines."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree)
                  if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (isinstance(node, ast.Constant) and isinstance(node.value, str)
                and id(node) not in docstrings):
            found = LEADING_ROWS.match(node.value)
            yield from ROW.findall(found.group() if found else "")


def rows_of_tests():
    """Those that a test is named after; README.md there says how."""
    found = set()
    for path in TESTS.glob("*/*.py"):
        found.update(rows_of_python(path))
    for path in TESTS.glob("*/*.c"):
        names = re.findall(r"^\w+(?=\(void \*\*)", path.read_text(), re.M)
        for row in re.findall(r"_([A-Z]_\d{2,3})(?![^_ ])", " ".join(names)):
            found.add(row.replace("_", "-"))
    for path in TESTS.glob("e2e/*/*.*"):
        stem = LEADING_ROWS.match(path.name.replace("_", " "))
        text = path.read_text(errors="replace") if path.is_file() else ""
        lines = re.findall(r"^# rows: (.*)$", text, re.M)
        found.update(ROW.findall(" ".join([stem[0] if stem else "", *lines])))
    return found


def test_each_row_has_its_test():
    tested, lost = rows_of_tests(), []
    for path in sorted((TESTS / "rows").glob("[A-Z]")):
        for line in path.read_text().splitlines():
            assert re.fullmatch(r"%s-\d{2,3} \S.*" % path.name, line), line
            lost += [line] if line.split()[0] not in tested else []
    assert lost == []
