resource "aws_kinesis_firehose_delivery_stream" "ingest" {
  name        = var.name
  destination = "http_endpoint"

  # AWS's log delivery may write to streams with this tag, and to no others.
  tags = merge(var.tags, { LogDeliveryEnabled = "true" })

  http_endpoint_configuration {
    name               = var.name
    url                = var.endpoint_url
    access_key         = var.access_key
    role_arn           = aws_iam_role.firehose.arn
    buffering_interval = var.buffer_seconds
    buffering_size     = var.buffer_mib
    retry_duration     = var.retry_seconds
    s3_backup_mode     = var.backup_all ? "AllData" : "FailedDataOnly"

    request_configuration {
      content_encoding = "GZIP"

      # A line does not say which fields it has: docs/FEEDING.md, "Formats".
      common_attributes {
        name  = "format"
        value = local.names
      }
    }

    s3_configuration {
      role_arn            = aws_iam_role.firehose.arn
      bucket_arn          = aws_s3_bucket.this["undelivered"].arn
      prefix              = "records/"
      error_output_prefix = "undelivered/!{firehose:error-output-type}/"
      compression_format  = "GZIP"

      cloudwatch_logging_options {
        enabled         = true
        log_group_name  = aws_cloudwatch_log_group.firehose.name
        log_stream_name = aws_cloudwatch_log_stream.backup.name
      }
    }

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.firehose.name
      log_stream_name = aws_cloudwatch_log_stream.delivery.name
    }

    dynamic "secrets_manager_configuration" {
      for_each = local.use_secret ? [var.access_key_secret_arn] : []

      content {
        enabled    = true
        secret_arn = secrets_manager_configuration.value
        role_arn   = aws_iam_role.firehose.arn
      }
    }
  }

  depends_on = [aws_iam_role_policy.firehose]
}

# Why a delivery failed.
resource "aws_cloudwatch_log_group" "firehose" {
  name              = "/vpcflow/${var.name}/firehose"
  retention_in_days = 14
  tags              = var.tags
}

resource "aws_cloudwatch_log_stream" "delivery" {
  name           = "delivery"
  log_group_name = aws_cloudwatch_log_group.firehose.name
}

resource "aws_cloudwatch_log_stream" "backup" {
  name           = "backup"
  log_group_name = aws_cloudwatch_log_group.firehose.name
}
