# What an environment has: a SageMaker endpoint with the image that its state file names.
# `make sagemaker ENVIRONMENT=…` applies this: docs/ops/aws.md
# https://developer.hashicorp.com/terraform/language

terraform {
  required_version = ">= 1.10"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
  backend "s3" {
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { Project = var.name, Environment = var.environment }
  }
}
