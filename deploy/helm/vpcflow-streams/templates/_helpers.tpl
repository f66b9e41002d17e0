{{- define "vpcflow.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "vpcflow.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: vpcflow-streams
{{ include "vpcflow.selector" . }}
{{- end -}}

{{/* Of the whole release; a component adds its own label. */}}
{{- define "vpcflow.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vpcflow.serviceAccount" -}}
{{- default (include "vpcflow.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "vpcflow.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "vpcflow.prefix" -}}
{{- default "vpcflow" .Values.settings.topics.prefix -}}
{{- end -}}

{{/* The parts that run, as a JSON list. */}}
{{- define "vpcflow.parts" -}}
{{- $parts := list "worker" -}}
{{- if .Values.ingest.enabled }}{{ $parts = append $parts "ingest" }}{{ end -}}
{{- if .Values.bridge.enabled }}{{ $parts = append $parts "bridge" }}{{ end -}}
{{- toJson $parts -}}
{{- end -}}

{{/* The settings of a part. The source of a bridge, and the login there, are its alone. Takes root and part. */}}
{{- define "vpcflow.settings" -}}
{{- $settings := .root.Values.settings -}}
{{- toYaml (eq .part "bridge" | ternary $settings (omit $settings "bridge")) -}}
{{- end -}}

{{/* https where ingest ends TLS itself. Takes root and part. */}}
{{- define "vpcflow.scheme" -}}
{{- if and (eq .part "ingest") .root.Values.ingest.tls.enabled -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}

{{/* Variables for one Kafka cluster: its password, and where its certificates are. Takes name, prefix, login. */}}
{{- define "vpcflow.kafkaVariables" }}
{{- if .login.password.secret }}
- name: {{ .prefix }}__SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .login.password.secret }}
      key: {{ .login.password.key }}
{{- end }}
{{- if .login.ca.secret }}
- name: {{ .prefix }}__SSL_CAFILE
  value: /etc/vpcflow/{{ .name }}-ca/{{ .login.ca.key }}
{{- end }}
{{- if .login.client.secret }}
- name: {{ .prefix }}__SSL_CERTFILE
  value: /etc/vpcflow/{{ .name }}-client/tls.crt
- name: {{ .prefix }}__SSL_KEYFILE
  value: /etc/vpcflow/{{ .name }}-client/tls.key
{{- end }}
{{- end -}}

{{/* Secrets that a part mounts as /etc/vpcflow/NAME: a JSON map of volume to Secret. Takes root and part. */}}
{{- define "vpcflow.secrets" -}}
{{- $values := .root.Values -}}
{{- $found := dict "broker-ca" $values.kafka.broker.ca.secret "broker-client" $values.kafka.broker.client.secret -}}
{{- if eq .part "bridge" -}}
{{- $_ := set $found "bridge-ca" $values.kafka.bridge.ca.secret -}}
{{- $_ := set $found "bridge-client" $values.kafka.bridge.client.secret -}}
{{- end -}}
{{- if eq .part "ingest" -}}
{{- $missing := "ingest.accessKeys.secret: without a key everybody could post" -}}
{{- $_ := set $found "keys" (required $missing $values.ingest.accessKeys.secret) -}}
{{- if $values.ingest.tls.enabled -}}
{{- $missing := "ingest.tls.secret: a certificate, or ingest.tls.enabled: false" -}}
{{- $_ := set $found "tls" (required $missing $values.ingest.tls.secret) -}}
{{- end -}}
{{- end -}}
{{- range $name, $secret := $found -}}
{{- if not $secret }}{{ $_ := unset $found $name }}{{ end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The template of a part's pods. Takes root and part. */}}
{{- define "vpcflow.pod" -}}
{{- $root := .root -}}
{{- $part := .part -}}
{{- $values := $root.Values -}}
{{- $own := index $values $part -}}
{{- $secrets := include "vpcflow.secrets" . | fromJson -}}
{{- $scheme := include "vpcflow.scheme" . -}}
metadata:
  labels:
    {{- include "vpcflow.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $part }}
  annotations:
    # Settings are read at the start: other settings, other pods. Rules and keys are read again as they change.
    checksum/settings: {{ include "vpcflow.settings" . | sha256sum }}
    {{- with $own.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "vpcflow.serviceAccount" $root }}
  automountServiceAccountToken: false
  # A Service named vpcflow-... would be told to the process in variables VPCFLOW_...
  enableServiceLinks: false
  # It stops within 15 s (docs/OPERATING.md, "Restart and rolling upgrade").
  terminationGracePeriodSeconds: 30
  securityContext:
    runAsNonRoot: true
    # The user of the image.
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile:
      type: RuntimeDefault
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "vpcflow.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $part }}
  containers:
    - name: {{ $part }}
      image: {{ include "vpcflow.image" $root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [{{ $part }}]
      env:
        - name: VPCFLOW_CONFIG
          value: /etc/vpcflow/settings/{{ $part }}.yaml
        - name: VPCFLOW_LISTEN
          value: {{ printf "%s:%v" $values.listen.host $values.listen.port | quote }}
        {{- if eq $part "worker" }}
        # The name of a pod of a StatefulSet stays: a restart within the session moves no partition.
        - name: VPCFLOW_GROUP__INSTANCE_ID
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- range $name := list "detectors" "policy" "suppressions" }}
        {{- if hasKey $values.rules (printf "%s.yaml" $name) }}
        - name: VPCFLOW_DETECTION__{{ upper $name }}
          value: /etc/vpcflow/rules/{{ $name }}.yaml
        {{- end }}
        {{- end }}
        {{- end }}
        {{- if eq $part "ingest" }}
        - name: VPCFLOW_INGEST__ACCESS_KEY_FILE
          value: /etc/vpcflow/keys/{{ $values.ingest.accessKeys.key }}
        {{- if $values.ingest.tls.enabled }}
        - name: VPCFLOW_INGEST__TLS_CERT
          value: /etc/vpcflow/tls/tls.crt
        - name: VPCFLOW_INGEST__TLS_KEY
          value: /etc/vpcflow/tls/tls.key
        {{- end }}
        {{- end }}
        {{- $login := dict "name" "broker" "prefix" "VPCFLOW_BROKER" "login" $values.kafka.broker }}
        {{- with include "vpcflow.kafkaVariables" $login | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- if eq $part "bridge" }}
        {{- $login := dict "name" "bridge" "prefix" "VPCFLOW_BRIDGE__BROKER" "login" $values.kafka.bridge }}
        {{- with include "vpcflow.kafkaVariables" $login | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- end }}
      ports:
        - name: http
          containerPort: {{ $values.listen.port }}
      # Listening takes some 3 s (docs/LOAD.md, "Latency"), on a busy node more.
      startupProbe:
        httpGet: {path: /livez, port: http, scheme: {{ $scheme }}}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 45
      livenessProbe:
        httpGet: {path: /livez, port: http, scheme: {{ $scheme }}}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      resources:
        {{- toYaml $own.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: settings
          mountPath: /etc/vpcflow/settings
          readOnly: true
        {{- if and (eq $part "worker") $values.rules }}
        - name: rules
          mountPath: /etc/vpcflow/rules
          readOnly: true
        {{- end }}
        {{- range $name, $secret := $secrets }}
        - name: {{ $name }}
          mountPath: /etc/vpcflow/{{ $name }}
          readOnly: true
        {{- end }}
        - name: tmp
          mountPath: /tmp
  volumes:
    - name: settings
      configMap:
        name: {{ include "vpcflow.fullname" $root }}-settings
    {{- if and (eq $part "worker") $values.rules }}
    - name: rules
      configMap:
        name: {{ include "vpcflow.fullname" $root }}-rules
    {{- end }}
    {{- range $name, $secret := $secrets }}
    - name: {{ $name }}
      secret:
        secretName: {{ $secret }}
        defaultMode: 0440
    {{- end }}
    # Faust makes a folder where it stands; nothing of it is kept.
    - name: tmp
      emptyDir:
        sizeLimit: 64Mi
{{- end -}}
