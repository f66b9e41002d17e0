output "stream_arn" {
  description = "The stream: the key of ingest.formats for a format that is longer than a common attribute."
  value       = aws_kinesis_firehose_delivery_stream.ingest.arn
}

output "flow_log_ids" {
  description = "Resource id to flow log id, of those that go to Firehose."
  value       = { for id, log in aws_flow_log.firehose : id => log.id }
}

output "buckets" {
  description = "Purpose to name: `undelivered` has what `vpcflow replay` is for."
  value       = { for purpose, bucket in aws_s3_bucket.this : purpose => bucket.id }
}

output "log_format" {
  description = "Format of the flow logs."
  value       = local.log_format
}
