# `make` lists what there is. Every target sets up what it needs by itself; SETUP=none keeps it off the system.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
SERVICES ?= api worker
setup = sh scripts/setup.sh quiet

.PHONY: help setup doctor demo dev check format test test-kubernetes chaos rollout base-image build-agent build-mgx test-image isolation protocol up down rollback logs mongo redis bench simulate clean

help: ## this list
	@echo 'make <target>, where the target is one of'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'
	@echo 'SETUP=none installs nothing on the system: it says what is missing instead.'

setup: ## npm packages and Node 26 (installs npm and libatomic1 as root on Debian)
	@sh scripts/setup.sh

doctor: ## look at this host before it takes work; says what to mend, and how
	@$(setup)
	@node src/main/doctor.ts

demo: ## watch an agent build a small page in a container; no key needed
	@$(setup)
	@[ "$$ENGINE" = process ] || { sh scripts/docker.sh && sh scripts/build-agent.sh; } || true
	@node src/main/demo.ts

dev: ## the embedded server for developers, reloading on change
	@$(setup)
	@npm run --silent dev

check: ## lint, format check and types
	@$(setup)
	@npm run --silent check

format: ## write the format that check wants
	@$(setup)
	@npm run --silent format

test: ## every test, on real services; prints passed, failed, skipped
	@$(setup)
	@sh scripts/test-tools.sh
	@node tests/run.ts

chaos: ## kill everything under SESSIONS=40 sessions (SEED, DURATION, PLACES, FAULTS, WITH); checks every promise
	@$(setup)
	@sh scripts/docker.sh
	@node tests/chaos/harness/main.ts

rollout: ## replace every API and worker in turn under SESSIONS=40 live sessions (SEED, WITH); checks every promise
	@$(setup)
	@sh scripts/docker.sh
	@MODE=rollout node tests/chaos/harness/main.ts

test-kubernetes: ## the Kubernetes engine, on the cluster of KUBECONFIG
	@$(setup)
	@[ -n "$$KUBECONFIG" ] || echo 'NO CLUSTER: set KUBECONFIG to a kubeconfig of an administrator. Every test of Kubernetes is skipped.'
	@MGX_TEST_KUBERNETES_LOAD="$$KUBERNETES_LOAD" node tests/run.ts kubernetes

base-image: ## mgx-base:local, the base image made from Debian packages (needs root, no registry)
	@sh scripts/docker.sh
	@sh scripts/base-image.sh

build-agent: ## the image mgx:latest: agent, api and worker
	@sh scripts/build-agent.sh

build-mgx: build-agent ## the same as build-agent

test-image: build-agent ## that image from outside and inside: entry points, user, size, tools, secrets out of reach
	@$(setup)
	@MGX_TEST_IMAGE=$${AGENT_CONTAINER_IMAGE:-mgx:latest} node --test tests/infra/image*.test.ts

isolation: ## ask an agent's container what it can do: a table, exit code 1 on any gap
	@$(setup)
	@sh scripts/docker.sh
	@node tests/isolation/main.ts

protocol: ## explore every order of the run protocol in large cases; takes minutes and a few GB
	@$(setup)
	@PROTOCOL=long node --max-old-space-size=8000 --test tests/protocol/protocol.test.ts

up: ## api, worker, MongoDB and Redis with Docker Compose; prints the address
	@sh scripts/up.sh

down: ## stop what up started; data and workspaces stay
	@sh scripts/down.sh

rollback: ## end the trial of AGENT_CANARY_IMAGE: weight 0, and the worker made anew; runs at work go on
	@sh scripts/rollback.sh

logs: ## follow the logs of api and worker (SERVICES=mongodb: of others)
	@sh scripts/compose.sh logs --follow --tail 100 $(SERVICES)

mongo: ## a MongoDB shell on the services' database
	@sh scripts/console.sh mongo

redis: ## a Redis shell on the services' queue
	@sh scripts/console.sh redis

bench: ## the numbers and plots of docs/benchmarks.md, measured here (PART=…, QUICK=1)
	@$(setup)
	@sh scripts/build-agent.sh
	@PART='$(PART)' QUICK='$(QUICK)' node bench/run.ts

simulate: ## 10000 sessions on an engine that only waits (SESSIONS, WORKERS, PLACES, SEED, RATE, FAILURES)
	@$(setup)
	@node bench/simulation/main.ts

clean: ## remove node_modules and .cache (not images, data, workspaces)
	rm -rf node_modules .cache
