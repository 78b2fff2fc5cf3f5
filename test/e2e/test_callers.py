# SPDX-License-Identifier: BSD-3-Clause
"""The programs that call sendmail, mailq and read our log, run for real.

A test runs one as its user would, and looks at what it said and at what
arrived: at a relay, or in a mailbox of this machine.
"""

import email
import email.policy
import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import threading
import time

import pytest

import callers as roots
import instance
import servers

BODY = ("Grüße, naïve text\n.\n..two dots\nFrom the start\n"
        "Bcc: evil@far.example\n")


# ---- The root, and what must be in it ----

@pytest.fixture(scope="module")
def root(installed, scratch):
    if not any(servers.is_fetched(name) for name in roots.SETS):
        servers.require(roots.SETS[0])
    one = roots.Callers(installed, scratch)
    yield one
    one.leave()


def fixture_of(name):
    @pytest.fixture(name=name)
    def fixture(root, system):  # dma's queue is empty, its log is new
        servers.require(name)
        return root
    return fixture


mailers, php, scripts, daemons, monitors = map(fixture_of, roots.SETS)


@pytest.fixture
def relay(system, smtp):
    """A server that takes whatever is not for this machine."""
    sink = smtp.sink()
    system.relay(sink)
    return sink


def arrived(system, sink, count=1):
    """What came, in the order of their subjects."""
    instance.wait_for(lambda: len(sink.messages) >= count,
                      "%d messages at the relay" % count)
    system.wait_delivered()
    assert len(sink.messages) == count
    return sorted(sink.messages, key=lambda m: m.header("Subject"))


def parsed(message):
    return email.message_from_bytes(message.data,
                                    policy=email.policy.default)


def text_of(message):
    """The text that a reader sees, with local line ends."""
    if not message.header("MIME-Version"):
        return message.body
    part = parsed(message).get_body(("plain",))
    return part.get_content().replace("\r\n", "\n")


def check(message, sender, recipients, body=BODY):
    """The envelope, the fields that every message has once, the text."""
    assert message.sender == sender
    assert sorted(message.recipients) == sorted(recipients)
    for name in ("From", "Date", "Message-ID", "Subject", "To"):
        assert len(message.header(name)) == 1, message.text
    assert message.header("Bcc") == []
    (address,) = parsed(message)["From"].addresses
    assert address.domain, message.text
    if body is not None:
        assert text_of(message) == body


# ---- Mail programs ----

def test_mutt(mailers, system, relay):
    mailers.root.write("/home/alice/notes", "attached\n.\n")
    mailers.must(
        "mutt", "-n", "-F", "/dev/null", "-e", "set write_bcc=yes",
        "-e", "set use_envelope_from=yes", "-e", "set from=me@client.example",
        "-e", "set dsn_notify='failure,delay'", "-e", "set dsn_return=hdrs",
        "-s", "Grüße aus mutt", "-c", "carol@far.example",
        "-b", "hidden@far.example", "-a", "/home/alice/notes", "--",
        "bob@far.example", text=BODY)
    (message,) = arrived(system, relay)
    check(message, "me@client.example",
          ["bob@far.example", "carol@far.example", "hidden@far.example"])
    assert "RET=HDRS" in message.params
    assert all("NOTIFY=FAILURE,DELAY" in p for p in message.recipient_params)
    whole = parsed(message)
    assert whole["Subject"] == "Grüße aus mutt"
    (attachment,) = whole.iter_attachments()
    assert attachment.get_content() == "attached\r\n.\r\n"


def test_mutt_shows_why_mail_was_not_taken(mailers, system):
    system.configure("NO_SUCH_KEY 1")
    result = mailers.run("mutt", "-n", "-F", "/dev/null", "-s", "s", "--",
                         "bob@far.example", text="x\n")
    assert result.exit != 0
    assert "exited 78" in result.err
    assert "NO_SUCH_KEY" in result.err + result.out


MUTT_READS = (
    "set confirmappend=no confirmcreate=no delete=yes move=no quit=yes mark_old=no "
    "wait_key=no folder=/home/bob",
    "push <tag-pattern>~A<enter><tag-prefix><save-message><kill-line>"
    "/home/bob/saved<enter><sync-mailbox><quit>")

MUTT_ASKS = 4  # seconds of silence, and it waits for a key


def mutt_moves_all(mailers, mailbox):
    """Bob saves all his messages elsewhere, so that mutt rewrites the mailbox;
    False: he had none, or mutt asks what to do, for new ones came meanwhile."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with subprocess.Popen(
            ["chroot", "--userspec=bob:bob", "--groups=", mailers.root.path,
             "/usr/bin/mutt", "-n", "-F", "/dev/null", "-z", "-f", mailbox,
             *(x for order in MUTT_READS for x in ("-e", order))],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={"PATH": roots.PATH, "HOME": "/home/bob", "TERM": "xterm",
                 "LANG": "C.UTF-8"}) as process:
        os.close(slave)
        asked = 0
        try:
            while process.poll() is None and asked < 5:
                if select.select([master], [], [], MUTT_ASKS)[0]:
                    os.read(master, 65536)
                else:
                    os.write(master, b"\x07x")  # no; leave all as it is
                    asked += 1
        except OSError:  # its end
            pass
        finally:
            os.close(master)
            process.kill()
    return process.returncode == 0


def test_mutt_rewrites_a_mailbox_that_is_delivered_to(mailers, system):
    """Both lock it, and each message is there, whole, in the end.  What mutt
    saved, and then found the mailbox changed, it leaves there too."""
    mailers.empty("/home/bob", "bob", 0o700)
    (system.maildir / "bob").touch()
    shutil.chown(system.maildir / "bob", "bob", "mail")
    (system.maildir / "bob").chmod(0o660)
    done, rounds = threading.Event(), []

    def read():
        while not done.is_set():
            rounds.append(mutt_moves_all(mailers, system.maildir / "bob"))
    reader = threading.Thread(target=read)
    reader.start()
    users, count = ("alice", "bob", "carol", "root"), 0
    until = time.monotonic() + instance.BOUND
    while count < 10 or (sum(rounds) < 1 and time.monotonic() < until):
        for user in users:
            system.submit("bob", "-odq", user=user,
                          text="Subject: %s.%d\n\n%s" % (
                              user, count, "From here\n" * (1 + count * 7)))
        count += 1
        system.flush(user="root")
    done.set()
    reader.join()
    system.flush(user="root")
    system.wait_delivered()
    system.wait_idle()
    saved = instance.messages_in(mailers.root.inside("/home/bob/saved"))
    found = {m["Subject"]: m.get_payload() for m in [
        *saved, *system.mailbox("bob")]}
    assert sum(rounds) > 0 and len(saved) > 0
    left = [m["Subject"] for m in system.mailbox("bob")]
    assert len(left) == len(set(left))
    assert system.log().count("status=sent") == len(users) * count
    assert found == {"%s.%d" % (u, n): ">From here\n" * (1 + n * 7)
                     for u in users for n in range(count)}
    assert os.listdir(system.maildir) == ["bob"]


def test_s_nail(mailers, system, relay):
    mailers.must("s-nail", "-n", "-S", "v15-compat=y", "-s", "s-nail",
                 "-r", "Alice <me@client.example>", "-c", "carol@far.example",
                 "-b", "hidden@far.example", "bob@far.example", text=BODY)
    (message,) = arrived(system, relay)
    check(message, "me@client.example",
          ["bob@far.example", "carol@far.example", "hidden@far.example"])


@pytest.mark.parametrize("options, sender, field", [
    ((), "alice", "Alice Example <alice@client.example>"),
    (("-r", "me@client.example"), "me", "me@client.example"),
])
def test_bsd_mailx(mailers, system, relay, options, sender, field):
    """It sends neither Date nor, without -r, From."""
    mailers.must("bsd-mailx", *options, "-s", "mailx", "-c",
                 "carol@far.example", "-b", "hidden@far.example",
                 "bob@far.example", text=BODY)
    (message,) = arrived(system, relay)
    check(message, sender + "@client.example",
          ["bob@far.example", "carol@far.example", "hidden@far.example"])
    assert message.header("From") == [field]


def test_bsd_mailx_to_a_local_user(mailers, system):
    done = mailers.run("bsd-mailx", "-v", "-s", "local", "bob", text=BODY)
    assert done.exit == 0, done
    assert "status=sent" in done.err  # what sendmail -v has to say
    instance.wait_for(lambda: system.mailbox("bob"), "mail for bob")
    (message,) = system.mailbox("bob")
    assert message["From"] == "Alice Example <alice@client.example>"
    assert message["To"] == "bob@client.example"


def test_mailutils(mailers, system, relay):
    # As every mailx, it takes a lone dot for the end unless told otherwise.
    mailers.must("mail.mailutils", "-E", "set nodot", "-s", "mailutils",
                 "-a", "Cc: carol@far.example",
                 "-a", "Bcc: hidden@far.example", "bob@far.example",
                 text=BODY)
    (message,) = arrived(system, relay)
    check(message, "alice@client.example",
          ["bob@far.example", "carol@far.example", "hidden@far.example"])


def test_mutt_does_not_wait_for_a_server(mailers, system, smtp):
    """Not even one that says nothing; nor does its pipe stay open."""
    speak = threading.Event()
    sink = smtp.sink(answers={"GREETING": lambda *_: speak.wait(100) and None})
    system.relay(sink)
    mailers.must("mutt", "-n", "-F", "/dev/null", "-s", "s", "--",
                 "bob@far.example", text="x\n")
    assert not speak.is_set() and len(system.queue()) == 1
    speak.set()
    arrived(system, sink)


def git(root, *args, cwd="/home/alice/one", **more):
    return root.run("git", "-c", "user.name=Alice Ünicode", "-c",
                    "user.email=alice@client.example", *args, cwd=cwd, **more)


def new_series(root):
    """A repository with a first commit and two to be sent."""
    root.empty("/home/alice/one", "alice")
    assert git(root, "init", "-q", "-b", "main").exit == 0
    for number, text in enumerate(("begin\n", "Grüße\n.\n..\n", "end\n")):
        path = root.root.inside("/home/alice/one/file")
        path.write_text((path.read_text() if number else "") + text)
        assert git(root, "add", "file").exit == 0
        done = git(root, "commit", "-q", "-m",
                   "change %d\n\nFrom here on: naïve.\n.\nend" % number)
        assert done.exit == 0, done


def test_git_send_email(mailers, system, relay):
    new_series(mailers)
    done = git(mailers, "send-email", "--confirm=never", "--quiet",
               "--to=list@far.example", "--cc=carol@far.example",
               "--bcc=hidden@far.example", "--envelope-sender=auto",
               "--from=Alice Ünicode <alice@client.example>", "-2")
    assert done.exit == 0, done
    first, second = arrived(system, relay, 2)
    for message in first, second:
        check(message, "alice@client.example",
              ["list@far.example", "carol@far.example",
               "hidden@far.example"], None)
    assert second.header("In-Reply-To") == first.header("Message-ID")
    # What was sent is what was committed.
    (mailers.root.inside("/home/alice/series")).write_bytes(b"".join(
        b"From mail Mon Sep 17 00:00:00 2001\n"
        + m.data.replace(b"\r\n", b"\n") + b"\n" for m in (first, second)))
    for args in (("checkout", "-q", "-b", "again", "HEAD~2"),
                 ("am", "-q", "/home/alice/series"),
                 ("diff", "--exit-code", "main", "again")):
        done = git(mailers, *args)
        assert done.exit == 0, done


# ---- PHP ----

EXTENSIONS = ("mbstring", "iconv", "intl", "ctype", "tokenizer")


def run_php(root, *args):
    """What php.ini would have in a usual installation is said here."""
    options = [x for name in EXTENSIONS for x in ("-d", "extension=" + name)]
    return root.run("php", "-n", *options, "-d",
                    "include_path=/usr/share/php", *args)


PHP_MAIL = r"""
$body = file_get_contents("/home/alice/body");
var_dump(mail("bob@far.example", "php", $body,
    "From: Web <web@client.example>\r\nCc: carol@far.example\r\n"
    . "Bcc: hidden@far.example\r\nX-Folded: one\r\n two",
    "-fbounces@client.example"));
"""


def test_php_mail(php, system, relay):
    """Its fields end in CRLF, the body's lines in LF."""
    php.root.write("/home/alice/body", BODY)
    done = run_php(php, "-r", PHP_MAIL)
    assert done.out == "bool(true)\n", done
    (message,) = arrived(system, relay)
    check(message, "bounces@client.example",
          ["bob@far.example", "carol@far.example", "hidden@far.example"],
          BODY + "\n")  # PHP adds that
    assert message.header("X-Folded") == ["one two"]
    assert message.header("From") == ["Web <web@client.example>"]


def test_php_mail_without_any_field(php, system, relay):
    done = run_php(
        php, "-r", r'var_dump(mail("bob@far.example", "s", "x\r\ny"));')
    assert done.out == "bool(true)\n", done
    (message,) = arrived(system, relay)
    check(message, "alice@client.example", ["bob@far.example"], "x\ny\n")


def test_php_mail_is_false_when_mail_was_not_taken(php, system):
    system.configure("NO_SUCH_KEY 1")
    done = run_php(
        php, "-r", r'var_dump(mail("bob@far.example", "s", "x"));')
    assert done.out == "bool(false)\n", done
    assert "NO_SUCH_KEY" in done.err


PHPMAILER = r"""
require "libphp-phpmailer/autoload.php";
$m = new PHPMailer\PHPMailer\PHPMailer(true);
$m->{$argv[1]}();
$m->CharSet = "UTF-8"; $m->Encoding = "8bit";
$m->setFrom("web@client.example", "Wéb");
$m->Sender = "bounces@client.example";
$m->addAddress("bob@far.example"); $m->addBCC("hidden@far.example");
$m->Subject = "Grüße"; $m->Body = file_get_contents("/home/alice/body");
var_dump($m->send());
"""


@pytest.mark.parametrize("way", ["isMail", "isSendmail"])
def test_phpmailer(php, system, relay, way):
    php.root.write("/home/alice/body", BODY)
    php.root.write("/home/alice/send.php", "<?php" + PHPMAILER)
    done = run_php(php, "/home/alice/send.php", way)
    assert done.out == "bool(true)\n", done
    (message,) = arrived(system, relay)
    check(message, "bounces@client.example",
          ["bob@far.example", "hidden@far.example"], None)
    assert text_of(message).rstrip("\n") == BODY.rstrip("\n")
    assert parsed(message)["Subject"] == "Grüße"


SYMFONY = r"""
require "Symfony/Component/Mailer/autoload.php";
require "Symfony/Component/Mime/autoload.php";
use Symfony\Component\Mailer\Transport;
use Symfony\Component\Mailer\Exception\TransportException;
use Symfony\Component\Mime\{Address, Email};
$transport = Transport::fromDsn($argv[1]);
foreach (["one", "two"] as $subject) {
    $mail = (new Email())->from(new Address("web@client.example", "Wéb"))
        ->to("bob@far.example")->cc("carol@far.example")
        ->bcc("hidden@far.example")->subject($subject)
        ->returnPath("bounces@client.example")
        ->text(file_get_contents("/home/alice/body"));
    try {
        echo $transport->send($mail)->getDebug(), "\n";
    } catch (TransportException $error) {
        fwrite(STDERR, $error->getMessage());
        exit(1);
    }
}
"""


def symfony(root, dsn):
    root.root.write("/home/alice/body", BODY)
    root.root.write("/home/alice/send.php", "<?php" + SYMFONY)
    return run_php(root, "/home/alice/send.php", dsn)


SYMFONY_TO = ["bob@far.example", "carol@far.example", "hidden@far.example"]


def test_symfony_mailer(php, system, relay):
    """Its usual way: SMTP with sendmail -bs, two messages a session."""
    done = symfony(php, "sendmail://default")
    assert done.exit == 0, done
    for message in arrived(system, relay, 2):
        check(message, "bounces@client.example", SYMFONY_TO,
              BODY + "\n")  # its final dot brings a line end of its own
    # What it was answered; by this pattern newer ones find the id in it.
    ids = re.findall(r"250 Ok:? queued as ([A-Z0-9]+)\r?$", done.out, re.M)
    assert len(ids) == 2, done
    assert all("%s: removed" % one in system.log() for one in ids)


def test_symfony_mailer_with_sendmail_t(php, system, relay):
    done = symfony(
        php, "sendmail://default?command=/usr/sbin/sendmail%20-t%20-i")
    assert done.exit == 0, done
    for message in arrived(system, relay, 2):
        check(message, "bounces@client.example", SYMFONY_TO)


@pytest.mark.parametrize("option", ["-t", "-bs"])
def test_symfony_mailer_hears_of_a_refusal(php, system, option):
    system.configure("NO_SUCH_KEY 1")
    done = symfony(
        php, "sendmail://default?command=/usr/sbin/sendmail%20" + option)
    assert (done.exit, done.out) == (1, ""), done
    assert done.err != ""
    if option == "-t":  # it may have written before sendmail ended, or after
        assert "NO_SUCH_KEY" in done.err or "Unable to write" in done.err, done


# ---- Python, Perl, Ruby, Node ----

PYTHON = r"""
import subprocess
from email.message import EmailMessage
m = EmailMessage()
m["From"], m["To"], m["Bcc"] = "alice", "bob@far.example", "hidden@far.example"
m["Subject"] = "Grüße"
m.set_content(open("/home/alice/body", encoding="utf-8").read(), cte="8bit")
subprocess.run(["/usr/sbin/sendmail", "-t", "-oi"], input=m.as_bytes(),
               check=True)
"""


def test_python(mailers, system, relay):
    mailers.root.write("/home/alice/body", BODY)
    mailers.must("/usr/bin/python3", "-c", PYTHON)
    (message,) = arrived(system, relay)
    check(message, "alice@client.example",
          ["bob@far.example", "hidden@far.example"])
    assert parsed(message)["Subject"] == "Grüße"


MIME_LITE = r"""
use MIME::Lite; use open qw(:std :utf8);
open my $f, "<:raw", "/home/alice/body"; local $/; my $body = <$f>;
my $m = MIME::Lite->new(From => 'alice@client.example',
    To => 'bob@far.example', Cc => 'carol@far.example',
    Bcc => 'hidden@far.example', Subject => 'lite', Type => 'TEXT',
    Encoding => '8bit', Data => $body);
$m->attr('content-type.charset' => 'UTF-8');
exit($m->send('sendmail', FromSender => 'bounces@client.example') ? 0 : 1);
"""


def test_mime_lite(scripts, system, relay):
    scripts.root.write("/home/alice/body", BODY)
    scripts.must("perl", "-e", MIME_LITE)
    (message,) = arrived(system, relay)
    check(message, "bounces@client.example",
          ["bob@far.example", "carol@far.example", "hidden@far.example"])


EMAIL_SENDER = r"""
use Email::Sender::Simple qw(sendmail);
use Email::Sender::Transport::Sendmail; use Email::Simple;
open my $f, "<:raw", "/home/alice/body"; local $/; my $body = <$f>;
my $m = Email::Simple->create(header => [From => 'alice@client.example',
    To => 'bob@far.example', Subject => 'sender', 'MIME-Version' => '1.0',
    'Content-Type' => 'text/plain; charset=utf-8',
    'Content-Transfer-Encoding' => '8bit'], body => $body);
sendmail($m, {from => 'bounces@client.example', to => [@ARGV],
    transport => Email::Sender::Transport::Sendmail->new});
"""


def test_email_sender(scripts, system, relay):
    scripts.root.write("/home/alice/body", BODY)
    scripts.must("perl", "-e", EMAIL_SENDER, "bob@far.example",
                 "hidden@far.example")
    (message,) = arrived(system, relay)
    check(message, "bounces@client.example",
          ["bob@far.example", "hidden@far.example"])


def test_email_sender_hears_of_a_refusal(scripts, system):
    scripts.root.write("/home/alice/body", BODY)
    system.configure("NO_SUCH_KEY 1")
    done = scripts.run("perl", "-e", EMAIL_SENDER, "bob@far.example")
    assert done.exit != 0
    assert "NO_SUCH_KEY" in done.err


RUBY = r"""
require "mail"
Mail.defaults { delivery_method :sendmail }
Mail.new(charset: "UTF-8") do
  from "Alice <alice@client.example>"
  to "bob@far.example"
  cc "carol@far.example"
  bcc "hidden@far.example"
  subject "Grüße"
  body File.read("/home/alice/body")
end.tap { |m| m.smtp_envelope_from = "bounces@client.example" }.deliver!
"""


def test_ruby_mail(scripts, system, relay):
    scripts.root.write("/home/alice/body", BODY)
    scripts.must("ruby", "-e", RUBY)
    (message,) = arrived(system, relay)
    check(message, "bounces@client.example",
          ["bob@far.example", "carol@far.example", "hidden@far.example"],
          None)
    # The gem encodes a CR at the end of each line: =0D.
    assert text_of(message).replace("\r", "") == BODY
    assert parsed(message)["Subject"] == "Grüße"


def test_ruby_mail_shows_why_mail_was_not_taken(scripts, system):
    """The gem raises since 2.8; what sendmail said it always lets through."""
    scripts.root.write("/home/alice/body", BODY)
    system.configure("NO_SUCH_KEY 1")
    done = scripts.run("ruby", "-e", RUBY)
    assert "NO_SUCH_KEY" in done.out + done.err


NODEMAILER = r"""
const mailer = require("nodemailer").createTransport(
    {sendmail: true, newline: process.argv[1]});
mailer.sendMail({from: "Älice <alice@client.example>",
    to: "bob@far.example", cc: "carol@far.example",
    bcc: "hidden@far.example", subject: "Grüße",
    text: require("fs").readFileSync("/home/alice/body", "utf8")},
    (error, info) => {
        if (error) throw error;
        console.log(JSON.stringify(info.envelope));
    });
"""


@pytest.mark.parametrize("newline", ["unix", "windows"])
def test_nodemailer(scripts, system, relay, newline):
    """It leaves Bcc in the message and trusts sendmail to take it out."""
    scripts.root.write("/home/alice/body", BODY)
    scripts.must("node", "-e", NODEMAILER, newline,
                 env={"NODE_PATH": "/usr/share/nodejs"})
    (message,) = arrived(system, relay)
    check(message, "alice@client.example",
          ["bob@far.example", "carol@far.example", "hidden@far.example"])
    assert parsed(message)["Subject"] == "Grüße"


def test_nodemailer_hears_of_a_refusal(scripts, system):
    scripts.root.write("/home/alice/body", BODY)
    system.configure("NO_SUCH_KEY 1")
    done = scripts.run("node", "-e", NODEMAILER, "unix",
                       env={"NODE_PATH": "/usr/share/nodejs"})
    assert done.exit != 0
    # It may have written before sendmail ended, or after.
    assert "exited with code 78" in done.err or "EPIPE" in done.err


# ---- What runs by itself ----

CRONTAB = """\
SHELL=/bin/sh
MAILTO=%s
CONTENT_TYPE="text/plain; charset=UTF-8"
@reboot alice printf 'Gr\\303\\274\\303\\237e\\n.\\nend of the job\\n'
"""


@pytest.mark.parametrize("to", ["ops@far.example", "alice"])
def test_cron(daemons, system, relay, to):
    daemons.root.inside("/run/crond.reboot").unlink(missing_ok=True)
    daemons.empty("/etc/cron.d")
    daemons.root.write("/etc/crontab", CRONTAB % to)
    with daemons.daemon("/usr/sbin/cron", "-f"):
        if "@" in to:
            (message,) = arrived(system, relay)
            check(message, "alice@client.example", [to],
                  "Grüße\n.\nend of the job\n")
            whole = parsed(message)
        else:
            (whole,) = instance.wait_for(lambda: system.mailbox("alice"),
                                         "mail of the job")
            assert whole.get_payload(decode=True).decode() == \
                "Grüße\n.\nend of the job\n"
    assert b"From: root@client.example (Cron Daemon)" in bytes(whole)
    assert "Cron <alice@" in whole["Subject"]


def test_anacron(daemons, system, relay):
    """It gives sendmail neither -i nor -t, and nothing to speak to."""
    daemons.empty("/var/spool/anacron")
    daemons.root.write("/etc/anacrontab",
                       "MAILTO=ops@far.example\nSHELL=/bin/sh\n"
                       "1 0 job echo out; echo .; echo end\n")
    done = daemons.run("/usr/sbin/anacron", "-d", "-f", "-n", user="root")
    assert done.exit == 0, done
    (message,) = arrived(system, relay)
    check(message, "root@client.example", ["ops@far.example"],
          "out\n.\nend\n")
    assert message.header("Subject") == ["Anacron job 'job' on client.example"]


def test_at(daemons, system, relay):
    for name in ("atjobs", "atspool"):
        daemons.empty("/var/spool/cron/" + name, "daemon", 0o1770)
    daemons.root.write("/var/spool/cron/atjobs/.SEQ", "0\n", 0o660)
    shutil.chown(daemons.root.inside("/var/spool/cron/atjobs/.SEQ"),
                 "daemon", "daemon")
    daemons.root.write("/etc/at.deny", "")
    with daemons.daemon("/usr/sbin/atd", "-f"):
        instance.wait_for(daemons.root.inside("/run/atd.pid").exists,
                          "atd to start")
        done = daemons.run("at", "now",
                           text="printf 'out\\n.\\nend\\n'\n")
        assert done.exit == 0, done
        (whole,) = instance.wait_for(lambda: system.mailbox("alice"),
                                     "mail of the job")
    assert "Output from your job" in whole["Subject"]
    assert whole.get_payload() == "out\n.\nend\n"


SUDOERS = """\
Defaults mail_always, mailto="ops@far.example", mailsub="*** sudo ***"
Defaults !authenticate
alice ALL = (root) /usr/bin/id
"""


@pytest.mark.parametrize("command, status, text", [
    ("/usr/bin/id", 0, "COMMAND=/usr/bin/id"),
    ("/usr/bin/true", 1, "command not allowed"),
])
def test_sudo(daemons, system, relay, command, status, text):
    """It gives sendmail a bare environment and no -i."""
    daemons.root.write("/etc/sudoers", SUDOERS, 0o440)
    done = daemons.run("sudo", "-n", command)
    assert done.exit == status, done
    instance.wait_for(lambda: relay.messages, "sudo's report")
    system.wait_delivered()
    message = relay.messages[0]  # newer ones report the end as well
    check(message, "alice@client.example", ["ops@far.example"], None)
    assert message.header("From") == ["alice@client.example"]
    assert message.header("Subject") == ["*** sudo ***"]
    assert text in message.body


def test_logwatch(daemons, system, relay):
    daemons.root.mkdir("/var/cache/logwatch")
    done = daemons.run(
        "/usr/sbin/logwatch", "--output", "mail", "--format", "text",
        "--mailto", "ops@far.example", "--service", "zz-sys",
        "--range", "all", user="root")
    assert done.exit == 0, done
    (message,) = arrived(system, relay)
    check(message, "root@client.example", ["ops@far.example"], None)
    assert "Logwatch for" in message.header("Subject")[0]
    assert "Logwatch End" in message.text


FAIL2BAN = """\
[test]
enabled = true
filter =
backend = polling
logpath = /var/log/f2b-watched
action = sendmail[name=test, dest="ops@far.example, root",
         sender=fail2ban, sendername=Fail2Ban]
"""


def test_fail2ban(daemons, system, relay):
    """It calls sendmail without -i, and with a sender without a domain."""
    root = daemons.root
    root.mkdir("/run/fail2ban")
    root.write("/var/log/f2b-watched", "")
    root.write("/etc/fail2ban/jail.local", FAIL2BAN)
    root.inside("/etc/fail2ban/jail.d/defaults-debian.conf").unlink(
        missing_ok=True)
    with daemons.daemon("/usr/bin/fail2ban-server", "-f", "--logtarget",
                        "stdout", "--syslogsocket", "none", "start"):
        instance.wait_for(
            lambda: daemons.run("fail2ban-client", "ping",
                                user="root").exit == 0,
            "fail2ban to answer")
        done = daemons.run("fail2ban-client", "set", "test", "banip",
                           "192.0.2.99", user="root")
        assert done.exit == 0, done
        banned, started = arrived(system, relay, 2)
        assert len(system.mailbox("root")) == 2
    for message in banned, started:
        check(message, "fail2ban@client.example", ["ops@far.example"], None)
        assert message.header("From") == ["Fail2Ban <fail2ban@client.example>"]
    assert "banned 192.0.2.99" in banned.text


def test_mdadm(daemons, system, relay):
    """It calls sendmail -t, with its own name unquoted in From."""
    daemons.root.mkdir("/run/mdadm")
    daemons.root.write(
        "/etc/mdadm/mdadm.conf",
        "ARRAY /dev/md0 metadata=1.2 UUID="
        "11111111:22222222:33333333:44444444\nMAILADDR ops@far.example\n")
    done = daemons.run("/sbin/mdadm", "--monitor", "--scan", "--oneshot",
                       "--test", user="root")
    (message,) = arrived(system, relay)
    check(message, "root@client.example", ["ops@far.example"], None)
    assert "TestMessage event on /dev/md0" in message.header("Subject")[0]
    assert done.exit == 0, done


# ---- What watches a queue and reads a log ----

def check_mailq(root, *more):
    return root.run("/usr/lib/nagios/plugins/check_mailq", "-M", "postfix",
                    "-w", "2", "-c", "3", *more)


def test_check_mailq(monitors, system):
    """As nobody in particular: alice sees how much others have queued."""
    done = check_mailq(monitors)
    assert (done.exit, done.err) == (0, ""), done
    assert "queue is empty" in done.out
    for number, status, word in (1, 0, "OK"), (2, 1, "WARNING"), \
            (3, 2, "CRITICAL"):
        system.submit("-odq", "b@x.example", user="bob")
        done = check_mailq(monitors)
        assert (done.exit, done.err) == (status, ""), done
        assert done.out.startswith(word + ": "), done
        assert re.search(r"\b%d\b" % number, done.out), done
    system.write(system.conf_path, "NO_SUCH_KEY 1\n")
    assert check_mailq(monitors).exit != 0


def pflogsumm(root, log):
    """The totals that it prints: {name: number}."""
    out = root.must("/usr/sbin/pflogsumm", "--syslog-name=dma", text=log)
    return {name: int(number) for number, name in re.findall(
        r"^ +(\d+)k? +([a-z/ ]+?)(?: +\(.*\))?$", out, re.M)}


def test_pflogsumm(monitors, system, smtp):
    sink = smtp.sink(recipients={"late@far.example": "450 4.2.0 later",
                                 "gone@far.example": "550 5.1.1 gone"})
    system.relay(sink)
    system.submit("bob@far.example", "carol@far.example")
    system.submit("late@far.example", user="bob")
    system.submit("gone@far.example", "dave@far.example")
    system.wait_deferred()
    instance.wait_for(lambda: len(system.queue()) == 1, "one to be left")
    totals = pflogsumm(monitors, system.log())
    assert totals["delivered"] == 4  # one is the notice of the refusal
    assert totals["deferred"] == 1
    assert totals["bounced"] == 1
    assert totals["recipients"] == 4
    # It counts as received what a program of the name pickup logged.
    totals = pflogsumm(monitors,
                       system.log().replace("dma/submit[", "dma/pickup["))
    assert totals["received"] == 3
    assert totals["senders"] == 2


# ---- Who reads our notices ----

SISIMAI = """
use Sisimai;
my $text = do { local $/; <STDIN> };
print join(' ', map { $_ // '' } $_->recipient->address, $_->action,
    $_->deliverystatus, $_->replycode, $_->reason, $_->diagnosticcode), "\\n"
    for @{ Sisimai->make(\\$text, delivered => 1) // [] };
"""


def test_sisimai_understands_a_notice(scripts, system, smtp):
    """Programs that clean lists by it see who failed, and why."""
    sink = smtp.sink(answers={"RCPT": "550 5.1.1 no such user here"})
    system.relay(sink)
    system.submit("-f", "alice@client.example", "gone@far.example",
                  user="alice")
    notice, = instance.wait_for(lambda: system.mailbox("alice"), "the notice")
    said = scripts.must("perl", "-e", SISIMAI, text=notice.as_bytes())
    assert said == ("gone@far.example failed 5.1.1 550 userunknown "
                    "550 5.1.1 no such user here\n")
