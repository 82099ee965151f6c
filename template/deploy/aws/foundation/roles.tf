# Who may do what. Pipelines show a token of their host, so no long-lived key is anywhere.

resource "aws_iam_openid_connect_provider" "host" {
  count          = var.identity_provider == null ? 1 : 0
  url            = "https://${local.issuer}"
  client_id_list = [local.audience]
}

locals {
  identity_provider = coalesce(var.identity_provider, one(aws_iam_openid_connect_provider.host[*].arn))

  # each role of the pipelines: whose token opens it, and what it allows
  roles = merge(
    {
      read    = { subjects = ["change", "main"], policy = data.aws_iam_policy_document.read }
      retrain = { subjects = ["main"], policy = data.aws_iam_policy_document.retrain }
      image   = { subjects = ["main"], policy = data.aws_iam_policy_document.image }
    },
    {
      for environment in local.environments :
      environment => { subjects = [environment], policy = data.aws_iam_policy_document.deploy[environment] }
    },
  )
}

data "aws_iam_policy_document" "pipeline" {
  for_each = local.roles
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [local.identity_provider]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = [local.audience]
    }
    condition {
      test     = "StringLike"
      variable = "${local.issuer}:sub"
      values   = [for subject in each.value.subjects : local.subjects[subject]]
    }
  }
}

resource "aws_iam_role" "pipeline" {
  for_each             = local.roles
  name                 = "${var.name}-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.pipeline[each.key].json
  max_session_duration = 2 * 60 * 60
}

resource "aws_iam_role_policy" "pipeline" {
  for_each = local.roles
  name     = each.key
  role     = aws_iam_role.pipeline[each.key].id
  policy   = each.value.policy.json
}

# Whoever trains and does not keep it, on a proposed change or the main branch: data, and what the services logged.
data "aws_iam_policy_document" "read" {
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.project.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["dvc/*", "served/*"]
    }
  }
  statement {
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.project.arn}/dvc/*", "${aws_s3_bucket.project.arn}/served/*"]
  }
}

# The retraining: it also keeps data and models. Nothing deletes.
data "aws_iam_policy_document" "retrain" {
  source_policy_documents = [data.aws_iam_policy_document.read.json]
  statement {
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.project.arn}/dvc/*"]
  }
}

# The image: it is pushed, and its signatures beside it.
data "aws_iam_policy_document" "image" {
  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # AWS knows no narrower one
  }
  statement {
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [aws_ecr_repository.service.arn]
  }
}

# The endpoint of one environment, and the state that Terraform keeps of it.
data "aws_iam_policy_document" "deploy" {
  for_each                = toset(local.environments)
  source_policy_documents = [data.aws_iam_policy_document.pull.json] # who has signed the image stands beside it
  statement {
    actions = [
      "sagemaker:AddTags",
      "sagemaker:CreateEndpoint",
      "sagemaker:CreateEndpointConfig",
      "sagemaker:CreateModel",
      "sagemaker:DeleteEndpoint",
      "sagemaker:DeleteEndpointConfig",
      "sagemaker:DeleteModel",
      "sagemaker:DescribeEndpoint",
      "sagemaker:DescribeEndpointConfig",
      "sagemaker:DescribeModel",
      "sagemaker:InvokeEndpoint",
      "sagemaker:ListTags",
      "sagemaker:UpdateEndpoint",
    ]
    resources = [
      for kind in ["model", "endpoint-config", "endpoint"] :
      "arn:${local.partition}:sagemaker:${var.region}:${local.account}:${kind}/${var.name}-${each.key}*"
    ]
  }
  statement {
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.model.arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["sagemaker.amazonaws.com"]
    }
  }
  statement {
    actions = [
      "cloudwatch:DeleteAlarms",
      "cloudwatch:DescribeAlarms",
      "cloudwatch:ListTagsForResource",
      "cloudwatch:PutMetricAlarm",
      "cloudwatch:TagResource",
      "cloudwatch:UntagResource",
    ]
    resources = ["arn:${local.partition}:cloudwatch:${var.region}:${local.account}:alarm:${var.name}-${each.key}*"]
  }
  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.project.arn}/terraform/${each.key}.tfstate*"]
  }
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.project.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["terraform/${each.key}.tfstate*"]
    }
  }
}

# The endpoints themselves: they fetch the image, and say what they do.
data "aws_iam_policy_document" "sagemaker" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["sagemaker.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "model" {
  name               = "${var.name}-model"
  assume_role_policy = data.aws_iam_policy_document.sagemaker.json
}

data "aws_iam_policy_document" "pull" {
  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # AWS knows no narrower one
  }
  statement {
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [aws_ecr_repository.service.arn]
  }
}

data "aws_iam_policy_document" "model" {
  source_policy_documents = [data.aws_iam_policy_document.pull.json]
  statement {
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"] # AWS knows no narrower one
  }
  statement {
    actions   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/aws/sagemaker/Endpoints/${var.name}-*"]
  }
}

resource "aws_iam_role_policy" "model" {
  name   = "model"
  role   = aws_iam_role.model.id
  policy = data.aws_iam_policy_document.model.json
}
