data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  name      = "${var.name}-${var.environment}"

  state     = yamldecode(file(coalesce(var.state, "${path.module}/../../state/${var.environment}.yaml")))
  model     = try("/${tonumber(local.state.model)}", "@${local.state.model}", "@champion") # a version, or an alias
  variables = var.registry == null ? {} : { BUNDLE = "${var.registry}${local.model}" }

  # SageMaker changes neither a model nor a configuration: what differs has another name
  version = substr(sha256(jsonencode([
    local.state.image, local.variables, var.instance_type, var.instances, var.network,
  ])), 0, 8)
}

resource "aws_sagemaker_model" "service" {
  name               = "${local.name}-${local.version}"
  execution_role_arn = "arn:${local.partition}:iam::${local.account}:role/${var.name}-model"
  primary_container {
    image       = local.state.image
    environment = local.variables
  }
  dynamic "vpc_config" {
    for_each = var.network[*]
    content {
      subnets            = vpc_config.value.subnets
      security_group_ids = vpc_config.value.security_groups
    }
  }
  lifecycle {
    create_before_destroy = true
    precondition {
      condition     = can(regex("@sha256:[0-9a-f]{64}$", local.state.image))
      error_message = "The state of ${var.environment} must name the image by its digest."
    }
  }
}

resource "aws_sagemaker_endpoint_configuration" "service" {
  name = aws_sagemaker_model.service.name
  production_variants {
    variant_name           = "champion"
    model_name             = aws_sagemaker_model.service.name
    instance_type          = var.instance_type
    initial_instance_count = var.instances
  }
  lifecycle {
    create_before_destroy = true
  }
}

# New instances beside the old ones; they go back by themselves if an alarm rings meanwhile.
resource "aws_sagemaker_endpoint" "service" {
  name                 = local.name
  endpoint_config_name = aws_sagemaker_endpoint_configuration.service.name
  deployment_config {
    blue_green_update_policy {
      traffic_routing_configuration {
        type                     = "ALL_AT_ONCE"
        wait_interval_in_seconds = 300
      }
    }
    auto_rollback_configuration {
      alarms {
        alarm_name = aws_cloudwatch_metric_alarm.errors.alarm_name
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${local.name}-errors"
  alarm_description   = "The endpoint answers with faults of its own: docs/ops/runbook.md"
  namespace           = "AWS/SageMaker"
  metric_name         = "Invocation5XXErrors"
  dimensions          = { EndpointName = local.name, VariantName = "champion" }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = ["arn:${local.partition}:sns:${var.region}:${local.account}:${var.name}-alarms"]
}

output "endpoint" {
  description = "What to invoke."
  value       = aws_sagemaker_endpoint.service.name
}

output "region" {
  description = "Where it is."
  value       = var.region
}
