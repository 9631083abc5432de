{{/* config.json: the file of the chart with the values under `config` over it, as JSON. */}}
{{- define "fogflow.config" -}}
{{- $file := .Files.Get "config.json" | mustFromJson -}}
{{- $merged := mustMergeOverwrite $file (deepCopy (.Values.config | default dict)) -}}
{{- range $key := list "latitude" "longitude" -}}
{{- $_ := set $merged.physical_location $key (index $merged.physical_location $key | toString | float64) -}} {{/* --set makes a string of a fraction */}}
{{- end -}}
{{- toPrettyJson $merged -}}
{{- end -}}

{{/* Address of this node: what config.json says, else the first external address, else the name of the broker. */}}
{{- define "fogflow.myHost" -}}
{{- $config := include "fogflow.config" .root | fromJson -}}
{{- $config.my_hostip | default (include "fogflow.externalIP" .root) | default (include "fogflow.host" (list .root .broker)) -}}
{{- end -}}

{{/* Environment that every service of a chart gets; with `bus`, also the message bus. (dict "root" $ "broker" "cloud-broker" "bus" true) */}}
{{- define "fogflow.environment" -}}
{{- $root := .root -}}
- name: FOGFLOW_LISTEN
  value: 0.0.0.0
- name: FOGFLOW_MY_HOSTIP
  value: {{ include "fogflow.myHost" . | quote }}
{{- if .bus }}
- name: FOGFLOW_BUS__ENGINE
  value: rabbitmq
{{- if and (gt (int ($root.Values.rabbitmq.replicaCount | default 1)) 1) (not ((include "fogflow.config" $root | fromJson).bus).queue_type) }}
- name: FOGFLOW_BUS__QUEUE_TYPE
  value: quorum
{{- end }}
- name: FOGFLOW_RABBITMQ__USERNAME
  valueFrom: {secretKeyRef: {{ include "fogflow.secretKey" (list $root "rabbitmq-username") }}}
- name: FOGFLOW_RABBITMQ__PASSWORD
  valueFrom: {secretKeyRef: {{ include "fogflow.secretKey" (list $root "rabbitmq-password") }}}
{{- end }}
{{- if $root.Values.tls.enabled }}
- name: FOGFLOW_HTTPS__ENABLED
  value: "true"
- name: FOGFLOW_HTTPS__MY_CERTIFICATE
  value: /certs/tls.crt
- name: FOGFLOW_HTTPS__MY_KEY
  value: /certs/tls.key
- name: FOGFLOW_HTTPS__MY_CA
  value: /certs/ca.crt
{{- end }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
{{- end -}}

{{/* Environment entries from name and value pairs, without the empty ones: (dict "A" "b") */}}
{{- define "fogflow.variables" -}}
{{- range $name, $value := . }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}
