# What the tokens of GitHub's pipelines say of who they are.
# https://docs.github.com/en/actions/reference/security/oidc

locals {
  issuer   = "token.actions.githubusercontent.com"
  audience = "sts.amazonaws.com"
  subjects = merge(
    {
      change = "repo:${var.repository}:pull_request"
      main   = "repo:${var.repository}:ref:refs/heads/${var.branch}"
    },
    { for environment in local.environments : environment => "repo:${var.repository}:environment:${environment}" },
  )
}
