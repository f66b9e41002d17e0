variable "name" {
  description = "Name of the stream, and first part of the names of all else."
  type        = string
  default     = "vpcflow"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,19}$", var.name))
    error_message = "name: 2 to 20 lower-case letters, digits and hyphens."
  }
}

variable "resource_ids" {
  description = "Ids of VPCs, subnets and network interfaces. Records of a subnet come twice if its VPC is named too."
  type        = set(string)

  validation {
    condition     = length(var.resource_ids) > 0
    error_message = "resource_ids: one id or more."
  }

  validation {
    condition     = alltrue([for id in var.resource_ids : can(regex("^(vpc|subnet|eni)-[0-9a-f]{8,17}$", id))])
    error_message = "resource_ids: vpc-..., subnet-... or eni-...."
  }
}

variable "traffic_type" {
  description = "Records of accepted traffic, of rejected traffic, or of all."
  type        = string
  default     = "ALL"

  validation {
    condition     = contains(["ALL", "ACCEPT", "REJECT"], var.traffic_type)
    error_message = "traffic_type: ALL, ACCEPT or REJECT."
  }
}

variable "aggregation_seconds" {
  description = "Longest time that a record spans. 60 gives minutes that are true."
  type        = number
  default     = 60

  validation {
    condition     = contains([60, 600], var.aggregation_seconds)
    error_message = "aggregation_seconds: 60 or 600."
  }
}

variable "fields" {
  description = "Fields of a record, in their order. The default is what the tables use (docs/FEEDING.md)."
  type        = list(string)
  default = [
    "version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes",
    "start", "end", "action", "log-status", "vpc-id", "subnet-id", "instance-id", "tcp-flags", "flow-direction",
    "region", "az-id",
  ]

  validation {
    condition     = length(var.fields) > 0 && alltrue([for field in var.fields : can(regex("^[a-z0-9-]+$", field))])
    error_message = "fields: names as AWS spells them, such as srcaddr and flow-direction."
  }

  validation {
    condition     = length(join(" ", var.fields)) <= 1024
    error_message = "fields: AWS takes 1,024 characters for the common attribute that tells them to the endpoint."
  }
}

variable "endpoint_url" {
  description = "Where ingest is reached, https://HOST/firehose: on port 443, with a certificate of a public authority."
  type        = string

  validation {
    condition     = can(regex("^https://[^/:?#]{1,900}(:443)?/firehose$", var.endpoint_url))
    error_message = "endpoint_url: https://HOST/firehose."
  }
}

variable "access_key" {
  description = "Key that ingest asks for. It is in Terraform's state: access_key_secret_arn keeps it out."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = (var.access_key == null) != (var.access_key_secret_arn == null)
    error_message = "One of access_key and access_key_secret_arn: without a key ingest refuses every post."
  }
}

variable "access_key_secret_arn" {
  description = "Secret of Secrets Manager with that key instead: {\"api_key\": \"...\"}."
  type        = string
  default     = null

  validation {
    condition     = can(regex("^arn:[a-z-]+:secretsmanager:", coalesce(var.access_key_secret_arn, "arn:a:secretsmanager:")))
    error_message = "access_key_secret_arn: the ARN of a secret."
  }
}

variable "access_key_secret_kms_key_arn" {
  description = "Customer managed key that the secret is encrypted with; null: AWS's own."
  type        = string
  default     = null
}

variable "buffer_seconds" {
  description = "How long Firehose waits for more before it posts."
  type        = number
  default     = 60

  validation {
    condition     = var.buffer_seconds >= 0 && var.buffer_seconds <= 900
    error_message = "buffer_seconds: 0 to 900."
  }
}

variable "buffer_mib" {
  description = "How much Firehose puts into a post at most. ingest.max_body_bytes has to take it."
  type        = number
  default     = 4

  validation {
    condition     = var.buffer_mib >= 1 && var.buffer_mib <= 64
    error_message = "buffer_mib: 1 to 64."
  }
}

variable "retry_seconds" {
  description = "How long Firehose tries again before it writes to the bucket of undelivered records."
  type        = number
  default     = 7200

  validation {
    condition     = var.retry_seconds >= 0 && var.retry_seconds <= 7200
    error_message = "retry_seconds: 0 to 7200."
  }
}

variable "backup_all" {
  description = "Write every record to that bucket, not only what could not be delivered."
  type        = bool
  default     = false
}

variable "backup_days" {
  description = "How long that bucket keeps records."
  type        = number
  default     = 30
}

variable "s3_destination" {
  description = "A second flow log of the same resources, to S3: for replays and long questions. null: none."
  type = object({
    days         = optional(number, 365)
    file_format  = optional(string, "parquet")
    hive         = optional(bool, false)
    per_hour     = optional(bool, true)
    traffic_type = optional(string, "ALL")
  })
  default = null

  validation {
    condition     = contains(["parquet", "plain-text"], try(var.s3_destination.file_format, "parquet"))
    error_message = "s3_destination.file_format: parquet or plain-text."
  }
}

variable "cloudwatch_destination" {
  description = "A flow log of the same resources to CloudWatch Logs. null: none. kms_key_arn: null for AWS's own."
  type = object({
    days         = optional(number, 14)
    traffic_type = optional(string, "REJECT")
    kms_key_arn  = optional(string)
  })
  default = null
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
