variable "name" {
  description = "What everything is called, as in the foundation."
  type        = string
}

variable "region" {
  description = "Where it all lies, as in the foundation."
  type        = string
}

variable "environment" {
  description = "dev, staging or production."
  type        = string
}

variable "state" {
  description = "The file that says what is to run; without it, deploy/state/ENVIRONMENT.yaml."
  type        = string
  default     = null
}

variable "registry" {
  description = "Where models are registered, such as http://mlflow.internal:5000/my-model; without it, the image's own answers."
  type        = string
  default     = null
}

variable "instance_type" {
  description = "What one instance is."
  type        = string
  default     = "ml.t2.medium"
}

variable "instances" {
  description = "How many of them run, day and night."
  type        = number
  default     = 1
}

variable "network" {
  description = "Subnets and security groups from which the instances reach what is private, such as the registry."
  type        = object({ subnets = list(string), security_groups = list(string) })
  default     = null
}
