# ---- Documents and releases -----------------------------------------------

.PHONY: docs man doxygen dist dist-check deb shellcheck
docs: ## HTML of all documents, with a search (mdBook): build/docs
	@mkdir -p $(BUILD)/docs
	@packaging/make-docs $(BUILD)/docs

man: ## manual pages of the functions, made from the headers: build/man
	@packaging/make-man $(BUILD)/man $(VERSION) $(MANUAL_HEADERS)
	@echo "$(BUILD)/man: $$(ls $(BUILD)/man/man3 | wc -l) pages in section 3"

doxygen: ## HTML of the headers (Doxygen): build/doxygen
	@mkdir -p $(BUILD)/doxygen
	@if command -v doxygen > /dev/null; then \
	    (cat packaging/Doxyfile; echo 'OUTPUT_DIRECTORY = $(BUILD)/doxygen') | \
	        doxygen -; \
	else echo '# SKIP doxygen is not installed'; fi

dist: ## release tarball with vendored crates: build/dist
	@packaging/make-dist $(BUILD)/dist $(VERSION)
dist-check: dist ## builds, tests and installs from that tarball
	@packaging/check-dist $(BUILD)/dist/pytstate-$(VERSION).tar.gz $(BUILD)/dist

TRIPLET = $(shell $(CC) -print-multiarch 2> /dev/null || gcc -print-multiarch)
deb: lib-release ## Debian packages (dpkg-deb): build/deb
	@rm -rf $(BUILD)/deb.stage
	@$(MAKE) --no-print-directory install DESTDIR=$(BUILD)/deb.stage \
	    PREFIX=/usr LIBDIR=/usr/lib/$(TRIPLET) > $(BUILD)/deb.log
	@packaging/make-deb $(BUILD)/deb.stage $(BUILD)/deb $(VERSION)
	@if command -v lintian > /dev/null; then \
	    lintian --fail-on error --tag-display-limit 0 $(BUILD)/deb/*.deb; \
	else echo '# SKIP lintian is not installed'; fi

SCRIPTS = $(shell grep -lIr '^\#!/bin/sh' .ci packaging c_tests model \
    --exclude-dir=target)
shellcheck: ## every shell script passes shellcheck
	@if command -v shellcheck > /dev/null; then \
	    shellcheck --severity=warning $(SCRIPTS); \
	else echo '# SKIP shellcheck is not installed'; fi
