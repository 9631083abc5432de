{{/* Namespace of the release. A namespace in the values must be the one that was given to helm. */}}
{{- define "fogflow.namespace" -}}
{{- if and .Values.namespace (ne .Values.namespace .Release.Namespace) -}}
{{- fail (printf "\n\nnamespace: the values say %q, helm was called with --namespace=%s. Give both the same, or leave the value empty.\n" .Values.namespace .Release.Namespace) -}}
{{- end -}}
{{- .Release.Namespace -}}
{{- end -}}

{{/* DNS name of a Service, also from other namespaces: (list $ "discovery") */}}
{{- define "fogflow.host" -}}
{{- $root := index . 0 -}}
{{- printf "%s.%s.svc" (index . 1) (include "fogflow.namespace" $root) -}}
{{- end -}}

{{/* Labels by which pods are selected; they never change: (list $ "discovery") */}}
{{- define "fogflow.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end -}}

{{/* Labels of a pod; none changes with a release, which would roll pods for nothing: (list $ "discovery") */}}
{{- define "fogflow.podLabels" -}}
{{ include "fogflow.selector" . }}
app.kubernetes.io/component: {{ index . 1 | trimPrefix "cloud-" | trimPrefix "edge-" }}
app.kubernetes.io/part-of: fogflow
{{- end -}}

{{/* All labels of an object: (list $ "discovery") */}}
{{- define "fogflow.labels" -}}
{{- $root := index . 0 -}}
{{ include "fogflow.podLabels" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
io.kompose.service: {{ index . 1 }}
{{- end -}}

{{/* Name, namespace and labels: (list $ "discovery" "object-name") */}}
{{- define "fogflow.metadata" -}}
{{- $root := index . 0 -}}
name: {{ if gt (len .) 2 }}{{ index . 2 }}{{ else }}{{ index . 1 }}{{ end }}
namespace: {{ include "fogflow.namespace" $root }}
labels:
  {{- include "fogflow.labels" (list $root (index . 1)) | nindent 2 }}
{{- end -}}

{{/* Addresses at which the node is reached from outside, as a JSON list. */}}
{{- define "fogflow.externalIPs" -}}
{{- $old := ((.Values.Service).spec).externalIPs | default list -}}
{{- .Values.externalIPs | default $old | toJson -}}
{{- end -}}

{{/* The first of them, or nothing. */}}
{{- define "fogflow.externalIP" -}}
{{- $ips := include "fogflow.externalIPs" . | fromJsonArray -}}
{{- if $ips }}{{ first $ips }}{{ end -}}
{{- end -}}

{{/* Full name of an image of FogFlow: (list $ values "broker") */}}
{{- define "fogflow.image" -}}
{{- $root := index . 0 -}}
{{- $own := (index . 1).image | default dict -}}
{{- $common := $root.Values.image -}}
{{- printf "%s/%s:%s" ($own.registry | default $common.registry) ($own.repository | default (printf "%s/%s" $common.repository (index . 2))) ($own.tag | default $common.tag | default $root.Chart.AppVersion) -}}
{{- end -}}

{{/* ServiceAccount of the worker, the only one with rights. */}}
{{- define "fogflow.workerAccount" -}}
{{- .Values.serviceAccount.name | default (ternary "fogflow-worker" "default" .Values.serviceAccount.create) -}}
{{- end -}}
