# Everything here works without make too: python3 -m chatproject.launcher COMMAND
PYTHON ?= python3
LAUNCHER = $(PYTHON) -m chatproject.launcher

.PHONY: run restart checkup test check bench faults faults-full servers

run: ## start everything and serve; Ctrl-C stops it. HOST, PORT, WEB_WORKERS, MESSAGES=cassandra
	@$(LAUNCHER) run

restart: ## the web workers of the running installation anew, one after the other
	@$(LAUNCHER) restart

checkup: ## a short life in the running installation, and a look at each store
	@$(LAUNCHER) checkup $(ARGS)

test: ## the tests, on servers of their own: make test ARGS="-k mailbox -x"
	@$(LAUNCHER) test $(ARGS)

check: ## formatting, lint, imports, types, Django's checks
	@$(LAUNCHER) check

bench: ## the benchmarks, on servers of their own: make bench ARGS="…"
	@$(LAUNCHER) bench $(ARGS)

faults: ## the message guarantee under attack, a quarter of an hour: make faults ARGS="nemesis --seed 7"
	@$(LAUNCHER) faults $(ARGS)

faults-full: ## the same with three Cassandra nodes, three quarters of an hour
	@$(LAUNCHER) faults --full $(ARGS)

servers: ## the tests' servers in the foreground; .state/dev/env leads a shell to them
	@$(LAUNCHER) servers
