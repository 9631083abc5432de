{{/* The credentials of the cloud's bus, of a database that the values name, and the tokens, as a JSON object. */}}
{{- define "edge.credentials" -}}
{{- $out := dict -}}
{{- if not .Values.rabbitmq.existingSecret -}}
{{- $_ := set $out "rabbitmq-username" .Values.rabbitmq.username -}}
{{- $_ := set $out "rabbitmq-password" .Values.rabbitmq.password -}}
{{- end -}}
{{- if and .Values.store.url (not .Values.store.existingSecret) -}}
{{- $_ := set $out "store-url" .Values.store.url -}}
{{- end -}}
{{- if not .Values.adminToken.existingSecret -}}
{{- $_ := set $out "admin-token" (include "fogflow.credential" (list . "admin-token" .Values.adminToken.value 48)) -}}
{{- end -}}
{{- if and .Values.componentToken.value (not .Values.componentToken.existingSecret) -}}
{{- $_ := set $out "component-token" .Values.componentToken.value -}}
{{- end -}}
{{- $out | toJson -}}
{{- end -}}

{{/* Things that the schema cannot say. */}}
{{- define "edge.check" -}}
{{- $config := include "fogflow.config" . | fromJson -}}
{{- if and (not $config.coreservice_ip) (not .Values.configJson.hostPath.path) -}}
{{- fail "\n\nconfig.coreservice_ip is empty: give the address of the cloud node, --set config.coreservice_ip=..., or write it into config.json.\n" -}}
{{- end -}}
{{- if and (not .Values.rabbitmq.password) (not .Values.rabbitmq.existingSecret) -}}
{{- fail "\n\nrabbitmq.password is empty: give the password of the cloud node's bus (its Secret fogflow-credentials, key rabbitmq-password), or a Secret in rabbitmq.existingSecret.\n" -}}
{{- end -}}
{{- if and (eq (($config.security).authentication | default "off") "token") (not .Values.componentToken.value) (not .Values.componentToken.existingSecret) -}}
{{- fail "\n\nconfig.security.authentication is token: give the component token of the cloud node (its Secret fogflow-credentials, key component-token) in componentToken.value, or a Secret in componentToken.existingSecret.\n" -}}
{{- end -}}
{{- if and (eq .Values.store.engine "postgres") (not .Values.store.url) (not .Values.store.existingSecret) -}}
{{- fail "\n\nstore.engine is postgres: give store.url or store.existingSecret.\n" -}}
{{- end -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) -}}
{{- fail "\n\ntls.enabled is true: name a Secret with tls.crt, tls.key and ca.crt in tls.existingSecret.\n" -}}
{{- end -}}
{{- end -}}

{{/* Store of the broker, as environment. */}}
{{- define "edge.store" -}}
- name: FOGFLOW_STORE__ENGINE
  value: {{ .Values.store.engine }}
{{- if eq .Values.store.engine "postgres" }}
- name: FOGFLOW_STORE__URL
  valueFrom: {secretKeyRef: {{ include "fogflow.secretKey" (list . "store-url") }}}
{{- end }}
{{- end -}}
