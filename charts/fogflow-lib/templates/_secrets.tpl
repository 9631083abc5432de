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
{{- if eq $key "admin-token" }}{{ $existing = $root.Values.adminToken.existingSecret }}{{ end -}}
{{- if eq $key "component-token" }}{{ $existing = $root.Values.componentToken.existingSecret }}{{ end -}}
{{- if eq $key "tokens.json" }}{{ $existing = $root.Values.userTokens.existingSecret }}{{ end -}}
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

{{/* The files under /tokens that a node has, as a JSON list. An edge has no component token unless it is given its cloud's. */}}
{{- define "fogflow.tokenFiles" -}}
{{- $files := list "admin-token" -}}
{{- if or .Values.componentToken.existingSecret .Values.componentToken.value (eq .Chart.Name "cloud-chart") }}{{ $files = append $files "component-token" }}{{ end -}}
{{- if .Values.userTokens.existingSecret }}{{ $files = append $files "tokens.json" }}{{ end -}}
{{- toJson $files -}}
{{- end -}}

{{/* Volume with the token files; each may be in a Secret of its own. */}}
{{- define "fogflow.tokenVolume" -}}
projected:
  defaultMode: 0440
  sources:
    {{- range include "fogflow.tokenFiles" . | fromJsonArray }}
    {{- $reference := include "fogflow.secretKey" (list $ .) | fromYaml }}
    - secret: {name: {{ $reference.name }}, items: [{key: {{ $reference.key }}, path: {{ . }}}]}
    {{- end }}
{{- end -}}

{{/* Where a service reads its tokens. */}}
{{- define "fogflow.tokenEnvironment" -}}
{{- $variables := dict "admin-token" "ADMIN_TOKEN_FILE" "component-token" "COMPONENT_TOKEN_FILE" "tokens.json" "TOKENS_FILE" -}}
{{- range include "fogflow.tokenFiles" . | fromJsonArray }}
- name: FOGFLOW_SECURITY__{{ index $variables . }}
  value: /tokens/{{ . }}
{{- end }}
{{- end -}}
