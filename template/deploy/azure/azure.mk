# Azure ML: docs/ops/azure.md
.PHONY: azure-ml azure-ml-access azure-ml-named

# Each environment has an endpoint of its own, whose name is its alone in the region.
AZURE_NAME = $(or $(AZURE_ENDPOINT),$(addsuffix -$(or $(ENVIRONMENT),dev),$(AZURE_ENDPOINTS)))
AZURE_IMAGE = $(shell sed -n 's/^image: *//p' $(STATE))
# A deployment is named after its image: another image stands beside it until it is tried.
AZURE_DEPLOYMENT = image-$(shell printf %.12s "$(lastword $(subst :, ,$(AZURE_IMAGE)))")

azure-ml: azure-ml-named ## let Azure ML run what deploy/state/ENVIRONMENT.yaml names, once it was tried (AZURE_ENDPOINT=... ENVIRONMENT=dev)
	@test -f $(STATE) || { echo "There is no $(STATE) yet, which says what is to run there: docs/ops/azure.md" >&2; exit 2; }
	@echo "$(AZURE_IMAGE)" | grep --quiet '@sha256:' || { echo "$(STATE) must name the image by its digest." >&2; exit 2; }
	az ml online-endpoint show --name "$(AZURE_NAME)" --output none \
	  || az ml online-endpoint create --file deploy/azure/endpoint.yaml --name "$(AZURE_NAME)"
	az ml online-deployment create --file deploy/azure/deployment.yaml --name $(AZURE_DEPLOYMENT) \
	  --endpoint-name "$(AZURE_NAME)" --set environment.image=$(AZURE_IMAGE)
	az ml online-endpoint invoke --name "$(AZURE_NAME)" --deployment-name $(AZURE_DEPLOYMENT) --request-file deploy/row.json
	az ml online-endpoint update --name "$(AZURE_NAME)" --traffic "$(AZURE_DEPLOYMENT)=100"

azure-ml-access: azure-ml-named
	@uv run --quiet --no-project python deploy/azure/access.py "$(AZURE_NAME)"

azure-ml-named:
	@test -n "$(AZURE_NAME)" || { echo "Set AZURE_ENDPOINTS, with what the endpoints' names begin, or AZURE_ENDPOINT." >&2; exit 2; }
