locals {
  # ${version} ${account-id} ..., as a flow log wants it; the endpoint is told the bare names.
  names      = join(" ", var.fields)
  log_format = join(" ", [for field in var.fields : "$${${field}}"])

  use_secret = var.access_key_secret_arn != null

  # Purpose of a bucket -> days that it keeps objects.
  buckets = merge(
    { undelivered = var.backup_days },
    var.s3_destination == null ? {} : { flow-logs = var.s3_destination.days },
  )

  s3_resources         = var.s3_destination == null ? toset([]) : var.resource_ids
  cloudwatch_resources = var.cloudwatch_destination == null ? toset([]) : var.resource_ids
}
