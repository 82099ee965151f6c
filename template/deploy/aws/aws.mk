# SageMaker: docs/ops/aws.md
.PHONY: sagemaker

export ENVIRONMENT ?= dev
SAGEMAKER := terraform -chdir=deploy/aws/endpoint

sagemaker: deploy/state/$(ENVIRONMENT).yaml ## let SageMaker run what deploy/state/ENVIRONMENT.yaml names (ENVIRONMENT=dev)
	$(SAGEMAKER) init -input=false -reconfigure -backend-config=project.tfbackend -backend-config=key=terraform/$(ENVIRONMENT).tfstate
	$(SAGEMAKER) apply -input=false -auto-approve -var=environment=$(ENVIRONMENT) $(addprefix -var-file=,$(notdir $(wildcard deploy/aws/endpoint/$(ENVIRONMENT).tfvars)))

deploy/state/%.yaml:
	$(error There is no $@ yet, which says what is to run there: docs/ops/aws.md)
