# SageMaker: docs/ops/aws.md
.PHONY: sagemaker

AWS_ENVIRONMENT := $(or $(ENVIRONMENT),dev)
AWS_STATE := deploy/state/$(AWS_ENVIRONMENT).yaml
SAGEMAKER := terraform -chdir=deploy/aws/endpoint

sagemaker: ## let SageMaker run what deploy/state/ENVIRONMENT.yaml names (ENVIRONMENT=dev)
	@test -f $(AWS_STATE) || { echo "There is no $(AWS_STATE) yet, which says what is to run there: docs/ops/aws.md" >&2; exit 2; }
	$(SAGEMAKER) init -input=false -reconfigure -backend-config=project.tfbackend -backend-config=key=terraform/$(AWS_ENVIRONMENT).tfstate
	$(SAGEMAKER) apply -input=false -auto-approve -var=environment=$(AWS_ENVIRONMENT) \
	  $(addprefix -var-file=,$(notdir $(wildcard deploy/aws/endpoint/$(AWS_ENVIRONMENT).tfvars)))
