{{/* Where the parts of the cloud node find each other and their store, as environment. */}}
{{- define "cloud.environment" -}}
{{- $config := include "fogflow.config" . | fromJson -}}
{{- $found := dict
  "FOGFLOW_DISCOVERY__HOST_IP" (($config.discovery).host_ip | default (include "fogflow.host" (list . "discovery")))
  "FOGFLOW_MASTER__HOST_IP" (($config.master).host_ip | default (include "fogflow.host" (list . "master")))
  "FOGFLOW_DESIGNER__HOST_IP" (($config.designer).host_ip | default (include "fogflow.host" (list . "designer")))
  "FOGFLOW_RABBITMQ__HOST_IP" (.Values.rabbitmq.host | default (($config.rabbitmq).host_ip) | default (include "fogflow.host" (list . "rabbitmq")))
-}}
{{- include "fogflow.variables" $found | trim }}
{{- end -}}

{{/* Whether the PostgreSQL of the chart is used: "true" or nothing. */}}
{{- define "cloud.ownPostgres" -}}
{{- if and (eq .Values.store.engine "postgres") .Values.postgresql.enabled (not .Values.store.url) (not .Values.store.existingSecret) }}true{{ end -}}
{{- end -}}

{{/* The store of a service, as environment. */}}
{{- define "cloud.store" -}}
- name: FOGFLOW_STORE__ENGINE
  value: {{ .Values.store.engine }}
{{- if include "cloud.ownPostgres" . }}
- name: POSTGRES_PASSWORD
  valueFrom: {secretKeyRef: {{ include "fogflow.secretKey" (list . "postgres-password") }}}
- name: FOGFLOW_STORE__URL
  value: postgres://{{ .Values.postgresql.username }}:$(POSTGRES_PASSWORD)@{{ include "fogflow.host" (list . "postgresql") }}:5432/{{ .Values.postgresql.database }}
{{- else if eq .Values.store.engine "postgres" }}
- name: FOGFLOW_STORE__URL
  valueFrom: {secretKeyRef: {{ include "fogflow.secretKey" (list . "store-url") }}}
{{- end }}
{{- end -}}

{{/* The broker as the other parts of the cluster reach it. */}}
{{- define "cloud.brokerInside" -}}
- name: FOGFLOW_BROKER__HOST_IP
  value: {{ include "fogflow.host" (list . "cloud-broker") }}
{{- end -}}

{{/* What makes pods roll besides config.json: credentials that come from the values or were made. */}}
{{- define "cloud.checksum" -}}
{{- include "cloud.credentials" . | sha256sum -}}
{{- end -}}

{{/* All credentials of the chart as a JSON object; those of existing Secrets are left out. */}}
{{- define "cloud.credentials" -}}
{{- $out := dict -}}
{{- if not .Values.rabbitmq.existingSecret -}}
{{- $_ := set $out "rabbitmq-username" .Values.rabbitmq.username -}}
{{- $_ := set $out "rabbitmq-password" (include "fogflow.credential" (list . "rabbitmq-password" .Values.rabbitmq.password 32)) -}}
{{- $_ := set $out "rabbitmq-erlang-cookie" (include "fogflow.credential" (list . "rabbitmq-erlang-cookie" "" 40)) -}}
{{- end -}}
{{- if and (include "cloud.ownPostgres" .) (not .Values.postgresql.existingSecret) -}}
{{- $_ := set $out "postgres-password" (include "fogflow.credential" (list . "postgres-password" .Values.postgresql.password 32)) -}}
{{- end -}}
{{- if and (eq .Values.store.engine "postgres") .Values.store.url -}}
{{- $_ := set $out "store-url" .Values.store.url -}}
{{- end -}}
{{- if not .Values.adminToken.existingSecret -}}
{{- $_ := set $out "admin-token" (include "fogflow.credential" (list . "admin-token" .Values.adminToken.value 48)) -}}
{{- end -}}
{{- if not .Values.componentToken.existingSecret -}}
{{- $_ := set $out "component-token" (include "fogflow.credential" (list . "component-token" .Values.componentToken.value 48)) -}}
{{- end -}}
{{- $out | toJson -}}
{{- end -}}

{{/* Things that the schema cannot say. */}}
{{- define "cloud.check" -}}
{{- if and (not .Values.rabbitmq.enabled) (not .Values.rabbitmq.host) -}}
{{- fail "\n\nrabbitmq.enabled is false: name the server that shall be used in rabbitmq.host.\n" -}}
{{- end -}}
{{- if and (not .Values.rabbitmq.enabled) (not .Values.rabbitmq.existingSecret) (not .Values.rabbitmq.password) -}}
{{- fail "\n\nrabbitmq.enabled is false: give the password of the server in rabbitmq.password or rabbitmq.existingSecret.\n" -}}
{{- end -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) (not .Values.tls.certManager.enabled) -}}
{{- fail "\n\ntls.enabled is true: name a Secret with tls.crt, tls.key and ca.crt in tls.existingSecret, or enable tls.certManager.\n" -}}
{{- end -}}
{{- if and (eq .Values.store.engine "postgres") (not .Values.postgresql.enabled) (not .Values.store.url) (not .Values.store.existingSecret) -}}
{{- fail "\n\nstore.engine is postgres, but there is no server: enable postgresql, or set store.url or store.existingSecret.\n" -}}
{{- end -}}
{{- if and .Values.store.existingSecret .Values.store.url -}}
{{- fail "\n\nstore.url and store.existingSecret exclude each other.\n" -}}
{{- end -}}
{{- end -}}

{{/* The designer's registry in Dgraph, when that is part of the chart. */}}
{{- define "cloud.registryStore" -}}
{{- if .Values.dgraph.enabled }}
- name: FOGFLOW_DESIGNER__STORE__ENGINE
  value: dgraph
- name: FOGFLOW_DESIGNER__STORE__URL
  value: http://{{ include "fogflow.host" (list . "dgraph") }}:8080
{{- end }}
{{- end -}}

{{/* Image that is not ours: {registry, repository, tag} */}}
{{- define "cloud.foreignImage" -}}
{{- printf "%s/%s:%s" .registry .repository .tag -}}
{{- end -}}

{{/* Volume claim of a StatefulSet, named data: (list $ "1Gi") */}}
{{- define "cloud.claim" -}}
{{- $root := index . 0 -}}
- metadata:
    name: data
  spec:
    accessModes: [ReadWriteOnce]
    {{- with $root.Values.persistence.storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources: {requests: {storage: {{ index . 1 }}}}
{{- end -}}

{{/*
Command of a server that has its volume to itself: (list folder program). A pod that is deleted by force runs on for a moment while the
next one is started on the same volume, and two servers in one folder lose what they have acknowledged. PostgreSQL's own check compares
process numbers, which are the same in every container. Whatever ends the server, its lock ends with it.
*/}}
{{- define "cloud.aloneOnVolume" -}}
command:
  - sh
  - -c
  - |
    exec 9>>{{ index . 0 }}/fogflow.lock
    flock -n 9 || { echo "the volume is still in use; waiting for that to end"; flock 9; }
    exec docker-entrypoint.sh {{ index . 1 }} "$@"
  - sh
{{- end -}}

{{/* Whether volumes outlive the release. */}}
{{- define "cloud.claimRetention" -}}
persistentVolumeClaimRetentionPolicy: {whenDeleted: {{ ternary "Retain" "Delete" .Values.persistence.retain }}, whenScaled: Retain}
{{- end -}}
