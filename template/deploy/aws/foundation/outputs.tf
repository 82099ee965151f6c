output "storage" {
  description = "Where data and models are kept: make storage URL=…"
  value       = "s3://${aws_s3_bucket.project.id}/dvc"
}

output "image" {
  description = "What the pipelines push to, without tag or digest."
  value       = aws_ecr_repository.service.repository_url
}

output "roles" {
  description = "What the pipelines log in as."
  value       = { for name, role in aws_iam_role.pipeline : name => role.arn }
}
