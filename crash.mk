# What no kill, error, power cut or full disk may do to mail: test/README.md.
# Portable make only.

MINUTES=	10
CRASH=		PYTHONDONTWRITEBYTECODE=1 DMA_BUILD="$$(pwd)" $(PYTHON) \
		$(SRCDIR)/test/crash/crash.py

.PHONY: crash errors mutants soak crash-short mutants-short \
	faults faults-short

crash errors faults mutants: all
	@$(CRASH) $@

crash-short: all
	@$(CRASH) crash --short

faults-short: all
	@$(CRASH) faults --short

mutants-short: all
	@$(CRASH) mutants --short

soak: all
	@$(CRASH) soak --minutes $(MINUTES)
