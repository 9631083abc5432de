{{/* ServiceAccounts, the worker's Role, and optional Roles for groups of users: (dict "root" $ "worker" "cloud-worker") */}}
{{- define "fogflow.accounts" -}}
{{- $root := .root -}}
{{- $tasks := $root.Values.worker.taskNamespace | default (include "fogflow.namespace" $root) -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "fogflow.metadata" (list $root "fogflow") | nindent 2 }}
automountServiceAccountToken: false
{{- if $root.Values.serviceAccount.create }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "fogflow.metadata" (list $root .worker (include "fogflow.workerAccount" $root)) | nindent 2 }}
  {{- with $root.Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .worker }}
  namespace: {{ $tasks }}
  labels:
    {{- include "fogflow.labels" (list $root .worker) | nindent 4 }}
rules:
  {{- include "fogflow.workerRules" $root | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .worker }}
  namespace: {{ $tasks }}
  labels:
    {{- include "fogflow.labels" (list $root .worker) | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .worker }}}
subjects:
  - {kind: ServiceAccount, name: {{ include "fogflow.workerAccount" $root }}, namespace: {{ include "fogflow.namespace" $root }}}
{{- if $root.Values.rbac.users.enabled }}
{{- $all := list "get" "list" "watch" "create" "update" "patch" "delete" }}
{{- $read := list "get" "list" "watch" }}
{{- range $group, $verbs := dict "RootUser" $all "Admin" $all "EndUser" $read }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "fogflow.metadata" (list $root "fogflow" (printf "fogflow-%s" (lower $group))) | nindent 2 }}
rules:
  - {apiGroups: [""], resources: [pods, services], verbs: {{ toJson $verbs }}}
  - {apiGroups: [""], resources: [pods/log, events], verbs: [get, list, watch]}
  - {apiGroups: [apps], resources: [deployments], verbs: {{ toJson $verbs }}}
  {{- if eq $group "RootUser" }}
  - {apiGroups: [apps], resources: [statefulsets], verbs: {{ toJson $verbs }}}
  - {apiGroups: [""], resources: [configmaps, secrets, persistentvolumeclaims], verbs: {{ toJson $verbs }}}
  {{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "fogflow.metadata" (list $root "fogflow" (printf "fogflow-%s" (lower $group))) | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: fogflow-{{ lower $group }}}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: Group, name: {{ $group }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* What the worker does to run tasks as pods. Nothing of it reaches beyond the namespace of the tasks. */}}
{{- define "fogflow.workerRules" -}}
- {apiGroups: [apps], resources: [deployments], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [""], resources: [services], verbs: [get, list, watch, create, patch]}
- {apiGroups: [""], resources: [configmaps], verbs: [list, create, patch, delete]}
- {apiGroups: [""], resources: [pods, events], verbs: [list, watch]}
- {apiGroups: [""], resources: [pods/log], verbs: [get]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
{{- end -}}
