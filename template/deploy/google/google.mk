# Vertex AI: docs/ops/google.md
.PHONY: vertex vertex-access vertex-named

# Each environment has an endpoint of its own.
VERTEX_NAME = $(or $(VERTEX_ENDPOINT),$(addsuffix -$(or $(ENVIRONMENT),dev),$(VERTEX_ENDPOINTS)))
VERTEX = uv run --quiet --no-project deploy/google/release.py --project "$$VERTEX_PROJECT" --location "$$VERTEX_LOCATION" \
  --name "$(VERTEX_NAME)"

vertex: vertex-named ## let Vertex AI run what deploy/state/ENVIRONMENT.yaml names (VERTEX_PROJECT=... VERTEX_LOCATION=... VERTEX_ENDPOINT=...)
	$(VERTEX) --state $(STATE)

vertex-access: vertex-named
	@$(VERTEX)

vertex-named:
	@test -n "$$VERTEX_PROJECT" && test -n "$$VERTEX_LOCATION" && test -n "$(VERTEX_NAME)" || { \
	  echo "Set VERTEX_PROJECT, VERTEX_LOCATION (such as europe-west4), and VERTEX_ENDPOINTS, with what the endpoints' names begin, or VERTEX_ENDPOINT." >&2; exit 2; }
