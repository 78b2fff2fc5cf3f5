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
MAN=		$(PREFIX)/share/man
USER=		mail
GROUP=		mail
AGENTUSER=	nobody

CC=		cc
YACC=		bison -y
LEX=		flex
INSTALL=	install
CFLAGS=		-O2 -g
WARNFLAGS=	-std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
		-Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
		-Wformat=2 -Wcast-qual -Wwrite-strings -Wvla -Wundef
SSLLIBS=	-lssl -lcrypto
RESOLVLIBS=	-lresolv

FLOOR0=		util.o buf.o log.o process.o compat.o
DMA_OBJS=	dma.o submit.o queue.o hops.o ctl.o mail.o expand.o route.o \
		bounce.o job.o spool.o envelope.o addr.o header.o conf.o \
		aliases_parse.o aliases_scan.o $(FLOOR0)
BECOME_OBJS=	become.o $(FLOOR0)
SMTP_OBJS=	agent.o smtp.o auth.o job.o net.o crypto.o dns.o addr.o \
		base64.o $(FLOOR0)
LOCAL_OBJS=	local.o job.o addr.o $(FLOOR0)
PROGRAMS=	dma dma-become dma-smtp dma-local

DEFS=		-D_GNU_SOURCE -DDMA_VERSION=\"$(VERSION)\" \
		-DDMA_CONFDIR=\"$(CONFDIR)\" -DDMA_SPOOLDIR=\"$(SPOOLDIR)\" \
		-DDMA_LIBEXECDIR=\"$(LIBEXEC)\" -DDMA_MAILDIR=\"$(MAILDIR)\" \
		-DDMA_ALIASES=\"$(ALIASES)\" -DDMA_USER=\"$(USER)\" \
		-DDMA_GROUP=\"$(GROUP)\" -DDMA_AGENTUSER=\"$(AGENTUSER)\"
ALL_CFLAGS=	$(WARNFLAGS) $(HARDEN) $(CFLAGS) $(WERRORFLAG)
ALL_CPPFLAGS=	-I. -I$(SRCDIR) $(DEFS) $(CPPFLAGS)
ALL_LDFLAGS=	$(HARDEN_LD) $(LDFLAGS)

.SUFFIXES:
.SUFFIXES: .c .o

.c.o:
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -c -o $@ $<

all: $(PROGRAMS)

dma: $(DMA_OBJS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(DMA_OBJS) $(LIBS)
dma-become: $(BECOME_OBJS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(BECOME_OBJS) $(LIBS)
dma-smtp: $(SMTP_OBJS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(SMTP_OBJS) $(SSLLIBS) \
	    $(RESOLVLIBS) $(LIBS)
dma-local: $(LOCAL_OBJS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(LOCAL_OBJS) $(LIBS)

# Generated code is exempt from the warnings.
aliases_parse.c aliases_parse.h: $(SRCDIR)/aliases_parse.y
	$(YACC) -d -o aliases_parse.c $(SRCDIR)/aliases_parse.y
aliases_scan.c: $(SRCDIR)/aliases_scan.l aliases_parse.h
	$(LEX) -o aliases_scan.c $(SRCDIR)/aliases_scan.l
aliases_parse.o: aliases_parse.c
	$(CC) $(ALL_CPPFLAGS) $(HARDEN) $(CFLAGS) -c -o $@ aliases_parse.c
aliases_scan.o: aliases_scan.c
	$(CC) $(ALL_CPPFLAGS) $(HARDEN) $(CFLAGS) -c -o $@ aliases_scan.c

clean:
	rm -f *.o *.d $(PROGRAMS) aliases_parse.c aliases_parse.h \
	    aliases_scan.c
