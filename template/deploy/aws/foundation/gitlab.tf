# What the tokens of GitLab's pipelines say of who they are; they do not say for which environment.
# https://docs.gitlab.com/ci/cloud_services

variable "host" {
  description = "The host of the repository."
  type        = string
  default     = "gitlab.com"
}

locals {
  issuer   = var.host
  audience = "https://${var.host}"
  main     = "project_path:${var.repository}:ref_type:branch:ref:${var.branch}"
  subjects = merge(
    { change = "project_path:${var.repository}:ref_type:branch:ref:*", main = local.main },
    { for environment in local.environments : environment => local.main },
  )
}
