# SageMaker: docs/ops/aws.md
.PHONY: sagemaker sagemaker-access sagemaker-ready

AWS_ENVIRONMENT := $(or $(ENVIRONMENT),dev)
SAGEMAKER := terraform -chdir=deploy/aws/endpoint

sagemaker: sagemaker-ready ## let SageMaker run what deploy/state/ENVIRONMENT.yaml names (ENVIRONMENT=dev)
	@test -f $(STATE) || { echo "There is no $(STATE) yet, which says what is to run there: docs/ops/aws.md" >&2; exit 2; }
	$(SAGEMAKER) apply -input=false -auto-approve -var=environment=$(AWS_ENVIRONMENT) -var=state=$(abspath $(STATE)) \
	  $(addprefix -var-file=,$(notdir $(wildcard deploy/aws/endpoint/$(AWS_ENVIRONMENT).tfvars)))

sagemaker-access: sagemaker-ready
	@$(SAGEMAKER) output -json | uv run --quiet --no-project deploy/aws/access.py

sagemaker-ready:
	@$(SAGEMAKER) init -input=false -reconfigure -backend-config=project.tfbackend \
	  -backend-config=key=terraform/$(AWS_ENVIRONMENT).tfstate >&2
