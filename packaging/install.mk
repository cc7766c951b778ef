# ---- Installing -----------------------------------------------------------
#
# `make install` needs no cargo once the library is built, so that it works
# under sudo. PREFIX, BINDIR, LIBDIR, INCLUDEDIR, MANDIR and DESTDIR mean
# what they usually do.
# What is installed is listed in $(INSTALLED); `make uninstall` removes that.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
CMAKEDIR ?= $(LIBDIR)/cmake/pytstate
MANUAL_HEADERS := include/pytstate.h include/pytstate/internal.h \
    include/pytstate/macros.h
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SONAME := libpytstate.so.0
COMPAT_FOLDERS := compat compat/cpython compat/internal

# Paths as they are on the target system, without DESTDIR.
HEADERS := $(patsubst include/%,$(INCLUDEDIR)/%,include/pytstate.h \
               include/pytstate.hpp \
               $(wildcard include/pytstate/*.h)) \
           $(foreach folder,$(COMPAT_FOLDERS),\
               $(patsubst include/%,$(INCLUDEDIR)/pytstate/%,\
                   $(wildcard include/$(folder)/*.h)))
INSTALLED = $(LIBDIR)/libpytstate.so.$(VERSION) $(LIBDIR)/$(SONAME) \
            $(LIBDIR)/libpytstate.so $(LIBDIR)/libpytstate.a \
            $(LIBDIR)/.debug/libpytstate.so.$(VERSION).debug \
            $(LIBDIR)/pkgconfig/pytstate.pc $(CMAKEDIR)/pytstateConfig.cmake \
            $(CMAKEDIR)/pytstateConfigVersion.cmake $(HEADERS) \
            $(MANDIR)/man7/pytstate.7 \
            $(BINDIR)/pytstate $(LIBDIR)/libpytstate_control.so \
            $(LIBDIR)/.debug/libpytstate_control.so.debug \
            $(MANDIR)/man1/pytstate.1

# Where the variables of the templates go.
FILL = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' \
    -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' -e 's|@VERSION@|$(VERSION)|' \
    -e 's|@SONAME@|$(SONAME)|'

.PHONY: install uninstall
# Built only if it is not there: cargo may be missing where this runs as root.
install: $(if $(wildcard $(TARGET)/release/libpytstate.so),,lib-release) \
         $(if $(wildcard $(TOOLS)/pytstate.1),,tools)
install: ## library, command, headers, pkg-config, CMake: PREFIX, DESTDIR
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/.debug \
	    $(DESTDIR)$(CMAKEDIR) $(DESTDIR)$(INCLUDEDIR)/pytstate \
	    $(COMPAT_FOLDERS:%=$(DESTDIR)$(INCLUDEDIR)/pytstate/%)
	packaging/install-library $(TARGET)/release/libpytstate.so \
	    $(DESTDIR)$(LIBDIR)/libpytstate.so.$(VERSION)
	ln -sf libpytstate.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libpytstate.so
	install -m 644 $(TARGET)/release/libpytstate.a $(DESTDIR)$(LIBDIR)/
	install -m 644 include/pytstate.h include/pytstate.hpp $(DESTDIR)$(INCLUDEDIR)/
	install -m 644 include/pytstate/*.h $(DESTDIR)$(INCLUDEDIR)/pytstate/
	for folder in $(COMPAT_FOLDERS); do \
	    install -m 644 include/$$folder/*.h \
	        $(DESTDIR)$(INCLUDEDIR)/pytstate/$$folder/ || exit 1; \
	done
	$(FILL) packaging/pytstate.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/pytstate.pc
	for file in pytstateConfig.cmake pytstateConfigVersion.cmake; do \
	    $(FILL) packaging/$$file.in > $(DESTDIR)$(CMAKEDIR)/$$file || exit 1; \
	done
	@$(MAKE) --no-print-directory man
	install -d $(DESTDIR)$(MANDIR)/man3 $(DESTDIR)$(MANDIR)/man7
	@install -m 644 $(BUILD)/man/man3/*.3 $(DESTDIR)$(MANDIR)/man3/
	@install -m 644 $(BUILD)/man/man7/*.7 $(DESTDIR)$(MANDIR)/man7/
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1
	install -m 755 $(TOOLS)/pytstate $(DESTDIR)$(BINDIR)/
	packaging/install-library $(TOOLS)/libpytstate_control.so \
	    $(DESTDIR)$(LIBDIR)/libpytstate_control.so
	install -m 644 $(TOOLS)/pytstate.1 $(DESTDIR)$(MANDIR)/man1/
	@packaging/refresh-loader '$(DESTDIR)' '$(LIBDIR)'

uninstall: man ## remove exactly what `make install` put there: PREFIX, DESTDIR
	rm -f $(INSTALLED:%=$(DESTDIR)%)
	@rm -f $(patsubst $(BUILD)/man/%,$(DESTDIR)$(MANDIR)/%,$(wildcard $(BUILD)/man/man3/*.3))
	@for folder in $(DESTDIR)$(CMAKEDIR) $(DESTDIR)$(LIBDIR)/.debug \
	    $(DESTDIR)$(INCLUDEDIR)/pytstate/compat/internal \
	    $(DESTDIR)$(INCLUDEDIR)/pytstate/compat/cpython \
	    $(DESTDIR)$(INCLUDEDIR)/pytstate/compat \
	    $(DESTDIR)$(INCLUDEDIR)/pytstate; do \
	    rmdir "$$folder" 2> /dev/null || true; \
	done
	@packaging/refresh-loader '$(DESTDIR)' '$(LIBDIR)'
