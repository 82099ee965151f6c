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

output "login" {
  description = "What storage.mk holds, so that pipelines reach the storage."
  value       = <<-EOT
    STORAGE_READER = ${aws_iam_role.pipeline["read"].arn}
    STORAGE_WRITER = ${aws_iam_role.pipeline["retrain"].arn}
    STORAGE_REALM = ${var.region}
  EOT
}
