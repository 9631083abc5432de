{{/*
Environment of a worker whose tasks are pods. The values under `worker.task` become defaults of all task pods.
(dict "root" $ "name" "cloud-worker" "broker" "cloud-broker" "brokerPort" 8070)
*/}}
{{- define "fogflow.workerEnvironment" -}}
{{- $root := .root -}}
{{- $worker := $root.Values.worker -}}
- name: FOGFLOW_BROKER__HOST_IP
  value: {{ include "fogflow.host" (list $root .broker) }}
- name: FOGFLOW_WORKER__HOST_IP # the active replica, which a Service would not find
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: FOGFLOW_WORKER__CONTAINER_MANAGEMENT
  value: kubernetes
- name: FOGFLOW_WORKER__APP_NAMESPACE
  value: {{ $worker.taskNamespace | default (include "fogflow.namespace" $root) }}
{{- if not $worker.taskNamespace }}
- name: FOGFLOW_WORKER__KUBERNETES__OWNER
  value: {{ .name }}
{{- end }}
- name: FOGFLOW_WORKER__KUBERNETES__NETWORK_POLICY__ENABLED # the chart has one
  value: "false"
- name: FOGFLOW_WORKER__KUBERNETES__CODE_IMAGE_PYTHON
  value: {{ include "fogflow.image" (list $root (dict "image" $worker.codeImages.python) "task-python") }}
- name: FOGFLOW_WORKER__KUBERNETES__CODE_IMAGE_JAVASCRIPT
  value: {{ include "fogflow.image" (list $root (dict "image" $worker.codeImages.javascript) "task-javascript") }}
{{- with $worker.allowedObjects }}
- name: FOGFLOW_WORKER__KUBERNETES__ALLOWED_OBJECTS
  value: {{ toJson . | quote }}
{{- end }}
{{- with include "fogflow.externalIPs" $root | fromJsonArray }}
- name: FOGFLOW_WORKER__KUBERNETES__EXTERNAL_IPS
  value: {{ toJson . | quote }}
{{- end }}
{{- $pod := deepCopy ($worker.task | default dict) -}}
{{- if and $root.Values.image.pullSecrets (not $pod.imagePullSecrets) }}{{ $_ := set $pod "imagePullSecrets" $root.Values.image.pullSecrets }}{{ end }}
{{- if not $pod.topologySpreadConstraints }} {{/* each task is a Deployment of its own, which Kubernetes by itself does not spread */}}
{{- $spread := dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" "labelSelector" (dict "matchLabels" (dict "app.kubernetes.io/name" "fogflow-task")) -}}
{{- $_ := set $pod "topologySpreadConstraints" (list $spread) -}}
{{- end }}
- name: FOGFLOW_WORKER__KUBERNETES__POD
  value: {{ toJson $pod | quote }}
{{- end -}}
