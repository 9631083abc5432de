{{/* What the Pod Security Standard "restricted" asks of a pod; the user id differs between images: (dict "user" 999) */}}
{{- define "fogflow.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* The same for a container. */}}
{{- define "fogflow.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where pods run: the component's own values, else the common ones. Replicas keep apart unless told otherwise. (dict "root" $ "name" "x" "values" v) */}}
{{- define "fogflow.scheduling" -}}
{{- $own := .values -}}
{{- $common := .root.Values.scheduling -}}
{{- with $own.nodeSelector | default $common.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations | default $common.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.priorityClassName | default $common.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
affinity:
{{- with $own.affinity | default $common.affinity }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "fogflow.selector" (list .root .name) | nindent 14 }}
{{- end }}
topologySpreadConstraints:
{{- with $own.topologySpreadConstraints | default $common.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "fogflow.selector" (list .root .name) | nindent 8 }}
{{- end }}
{{- end -}}

{{/* Probes of a service of FogFlow. A broker with many entities may take long to load, so that only the start is patient. */}}
{{- define "fogflow.probes" -}}
startupProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 2
  failureThreshold: 300
livenessProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /ready, port: http}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}
