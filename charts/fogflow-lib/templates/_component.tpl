{{/*
A service of FogFlow as Deployment, Service, PodDisruptionBudget and HorizontalPodAutoscaler.

  root       $
  name       of the Deployment and the Service
  image      last part of the image's name
  values     of the component
  ports      list of {name, port}; the first one, named http, has the probes
  expose     names of ports that the Service offers on the external addresses; empty: internal only
  env        text: more environment entries
  account    ServiceAccount; empty: one without rights and without a token
  stateful   whether it keeps state in its store
  bus        whether it uses the message bus
  checksum   text whose change rolls the pods
*/}}
{{- define "fogflow.component" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $owner := list $root .name -}}
{{- $embedded := and .stateful (eq $root.Values.store.engine "embedded") -}}
{{- $scaled := and (($values.autoscaling).enabled) (not $embedded) -}}
{{- $replicas := int (include "fogflow.replicas" .) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "fogflow.metadata" $owner | nindent 2 }}
spec:
  {{- if not $scaled }}
  replicas: {{ $replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    {{- if $embedded }}
    type: Recreate # the next pod cannot open the files before this one has closed them
    {{- else }}
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
    {{- end }}
  selector:
    matchLabels:
      {{- include "fogflow.selector" $owner | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "fogflow.podLabels" $owner | nindent 8 }}
        {{- with $values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/config: {{ print (include "fogflow.config" $root) .checksum | sha256sum }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ .account | default "fogflow" }}
      automountServiceAccountToken: {{ ne (.account | default "") "" }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ add 20 $root.Values.drainSeconds }}
      securityContext:
        {{- include "fogflow.podSecurity" (dict "user" 65532) | nindent 8 }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- include "fogflow.scheduling" . | nindent 6 }}
      containers:
        - name: {{ .name }}
          image: {{ include "fogflow.image" (list $root $values .image) }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: ["-f", "/config.json", "--data", "/data"]
          securityContext:
            {{- include "fogflow.containerSecurity" . | nindent 12 }}
          env:
            {{- include "fogflow.environment" (dict "root" $root "broker" (.broker | default "cloud-broker") "bus" .bus) | nindent 12 }}
            {{- include "fogflow.tokenEnvironment" $root | nindent 12 }}
            {{- with .env }}
            {{- . | trim | nindent 12 }}
            {{- end }}
            {{- with $values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            {{- range .ports }}
            - {name: {{ .name }}, containerPort: {{ .port }}}
            {{- end }}
          {{- include "fogflow.probes" . | nindent 10 }}
          lifecycle:
            preStop: {sleep: {seconds: {{ $root.Values.drainSeconds }}}} # until no proxy sends new connections here
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          volumeMounts:
            - {name: config, mountPath: /config.json, subPath: config.json, readOnly: true}
            - {name: data, mountPath: /data}
            - {name: tokens, mountPath: /tokens, readOnly: true}
            {{- if $root.Values.tls.enabled }}
            - {name: certs, mountPath: /certs, readOnly: true}
            {{- end }}
      volumes:
        - name: config
          {{- with (($root.Values.configJson).hostPath).path }}
          hostPath: {path: {{ . | quote }}, type: File}
          {{- else }}
          configMap: {name: {{ $root.Values.configMapName }}}
          {{- end }}
        - name: data
          {{- if and $embedded $root.Values.store.persistence.enabled }}
          persistentVolumeClaim: {claimName: {{ .name }}-data}
          {{- else }}
          emptyDir: {}
          {{- end }}
        - name: tokens
          {{- include "fogflow.tokenVolume" $root | nindent 10 }}
        {{- if $root.Values.tls.enabled }}
        - name: certs
          secret: {secretName: {{ $root.Values.tls.existingSecret | default "fogflow-tls" }}, defaultMode: 0440}
        {{- end }}
{{- if and $embedded $root.Values.store.persistence.enabled }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "fogflow.metadata" (list $root .name (printf "%s-data" .name)) | nindent 2 }}
  {{- if $root.Values.persistence.retain }}
  annotations: {helm.sh/resource-policy: keep}
  {{- end }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with $root.Values.persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ $root.Values.store.persistence.size }}}}
{{- end }}
---
{{ include "fogflow.service" . }}
{{- if or $scaled (gt $replicas 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "fogflow.metadata" $owner | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "fogflow.selector" $owner | nindent 6 }}
{{- end }}
{{- if $scaled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "fogflow.metadata" $owner | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  minReplicas: {{ $values.autoscaling.minReplicas }}
  maxReplicas: {{ $values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ $values.autoscaling.targetCPUUtilizationPercentage }}}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 300}
{{- end }}
{{- end -}}

{{/* How many pods a component has. Files of the embedded store have one user, so that such a service has one pod whatever is asked. */}}
{{- define "fogflow.replicas" -}}
{{- if and .stateful (eq .root.Values.store.engine "embedded") -}}
1
{{- else if kindIs "invalid" .values.replicaCount -}}
{{ .root.Values.replicaCount }}
{{- else -}}
{{ .values.replicaCount }}
{{- end -}}
{{- end -}}

{{/* Service of a component, see "fogflow.component"; a port may have a servicePort of its own. */}}
{{- define "fogflow.service" -}}
{{- $root := .root -}}
{{- $ips := include "fogflow.externalIPs" $root | fromJsonArray -}}
{{- $outside := and .expose true -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "fogflow.metadata" (list $root .name) | nindent 2 }}
  {{- with and $outside $root.Values.exposure.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ ternary $root.Values.exposure.type "ClusterIP" $outside }}
  {{- if and $outside $ips }}
  externalIPs: {{ toJson $ips }}
  {{- end }}
  selector:
    {{- include "fogflow.selector" (list $root .name) | nindent 4 }}
  ports:
    {{- range .ports }}
    - name: {{ .name }}
      port: {{ .servicePort | default .port }}
      targetPort: {{ .name }}
      {{- if and $outside (eq $root.Values.exposure.type "NodePort") }}
      {{- with index ($root.Values.exposure.nodePorts | default dict) $.name }}
      nodePort: {{ . }}
      {{- end }}
      {{- end }}
    {{- end }}
{{- end -}}
