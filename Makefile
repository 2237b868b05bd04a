.DEFAULT_GOAL := help
.PHONY: demo test help

demo: ## set everything up, build a twin from the sample corpus and show it working
	@sh scripts/setup.sh
	@.venv/bin/poe demo

test: ## set everything up and pass the whole suite (checks, unit tests, slow tests)
	@sh scripts/setup.sh
	@.venv/bin/poe test

help: ## show this list
	@sed -n 's/^\([a-z]*\): ## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r command what; do \
		printf '  %-10s %s\n' "$$command" "$$what"; done
