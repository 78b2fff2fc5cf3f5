# GNU make.  The programs and rules are in sources.mk.
SRCDIR ?=	$(patsubst %/,%,$(dir $(realpath $(firstword $(MAKEFILE_LIST)))))
include $(SRCDIR)/sources.mk
VPATH =		$(SRCDIR)
-include $(wildcard *.d)
