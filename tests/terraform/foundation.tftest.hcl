run "roles_are_for_tokens_of_gitlab" {
  command = plan
  variables {
    host              = "gitlab.example.org"
    repository        = "group/team/my-model"
    identity_provider = "arn:aws:iam::123456789012:oidc-provider/gitlab.example.org"
  }
  assert {
    condition     = length(aws_iam_openid_connect_provider.host) == 0
    error_message = "The account has a provider."
  }
  assert {
    condition = jsondecode(aws_iam_role.pipeline["read"].assume_role_policy).Statement[0].Condition.StringEquals == {
      "gitlab.example.org:aud" = "https://gitlab.example.org"
    }
    error_message = "The audience is the host itself, as $CI_SERVER_URL says in the pipelines."
  }
  assert {
    condition = jsondecode(aws_iam_role.pipeline["production"].assume_role_policy).Statement[0].Condition.StringLike == {
      "gitlab.example.org:sub" = "project_path:group/team/my-model:ref_type:branch:ref:main"
    }
    error_message = "Only the main branch deploys."
  }
}

run "costs_have_an_alarm" {
  command = plan
  assert {
    condition = (
      aws_budgets_budget.account.limit_amount == "200"
      && { for its in aws_budgets_budget.account.notification : its.notification_type => its.threshold } == { ACTUAL = 80, FORECASTED = 100 }
    )
    error_message = "The budget of the page writes at 80 % of what was spent, and when the month will go beyond it."
  }
}
