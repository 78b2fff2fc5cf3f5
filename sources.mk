# What each program is made of and how: the one list that GNU make (Makefile)
# and BSD make (BSDmakefile) both read.  Portable make only.

VERSION=	1.0

# Places and names; every one may be set on the command line.
PREFIX=		/usr/local
SBIN=		$(PREFIX)/sbin
LIBEXEC=	$(PREFIX)/libexec/dma
CONFDIR=	/etc/dma
SPOOLDIR=	/var/spool/dma
MAILDIR=	/var/mail
ALIASES=	/etc/aliases
SUBMIT_SOCKET=	/run/dma/submit
MAN=		$(PREFIX)/share/man
USER=		mail
GROUP=		mail
AGENTUSER=	nobody
ALIASUSER=	nobody

YACC=		bison
LEX=		flex
INSTALL=	install
CFLAGS?=	-O2 -g
WARNFLAGS=	-std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
		-Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
		-Wformat=2 -Wcast-qual -Wwrite-strings -Wvla -Wundef
SSLLIBS=	-lssl -lcrypto
# make IDN=no: without libidn2, though it is here.  The wrappers set IDNLIBS.
IDN=		yes
IDNDEFS=	$(IDNLIBS:-lidn2=-DHAVE_IDN2)
LIBS=

# Objects; those with a main() stand apart, so that tests link the others.
FLOOR0=		util.o buf.o log.o process.o compat.o
DMA_OBJS=	options.o options_ctl.o help.o submit.o smtpd.o smtpd_text.o \
		handover.o intake.o queue.o entries.o hops.o agents.o work.o \
		deliver.o progress.o import.o ctl.o ctl_pick.o ctl_list.o \
		ctl_show.o verify.o mail.o mail_repair.o expand.o route.o \
		select.o bounce.o bounce_text.o bounce_report.o job.o peer.o \
		spool.o spool_draft.o spool_file.o spool_journal.o spool_old.o \
		spool_wake.o envelope.o addr.o \
		addr_parse.o header.o conf.o conf_relay.o conf_value.o \
		conf_text.o senders.o mailbox.o aliases_parse.o \
		aliases_scan.o $(FLOOR0)
BECOME_OBJS=	dotlock.o conf_text.o $(FLOOR0)
SMTP_OBJS=	targets.o smtp.o smtp_send.o smtp_envelope.o \
		smtp_body.o smtp_trace.o smtp_io.o smtp_reply.o smtp_task.o \
		auth.o job.o \
		mime.o mime_header.o mime_encode.o idn.o header.o addr_parse.o \
		net.o crypto.o crypto_certificate.o \
		dns.o dns_parse.o dns_files.o dns_query.o sandbox.o addr.o base64.o \
		$(FLOOR0)
LOCAL_OBJS=	local_copy.o local_mbox.o local_maildir.o local_command.o \
		local_forward.o dotlock.o job.o mailbox.o \
		aliases_parse.o aliases_scan.o conf.o conf_relay.o conf_value.o \
		conf_text.o envelope.o addr.o addr_parse.o $(FLOOR0)
MAINS=		dma.o become.o agent.o local.o
PROGRAMS=	dma dma-become dma-smtp dma-local

DEFS=		-D_GNU_SOURCE -DDMA_VERSION=\"$(VERSION)\" \
		-DDMA_CONFDIR=\"$(CONFDIR)\" -DDMA_SPOOLDIR=\"$(SPOOLDIR)\" \
		-DDMA_SBINDIR=\"$(SBIN)\" \
		-DDMA_LIBEXECDIR=\"$(LIBEXEC)\" -DDMA_MAILDIR=\"$(MAILDIR)\" \
		-DDMA_ALIASES=\"$(ALIASES)\" \
		-DDMA_SUBMIT_SOCKET=\"$(SUBMIT_SOCKET)\" -DDMA_USER=\"$(USER)\" \
		-DDMA_GROUP=\"$(GROUP)\" -DDMA_AGENTUSER=\"$(AGENTUSER)\" \
		-DDMA_ALIASUSER=\"$(ALIASUSER)\"
# What of HARDEN, HARDEN_LD and IDNLIBS works here, the wrappers ask.
PROBE=		sh $(SRCDIR)/test/probe-flags
# make WERROR=1: a warning is an error.
WERRORFLAG=	$(WERROR:1=-Werror)
ALL_CFLAGS=	$(WARNFLAGS) $(HARDEN) $(CFLAGS) $(WERRORFLAG)
# No -I: sources find their headers beside them, and our limits.h must not
# stand in for the system's.  Generated code and tests lie elsewhere.
ALL_CPPFLAGS=	$(DEFS) $(CPPFLAGS)
ALL_LDFLAGS=	$(HARDEN_LD) $(LDFLAGS)

.SUFFIXES:
.SUFFIXES: .c .o
.PHONY: all clean

all: $(PROGRAMS)

# make Q= shows the whole commands.
Q=		@
COMPILE=	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c
.c.o:
	@echo "compile $@"
	$(Q)$(COMPILE) -o $@ $<

dma: dma.o $(DMA_OBJS)
	@echo "link    $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ dma.o $(DMA_OBJS) $(LIBS)
dma-become: become.o $(BECOME_OBJS)
	@echo "link    $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ become.o $(BECOME_OBJS) \
	    $(LIBS)
dma-smtp: agent.o $(SMTP_OBJS)
	@echo "link    $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ agent.o $(SMTP_OBJS) \
	    $(SSLLIBS) $(IDNLIBS) $(LIBS)
dma-local: local.o $(LOCAL_OBJS)
	@echo "link    $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ local.o $(LOCAL_OBJS) $(LIBS)

# Everything is compiled again when the compiler, a flag or a compiled-in path
# is another, so that `make; make install PREFIX=/usr` installs no stale path.
$(MAINS) $(DMA_OBJS) $(SMTP_OBJS) $(LOCAL_OBJS): flags.stamp
flags.stamp: FORCE
	@flags='$(CC) $(ALL_CPPFLAGS) $(IDNDEFS) $(ALL_CFLAGS)'; \
	echo "$$flags" | cmp -s - $@ || echo "$$flags" >$@
FORCE:

idn.o: $(SRCDIR)/idn.c
	@echo "compile $@"
	$(Q)$(COMPILE) $(IDNDEFS) -o $@ $(SRCDIR)/idn.c

# Generated code is exempt from the warnings.
aliases_parse.c: $(SRCDIR)/aliases_parse.y
	@echo "yacc    $@"
	$(Q)$(YACC) -d -o aliases_parse.c $(SRCDIR)/aliases_parse.y
aliases_parse.h: aliases_parse.c
aliases_scan.c: $(SRCDIR)/aliases_scan.l aliases_parse.h
	@echo "lex     $@"
	$(Q)$(LEX) -o aliases_scan.c $(SRCDIR)/aliases_scan.l
aliases_parse.o: aliases_parse.c
	@echo "compile $@"
	$(Q)$(CC) -iquote $(SRCDIR) $(ALL_CPPFLAGS) $(HARDEN) $(CFLAGS) -c \
	    -o $@ aliases_parse.c
aliases_scan.o: aliases_scan.c
	@echo "compile $@"
	$(Q)$(CC) -iquote $(SRCDIR) $(ALL_CPPFLAGS) $(HARDEN) $(CFLAGS) -c \
	    -o $@ aliases_scan.c

clean:
	rm -f *.o *.d $(PROGRAMS) aliases_parse.c aliases_parse.h \
	    aliases_scan.c flags.stamp .probed-*
	rm -rf build
