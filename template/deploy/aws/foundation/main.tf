# What a project has once: a bucket, a registry of images, what its pipelines may do, and an alarm on
# costs. A person applies it: docs/ops/aws.md
# https://developer.hashicorp.com/terraform/language

terraform {
  required_version = ">= 1.10"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { Project = var.name }
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account      = data.aws_caller_identity.current.account_id
  partition    = data.aws_partition.current.partition
  environments = ["dev", "staging", "production"]
}
