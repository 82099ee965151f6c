# The machines of docs/ops/ray.md
.PHONY: image-worker

image-worker: export IMAGE := $(IMAGE)-worker
image-worker: ## put what trains, and Ray, into an image, as IMAGE-worker
	$(ENGINE) build --target worker --label org.opencontainers.image.revision="$$(git rev-parse HEAD)" --tag "$$IMAGE" .
