# Everything in its place.  DESTDIR stages it; without root the set-id bits
# and the owners are left out.  Portable make only.

DMA=		$(DESTDIR)$(SBIN)/dma
AGENTS=		$(DESTDIR)$(LIBEXEC)
ETC=		$(DESTDIR)$(CONFDIR)
SPOOL=		$(DESTDIR)$(SPOOLDIR)
MAN8=		$(DESTDIR)$(MAN)/man8
AS_ROOT=	test "$$(id -u)" = 0

# Under a second name first: a message is submitted to the old program or to
# the new one, never to half of one or to one without its rights.
PUT=		put() { \
			from=$$1 to=$$2 plain=$$3; shift 3; \
			$(AS_ROOT) || set -- -m $$plain; \
			echo "$(INSTALL) $$* $$from $$to"; \
			$(INSTALL) "$$@" $$from $$to.new && \
			    mv -f $$to.new $$to; \
		}; put

# The names that its manual is asked for.
PAGES=		sendmail mailq newaliases dmactl

# A link of ours, unless somebody else's program has the name.
LINK=		link() { \
			at=$(DESTDIR)$$2; \
			old=$$(readlink $$at || :); \
			if [ -e $$at ] || [ -h $$at ]; then case $$old in \
			$$1|dma|*/dma|$(SBIN)/sendmail) ;; \
			*)	echo "$$at is not ours: left as it is"; \
				return 0;; \
			esac; fi; \
			mkdir -p $${at%/*} && rm -f $$at && ln -s $$1 $$at; \
		}; link
UNLINK=		unlink() { \
			at=$(DESTDIR)$$1; \
			case $$(readlink $$at || :) in \
			dma|dma.8|*/dma|$(SBIN)/sendmail) rm -f $$at;; \
			esac; \
		}; unlink

.PHONY: install install-programs install-man install-etc \
	install-spool-dirs install-systemd sendmail-link mailq-link uninstall

install: install-programs install-man install-etc install-spool-dirs \
	sendmail-link mailq-link
	@$(AS_ROOT) || echo "not root: set-id bits and owners left out"
	@echo
	@echo "One thing is left to do: the system's run, which retries the mail"
	@echo "that outlived the process that sent it, in /etc/crontab:"
	@echo
	@echo "*/5 * * * * root $(SBIN)/dmactl run"
	@echo "@reboot root $(SBIN)/dmactl run"
	@echo
	@echo "or, with systemd:"
	@echo
	@echo "make install-systemd PREFIX=$(PREFIX) SBIN=$(SBIN) &&"
	@echo "    systemctl enable --now dma-run.timer"

install-programs: all
	@mkdir -p $(DESTDIR)$(SBIN) $(AGENTS)
	@$(PUT) dma $(DMA) 0755 -o 0 -g $(GROUP) -m 2755
	@$(PUT) dma-become $(AGENTS)/dma-become 0755 -o 0 -g $(GROUP) -m 4750
	@$(PUT) dma-smtp $(AGENTS)/dma-smtp 0711 -o 0 -g 0 -m 0711
# Not readable, so that no recipient can trace the one that runs as he.
	@$(PUT) dma-local $(AGENTS)/dma-local 0755 -o 0 -g 0 -m 0711
	@$(LINK) dma $(SBIN)/dmactl

install-man:
	@mkdir -p $(MAN8)
	@$(PUT) $(SRCDIR)/dma.8 $(MAN8)/dma.8 0644 -o 0 -g 0 -m 0644
	@for name in $(PAGES); do $(LINK) dma.8 $(MAN)/man8/$$name.8; done

# For services that may not use set-id programs, and the system's run without
# cron; not a part of install.
UNITDIR=	$(PREFIX)/lib/systemd/system
UNITS=		dma-submit.socket dma-submit@.service \
		dma-run.timer dma-run.service
install-systemd:
	@mkdir -p $(DESTDIR)$(UNITDIR)
	@for unit in $(UNITS); do \
		sed -e 's,@SBIN@,$(SBIN),' \
		    -e 's,@SUBMIT_SOCKET@,$(SUBMIT_SOCKET),' \
		    $(SRCDIR)/$$unit >$$unit.tmp || exit 1; \
		$(PUT) $$unit.tmp $(DESTDIR)$(UNITDIR)/$$unit 0644 \
		    -o 0 -g 0 -m 0644 || exit 1; \
		rm -f $$unit.tmp; \
	done
	@test -e $(DESTDIR)$(SBIN)/dmactl || echo "Mind: no" \
	    "$(DESTDIR)$(SBIN)/dmactl here; PREFIX and SBIN as for install?"
	@echo "Then: systemctl daemon-reload"
	@echo "      systemctl enable --now dma-submit.socket"
	@echo "and, where no cron has the system's run:"
	@echo "      systemctl enable --now dma-run.timer"

# An existing configuration is never overwritten.
install-etc:
	@mkdir -p $(ETC)
	@test -e $(ETC)/dma.conf || { $(PUT) $(SRCDIR)/dma.conf \
	    $(ETC)/dma.conf 0644 -o 0 -g 0 -m 0644; }
	@test -e $(ETC)/auth.conf || { $(PUT) $(SRCDIR)/auth.conf \
	    $(ETC)/auth.conf 0640 -o 0 -g $(GROUP) -m 0640; }

# 2775, as dma 0.14 had it, becomes 2770: not even its owner reaches a queued
# message by name.
install-spool-dirs:
	@mkdir -p $(SPOOL)
	@if $(AS_ROOT); then \
		chown 0:$(GROUP) $(SPOOL) && chmod 2770 $(SPOOL); \
	else \
		chmod 0770 $(SPOOL); \
	fi

sendmail-link:
	@$(LINK) dma $(SBIN)/sendmail
	@$(LINK) dma $(SBIN)/send-mail
	@$(LINK) $(SBIN)/sendmail $(PREFIX)/lib/sendmail

mailq-link:
	@$(LINK) $(SBIN)/dma $(PREFIX)/bin/mailq
	@$(LINK) $(SBIN)/dma $(PREFIX)/bin/newaliases

uninstall:
	@test -e $(DMA) || echo "Mind: no $(DMA) here;" \
	    "PREFIX and SBIN as for install?"
	@$(UNLINK) $(PREFIX)/lib/sendmail
	@for name in $(SBIN)/sendmail $(SBIN)/send-mail $(SBIN)/dmactl \
	    $(PREFIX)/bin/mailq $(PREFIX)/bin/newaliases; do \
		$(UNLINK) $$name; \
	done
	@for name in $(PAGES); do $(UNLINK) $(MAN)/man8/$$name.8; done
	rm -f $(DMA) $(MAN8)/dma.8 $(AGENTS)/dma-become $(AGENTS)/dma-smtp \
	    $(AGENTS)/dma-local
	@for unit in $(UNITS); do rm -f $(DESTDIR)$(UNITDIR)/$$unit; done
	-@rmdir $(AGENTS) 2>/dev/null || :
	@echo "Left: $(CONFDIR), $(SPOOLDIR) with the mail in it, and the"
	@echo "crontab lines that you added."
