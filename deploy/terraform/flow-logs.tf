# One flow log for each resource and destination.

resource "aws_flow_log" "firehose" {
  for_each = var.resource_ids

  vpc_id    = startswith(each.value, "vpc-") ? each.value : null
  subnet_id = startswith(each.value, "subnet-") ? each.value : null
  eni_id    = startswith(each.value, "eni-") ? each.value : null

  log_destination_type     = "kinesis-data-firehose"
  log_destination          = aws_kinesis_firehose_delivery_stream.ingest.arn
  log_format               = local.log_format
  max_aggregation_interval = var.aggregation_seconds
  traffic_type             = var.traffic_type
  tags                     = merge(var.tags, { Name = "${var.name}-firehose" })
}

resource "aws_flow_log" "s3" {
  for_each = local.s3_resources

  vpc_id    = startswith(each.value, "vpc-") ? each.value : null
  subnet_id = startswith(each.value, "subnet-") ? each.value : null
  eni_id    = startswith(each.value, "eni-") ? each.value : null

  log_destination_type     = "s3"
  log_destination          = aws_s3_bucket.this["flow-logs"].arn
  log_format               = local.log_format
  max_aggregation_interval = var.aggregation_seconds
  traffic_type             = var.s3_destination.traffic_type
  tags                     = merge(var.tags, { Name = "${var.name}-s3" })

  destination_options {
    file_format                = var.s3_destination.file_format
    hive_compatible_partitions = var.s3_destination.hive
    per_hour_partition         = var.s3_destination.per_hour
  }

  # Without the policy the first delivery would be refused.
  depends_on = [aws_s3_bucket_policy.flow_logs]
}

resource "aws_flow_log" "cloudwatch" {
  for_each = local.cloudwatch_resources

  vpc_id    = startswith(each.value, "vpc-") ? each.value : null
  subnet_id = startswith(each.value, "subnet-") ? each.value : null
  eni_id    = startswith(each.value, "eni-") ? each.value : null

  log_destination_type     = "cloud-watch-logs"
  log_destination          = aws_cloudwatch_log_group.flow_logs[0].arn
  iam_role_arn             = aws_iam_role.cloudwatch[0].arn
  log_format               = local.log_format
  max_aggregation_interval = var.aggregation_seconds
  traffic_type             = var.cloudwatch_destination.traffic_type
  tags                     = merge(var.tags, { Name = "${var.name}-cloudwatch" })
}

resource "aws_cloudwatch_log_group" "flow_logs" {
  count = var.cloudwatch_destination == null ? 0 : 1

  name              = "/vpcflow/${var.name}/flow-logs"
  retention_in_days = var.cloudwatch_destination.days
  kms_key_id        = var.cloudwatch_destination.kms_key_arn
  tags              = var.tags
}
