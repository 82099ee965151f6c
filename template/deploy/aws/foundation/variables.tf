variable "name" {
  description = "What everything is called; S3 knows it in the whole world."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}[a-z0-9]$", var.name))
    error_message = "Use 4 to 32 small letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "Where it all lies, such as eu-central-1."
  type        = string
}

variable "repository" {
  description = "The repository on its host: owner/name."
  type        = string
  validation {
    condition     = can(regex("^[\\w.-]+(/[\\w.-]+)+$", var.repository))
    error_message = "Write the repository as owner/name, without the host and without *."
  }
}

variable "branch" {
  description = "The branch whose pipelines build images and deploy."
  type        = string
  default     = "main"
}

variable "identity_provider" {
  description = "The account's OIDC provider for the host of the repository, by its ARN, if it has one."
  type        = string
  default     = null
}

variable "email" {
  description = "Who hears of costs and of errors."
  type        = string
}

variable "budget" {
  description = "US dollars a month that the account may cost."
  type        = number
  default     = 200
}
