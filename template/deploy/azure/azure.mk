# Azure ML: docs/ops/azure.md
.PHONY: azure-ml

AZURE_STATE := deploy/state/$(or $(ENVIRONMENT),dev).yaml
AZURE_IMAGE = $(shell sed -n 's/^image: *//p' $(AZURE_STATE))
# A deployment is named after its image: another image stands beside it until it is tried.
AZURE_DEPLOYMENT = image-$(shell printf %.12s "$(lastword $(subst :, ,$(AZURE_IMAGE)))")

azure-ml: ## let Azure ML run what deploy/state/ENVIRONMENT.yaml names, once it was tried (AZURE_ENDPOINT=... ENVIRONMENT=dev)
	@test -n "$$AZURE_ENDPOINT" || { echo "AZURE_ENDPOINT is not set: let it be the endpoint's name." >&2; exit 2; }
	@test -f $(AZURE_STATE) || { echo "There is no $(AZURE_STATE) yet, which says what is to run there: docs/ops/azure.md" >&2; exit 2; }
	@echo "$(AZURE_IMAGE)" | grep --quiet '@sha256:' || { echo "$(AZURE_STATE) must name the image by its digest." >&2; exit 2; }
	az ml online-endpoint show --name "$$AZURE_ENDPOINT" --output none \
	  || az ml online-endpoint create --file deploy/azure/endpoint.yaml --name "$$AZURE_ENDPOINT"
	az ml online-deployment create --file deploy/azure/deployment.yaml --name $(AZURE_DEPLOYMENT) \
	  --endpoint-name "$$AZURE_ENDPOINT" --set environment.image=$(AZURE_IMAGE)
	az ml online-endpoint invoke --name "$$AZURE_ENDPOINT" --deployment-name $(AZURE_DEPLOYMENT) --request-file deploy/azure/row.json
	az ml online-endpoint update --name "$$AZURE_ENDPOINT" --traffic "$(AZURE_DEPLOYMENT)=100"
