# Vertex AI: docs/ops/google.md
.PHONY: vertex

vertex: export ENVIRONMENT := $(or $(ENVIRONMENT),dev)
vertex: ## let Vertex AI run what deploy/state/ENVIRONMENT.yaml names (VERTEX_PROJECT=... VERTEX_LOCATION=... VERTEX_ENDPOINT=...)
	@test -n "$$VERTEX_PROJECT" && test -n "$$VERTEX_LOCATION" && test -n "$$VERTEX_ENDPOINT" \
	  || { echo "Set VERTEX_PROJECT, VERTEX_LOCATION (such as europe-west4) and VERTEX_ENDPOINT, its name." >&2; exit 2; }
	uv run --no-project deploy/google/release.py --project "$$VERTEX_PROJECT" --location "$$VERTEX_LOCATION" \
	  --name "$$VERTEX_ENDPOINT" --environment "$$ENVIRONMENT"
