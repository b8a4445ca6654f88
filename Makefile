# minga_roster: PGXS build, and the commands of docs/develop.md (test, demo, dist, bench and more).

# The checkout, where it is not the directory of the build: make -f ../Makefile, or VPATH=.. as pg_buildext has it.
TOP := $(patsubst %/,%,$(or $(VPATH),$(dir $(firstword $(MAKEFILE_LIST)))))

EXTENSION = minga_roster
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(TOP)/minga_roster.control)

MODULE_big = minga_roster
OBJS = $(patsubst $(TOP)/%.c,%.o,$(sort $(wildcard $(TOP)/src/*.c $(TOP)/src/*/*.c)))

# The install script is these files, one after the other: tables first, then a file for each step of a run.
SQL_PARTS = \
	sql/schema/prologue.sql \
	sql/schema/role.sql \
	sql/schema/settings.sql \
	sql/schema/words.sql \
	sql/schema/tables.sql \
	sql/classes/tables.sql \
	sql/access/levels.sql \
	sql/schema/presets.sql \
	sql/classes/lists.sql \
	sql/schema/template.sql \
	sql/people/people.sql \
	sql/people/statements.sql \
	sql/people/obstacles.sql \
	sql/people/ownership.sql \
	sql/access/people.sql \
	sql/connect/time_zone.sql \
	sql/connect/connect.sql \
	sql/connect/secrets.sql \
	sql/access/grant.sql \
	sql/schedule/run.sql \
	sql/fetch/stage.sql \
	sql/fetch/delta.sql \
	sql/plan/plan_tables.sql \
	sql/plan/reasons.sql \
	sql/plan/compare.sql \
	sql/plan/read.sql \
	sql/plan/parents.sql \
	sql/plan/rows.sql \
	sql/plan/new_rows.sql \
	sql/plan/groups.sql \
	sql/plan/match.sql \
	sql/plan/verdicts.sql \
	sql/plan/vetoes.sql \
	sql/plan/links.sql \
	sql/plan/guard.sql \
	sql/plan/changes.sql \
	sql/plan/outcomes.sql \
	sql/plan/findings.sql \
	sql/plan/plan_run.sql \
	sql/apply/stored.sql \
	sql/apply/refusals.sql \
	sql/apply/apply.sql \
	sql/classes/unchanged.sql \
	sql/classes/choose.sql \
	sql/classes/findings.sql \
	sql/classes/plan.sql \
	sql/classes/write.sql \
	sql/classes/decide.sql \
	sql/actions/preview.sql \
	sql/actions/undo.sql \
	sql/apply/merge.sql \
	sql/actions/relink.sql \
	sql/actions/links.sql \
	sql/actions/decide.sql \
	sql/privacy/forget.sql \
	sql/report/report.sql \
	sql/report/report_facts.sql \
	sql/report/report_decisions.sql \
	sql/report/report_parts.sql \
	sql/report/report_text.sql \
	sql/report/report_html.sql \
	sql/schedule/clock.sql \
	sql/report/mail.sql \
	sql/schedule/evening.sql \
	sql/report/digest.sql \
	sql/report/diagnose.sql \
	sql/report/health.sql \
	sql/report/metrics.sql \
	sql/report/status.sql \
	sql/report/views.sql \
	sql/schema/dependents.sql \
	sql/classes/views.sql \
	sql/classes/history.sql \
	sql/access/policies.sql \
	sql/schema/privileges.sql

# Released versions, which never change, and the scripts that update each of them to this one.
RELEASES = $(patsubst $(TOP)/%,%,$(sort $(wildcard $(TOP)/sql/releases/minga_roster--*.sql)))
UPDATES = $(patsubst sql/releases/minga_roster--%.sql,sql/minga_roster--%--$(EXTVERSION).sql,$(RELEASES))

DATA = $(RELEASES)
DATA_built = sql/minga_roster--$(EXTVERSION).sql $(UPDATES)
EXTRA_CLEAN = $(DATA_built) $(OBJS:.o=.d)
DOCS = $(patsubst $(TOP)/%,%,$(sort $(wildcard $(TOP)/docs/*.md $(TOP)/docs/monitoring/*)))

# PostgreSQL's own headers have unused parameters and compare signed with unsigned, and those of 15 are no C23. Of the
# library's symbols only the SQL functions and the worker's entry are seen by others (PGDLLEXPORT). Each object notes in
# a .d file what it depends on.
PG_CPPFLAGS = -I$(TOP)/src -DROSTER_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = -std=gnu17 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -fvisibility=hidden -MMD -MP
SHLIB_LINK = -lcurl -lcrypto

# make WERROR=1: a warning is an error, as in the tests. make DEBUG=1: for a debugger, with assertions.
ifdef WERROR
PG_CFLAGS += -Werror
endif
ifdef DEBUG
PG_CPPFLAGS += -DUSE_ASSERT_CHECKING
PG_CFLAGS += -O0 -g3 -Wno-cpp
endif

# setup makes the key file and the settings that the others need, teardown takes them back.
REGRESS = setup $(filter-out setup teardown,$(sort $(basename $(notdir $(wildcard $(TOP)/test/sql/*.sql))))) teardown
REGRESS_OPTS = --inputdir=test --load-extension=pg_cron --load-extension=minga_roster
ISOLATION = $(sort $(basename $(notdir $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --outputdir=.
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(PGXS),)
include $(PGXS)
docmoduledir := $(EXTENSION)
# Makefile.global sets the flags, so they are added to behind it.
# Tests have clusters and servers of their own, and wait a good part of their time.
PROVE_FLAGS += -j 2 -I $(CURDIR)/test/perl
else
all install installcheck:
	@echo 'pg_config was not found: install postgresql-server-dev-15, or name it with PG_CONFIG=.' >&2; exit 1
endif

sql/minga_roster--$(EXTVERSION).sql: $(SQL_PARTS) minga_roster.control
	cat $(filter %.sql,$^) > $@

$(UPDATES): sql/minga_roster--%--$(EXTVERSION).sql: sql/releases/minga_roster--%.sql sql/updates/%--$(EXTVERSION).sql \
		sql/updates/before.sql tools/update_script.pl $(SQL_PARTS) minga_roster.control
	perl $(filter %.pl,$^) $< $(filter-out %/before.sql,$(filter %.sql,$(wordlist 2,$(words $^),$^))) > $@

-include $(wildcard $(OBJS:.o=.d))
# The one file that has the version in it.
src/base/version.o: minga_roster.control
# Bitcode for the JIT compiler, where the server has one, is compiled apart and changes with the object.
$(OBJS:.o=.bc): %.bc: %.o

.DELETE_ON_ERROR:

# For the objects of a build in a directory of its own. Not by a rule: make would find the checkout's directories, as it
# would its objects.
ifneq ($(realpath $(TOP)),$(realpath .))
ifneq ($(wildcard $(addprefix $(TOP)/,$(OBJS))),)
$(error $(TOP) has a build of its own: run make clean there first)
endif
$(shell mkdir -p $(sort $(dir $(OBJS) $(DATA_built))))
endif

# PGXS looks for the documents where their sources are.
uninstall: uninstall-docs
.PHONY: uninstall-docs
uninstall-docs:
	rm -f $(addprefix '$(DESTDIR)$(docdir)/$(docmoduledir)/',$(notdir $(DOCS)))

installcheck: check-server
.PHONY: check-server
check-server:
	@test/check_server.sh '$(bindir)/psql'

# Bound to no installation: these install what they need (as root, on Debian 12) and clean up after themselves.
# make test PG=17: the same tests on another PostgreSQL, in a root directory with the Debian that has it.
.PHONY: test
test:
	@test/$(if $(PG),other_version.sh $(PG),run.sh)

# The layout of PostgreSQL's pgindent, for the C files.
.PHONY: indent
indent:
	@tools/indent.sh

# The archive of a release, and the packages of Debian made from it and tried in fresh systems.
.PHONY: dist package-test
dist:
	@tools/dist.sh

package-test:
	@test/packages.sh

.PHONY: demo stop-demo bench
demo:
	@test/demo.sh

stop-demo:
	@test/demo.sh stop

bench:
	@test/bench/bench.sh
