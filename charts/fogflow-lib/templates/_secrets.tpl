{{/*
Credentials. Each comes from, in this order: an existing Secret (nothing is made then), the values, the Secret that an earlier
installation or upgrade made, a random text. One rendering makes each random text once and keeps it in .Values._made.
*/}}
{{- define "fogflow.secretName" -}}fogflow-credentials{{- end -}}

{{/* `name` and `key` of a credential as the content of a secretKeyRef: (list $ "rabbitmq-password") */}}
{{- define "fogflow.secretKey" -}}
{{- $root := index . 0 -}}
{{- $key := index . 1 -}}
{{- $existing := "" -}}
{{- if hasPrefix "rabbitmq-" $key }}{{ $existing = $root.Values.rabbitmq.existingSecret }}{{ end -}}
{{- if hasPrefix "postgres-" $key }}{{ $existing = ($root.Values.postgresql).existingSecret }}{{ end -}}
{{- if eq $key "store-url" }}{{ $existing = $root.Values.store.existingSecret }}{{ end -}}
{{- if eq $key "admin-token" }}{{ $existing = ($root.Values.adminToken).existingSecret }}{{ end -}}
{name: {{ $existing | default (include "fogflow.secretName" $root) }}, key: {{ $key }}}
{{- end -}}

{{/* Text of a credential: (list $ "rabbitmq-password" "value from values" 24) */}}
{{- define "fogflow.credential" -}}
{{- $root := index . 0 -}}
{{- $key := index . 1 -}}
{{- $given := index . 2 -}}
{{- if $given -}}
{{- $given -}}
{{- else -}}
{{- if not (hasKey $root.Values "_made") }}{{ $_ := set $root.Values "_made" dict }}{{ end -}}
{{- if not (hasKey $root.Values._made $key) -}}
{{- $old := (lookup "v1" "Secret" (include "fogflow.namespace" $root) (include "fogflow.secretName" $root)).data | default dict -}}
{{- $text := randAlphaNum (int (index . 3)) -}}
{{- if hasKey $old $key }}{{ $text = index $old $key | b64dec }}{{ end -}}
{{- $_ := set $root.Values._made $key $text -}}
{{- end -}}
{{- index $root.Values._made $key -}}
{{- end -}}
{{- end -}}
