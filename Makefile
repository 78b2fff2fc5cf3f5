# GNU make.  The programs and rules are in sources.mk.
WRAPPER =	Makefile
SRCDIR ?=	$(patsubst %/,%,$(dir $(realpath $(firstword $(MAKEFILE_LIST)))))
include $(SRCDIR)/sources.mk
include $(SRCDIR)/install.mk
include $(SRCDIR)/check.mk
include $(SRCDIR)/bench.mk
include $(SRCDIR)/crash.mk
HARDEN :=	$(shell $(PROBE) compile $(CC))
HARDEN_LD :=	$(shell $(PROBE) link $(CC))
IDNLIBS :=	$(if $(filter no,$(IDN)),,$(shell \
		$(PROBE) idn $(CC) $(CPPFLAGS) $(LDFLAGS)))
# Not VPATH: it would take objects of a build in the source tree for ours.
%.o: $(SRCDIR)/%.c
	@echo "compile $@"
	$(Q)$(COMPILE) -o $@ $<
-include $(wildcard *.d)
