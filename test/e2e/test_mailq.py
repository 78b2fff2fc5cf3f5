# SPDX-License-Identifier: BSD-3-Clause
"""mailq prints what monitors of Postfix read (check_mailq and exporters)."""

import re

HEADING = "-Queue ID-"


def test_empty(private):
    assert private.mailq() == "Mail queue is empty\n"


def test_one(private):
    private.submit("-odq", "-f", "me@s.example", "b@x.example",
                   text="Subject: s\n\n" + "x" * 70 + "\n")
    lines = private.mailq().splitlines()
    assert lines[0].startswith(HEADING)
    assert re.match(r"[0-9A-V]{20}[*! ] +\d+ \w{3} \w{3} [ \d]\d "
                    r"\d\d:\d\d:\d\d +me@s\.example$", lines[1])
    assert lines[2].strip() == "b@x.example"
    assert lines[3] == ""
    assert re.match(r"-- \d+ Kbytes in 1 Request\.$", lines[-1])


def test_two(private):
    for _ in range(2):
        private.submit("-odq", "b@x.example", "c@x.example")
    out = private.mailq()
    assert out.splitlines()[-1].endswith(" in 2 Requests.")
    # What check_mailq of the monitoring plugins looks for.
    assert re.search(r"Kbytes in \d+", out.splitlines()[-1])
    assert out.count("c@x.example") == 2


def test_size_is_the_message_s(private):
    private.submit("-odq", "b@x.example", text="x\n\n" + "y" * 99 + "\n" * 9)
    size = int(private.mailq().splitlines()[1].split()[1])
    assert 108 < size < 2000


def test_null_sender(private):
    private.submit("-odq", "-f", "<>", "b@x.example")
    assert private.mailq().splitlines()[1].endswith("MAILER-DAEMON")


def test_names_and_options(private):
    private.submit("-odq", "b@x.example")
    by_option = private.run("-bp").out
    assert private.run(name="mailq").out == by_option
    assert "b@x.example" in by_option


def test_reason_is_one_line_of_printable_text(private, smtp):
    sink = smtp.sink(answers={"MAIL": "451 4.3.0 " + "later " * 60})
    private.relay(sink)
    private.submit("-odq", "b@x.example")
    private.flush()
    (reason,) = [x for x in private.mailq().splitlines()
                 if x.strip().startswith("(")]
    assert "451 4.3.0 later" in reason


def test_one_reason_for_several_recipients(private, smtp):
    sink = smtp.sink(answers={"RCPT": "450 4.2.0 greylisted"})
    private.relay(sink)
    private.submit("-odq", "b@x.example", "c@x.example")
    private.flush()
    out = private.mailq()
    assert out.count("greylisted") == 1
    assert "b@x.example" in out and "c@x.example" in out


def test_delivered_recipients_are_not_listed(private, smtp):
    sink = smtp.sink(recipients={"b@x.example": "450 4.2.0 later"})
    private.relay(sink)
    private.submit("-odq", "b@x.example", "c@x.example")
    private.flush()
    out = private.mailq()
    assert "b@x.example" in out and "c@x.example" not in out


def test_damaged_queue_file_is_kept_and_counted(private):
    private.submit("-odq", "b@x.example")
    (name,) = private.queue()
    path = private.spool / name
    path.write_bytes(b"garbage" + path.read_bytes()[7:])
    private.flush()
    assert private.queue() == []
    assert private.traces() == ["bad." + name]
    assert name in private.log()
    first, last = private.mailq().splitlines()
    assert first == "(1 damaged, kept as %s/bad.*)" % private.spool
    assert last == "Mail queue is empty"  # monitors read the last line alone


def parse(text):
    """As the tools do that read Postfix's mailq."""
    lines = text.splitlines()
    assert lines[0].startswith(HEADING) and lines[-2] == ""
    found = {}
    for block in "\n".join(lines[1:-2]).split("\n\n"):
        head, *rest = block.split("\n")
        name, mark, size, _, sender = re.fullmatch(
            r"([0-9A-Z]+)([*!#]?) +(\d+) (\w{3} \w{3} [ \d]\d "
            r"\d\d:\d\d:\d\d) +(\S+)", head).groups()
        reason, recipients = None, {}
        for line in rest:
            if line.strip().startswith("("):
                reason = re.fullmatch(r" *\((.*)\)", line).group(1)
            else:
                recipients[re.fullmatch(r" {21,}(\S+)", line).group(1)] = reason
        found[name] = (mark, int(size), sender, recipients)
    return found, re.fullmatch(r"-- (\d+) Kbytes in (\d+) Requests?\.",
                               lines[-1]).groups()


def test_what_a_parser_of_postfix_s_list_finds(private, smtp):
    sink = smtp.sink(recipients={"b@x.example": "450 4.2.0 (busy) later",
                                 "c@x.example": "450 4.2.1 full"})
    private.relay(sink)
    private.submit("-odq", "-f", "me@s.example", "a@x.example", "b@x.example",
                   "c@x.example")
    (tried,) = private.queue()
    private.flush()
    private.submit("-odq", "-f", "<>", "d@x.example")
    (new,) = set(private.queue()) - {tried}
    found, (_, count) = parse(private.mailq())
    assert set(found) == {tried, new} and count == "2"
    mark, size, sender, recipients = found[tried]
    assert (mark, sender) == ("", "me@s.example") and size > 10
    assert list(recipients) == ["b@x.example", "c@x.example"]
    assert "450 4.2.0 (busy) later" in recipients["b@x.example"]
    assert "450 4.2.1 full" in recipients["c@x.example"]
    assert all("; 1 try, next " in r for r in recipients.values())
    assert found[new][2:] == ("MAILER-DAEMON", {"d@x.example": None})
