run "the_model_of_the_image_answers" {
  command = plan
  variables {
    environment = "dev"
  }
  assert {
    condition     = aws_sagemaker_model.service.primary_container[0].environment == null
    error_message = "Without a registry nothing names another model."
  }
}

run "the_version_that_the_state_names_answers" {
  command = plan
  variables {
    environment = "dev"
    registry    = "http://mlflow.internal:5000/my-model"
    network     = { subnets = ["subnet-1"], security_groups = ["sg-1"] }
  }
  assert {
    condition     = aws_sagemaker_model.service.primary_container[0].environment.BUNDLE == "http://mlflow.internal:5000/my-model/7"
    error_message = "BUNDLE names the version of the state file."
  }
  assert {
    condition     = aws_sagemaker_model.service.vpc_config[0].subnets == toset(["subnet-1"])
    error_message = "The registry is reached through the network."
  }
}

run "a_tag_is_refused" {
  command = plan
  variables {
    environment = "staging"
  }
  expect_failures = [aws_sagemaker_model.service]
}
