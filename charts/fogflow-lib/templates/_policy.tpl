{{/*
NetworkPolicy of a component. Both directions are closed but for what is listed, and DNS.

  root, name
  from     list of {pods: [names], ports: [numbers]}, or {anywhere: true, ports: [...]}
  to       the same for the way out
*/}}
{{- define "fogflow.policy" -}}
{{- if .root.Values.networkPolicy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "fogflow.metadata" (list .root .name) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "fogflow.selector" (list .root .name) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- include "fogflow.policyRules" (dict "root" .root "rules" .from "way" "from") | nindent 4 }}
  egress:
    {{- include "fogflow.dnsRule" .root | nindent 4 }}
    {{- include "fogflow.policyRules" (dict "root" .root "rules" .to "way" "to") | nindent 4 }}
{{- end -}}
{{- end -}}

{{/* Name look-ups. The port is enough: where the cluster's DNS runs differs. */}}
{{- define "fogflow.dnsRule" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end -}}

{{- define "fogflow.policyRules" -}}
{{- $root := .root -}}
{{- $way := .way -}}
{{- range .rules }}
-{{- if .pods }} {{ $way }}:
    {{- range .pods }}
    - podSelector:
        matchLabels: {app.kubernetes.io/name: {{ . }}}
      {{- if and (eq . "fogflow-task") $root.Values.worker.taskNamespace }}
      namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $root.Values.worker.taskNamespace }}}}
      {{- end }}
    {{- end }}
  {{- else if .anywhere }} {{ $way }}:
    {{- if eq $way "to" }}
    - ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
    - namespaceSelector: {}
    {{- else }}
    {{- range $root.Values.networkPolicy.externalFrom }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
    {{- end }}
  {{- end }}
  {{- if .ports }}
  ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
What task pods may do: be notified by the broker, call it, and what the values add. They reach no other pod, also no other task.
(dict "root" $ "broker" "cloud-broker" "brokerPort" 8070)
*/}}
{{- define "fogflow.taskPolicy" -}}
{{- $root := .root -}}
{{- if $root.Values.networkPolicy.enabled -}}
{{- $peerNamespace := "" -}}
{{- if $root.Values.worker.taskNamespace }}{{ $peerNamespace = include "fogflow.namespace" $root }}{{ end -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: fogflow-tasks
  namespace: {{ $root.Values.worker.taskNamespace | default (include "fogflow.namespace" $root) }}
  labels:
    {{- include "fogflow.labels" (list $root "fogflow-tasks") | nindent 4 }}
spec:
  podSelector:
    matchLabels: {app.kubernetes.io/name: fogflow-task}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - podSelector: {matchLabels: {app.kubernetes.io/name: {{ .broker }}}}
          {{- with $peerNamespace }}
          namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
          {{- end }}
    {{- with $root.Values.networkPolicy.tasks.ingress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  egress:
    {{- include "fogflow.dnsRule" $root | nindent 4 }}
    - to:
        - podSelector: {matchLabels: {app.kubernetes.io/name: {{ .broker }}}}
          {{- with $peerNamespace }}
          namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
          {{- end }}
      ports: [{port: {{ .brokerPort }}, protocol: TCP}]
    {{- with $root.Values.networkPolicy.tasks.egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}
