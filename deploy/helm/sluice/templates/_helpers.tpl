{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "sluice.metadata" -}}
name: {{ .root.Release.Name }}-{{ .component }}
labels:
  {{- include "sluice.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* The name of an image; a tag that begins with @ is a digest. */}}
{{- define "sluice.image" -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{ .root.Values.image.registry }}/{{ .name }}{{ if hasPrefix "@" $tag }}{{ $tag }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{/* Of a pod: nothing that a service does needs more. 1000 is the user of the images. */}}
{{- define "sluice.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "sluice.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/* Environment of a container: plain settings by name, and for each one of the Secret the file that holds it. */}}
{{- define "sluice.env" -}}
{{- range $name, $value := .env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range .secretKeys }}
- name: {{ . }}_FILE
  value: /run/sluice/secrets/{{ . }}
{{- end }}
- name: INSTANCE
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
{{- end }}

{{- define "sluice.natsEnv" -}}
NATS_URL: {{ .Values.nats.url | quote }}
{{- if .Values.nats.ca.secret }}
NATS_CA: /run/sluice/nats/{{ .Values.nats.ca.key }}
{{- end }}
{{- end }}

{{- define "sluice.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: secrets, mountPath: /run/sluice/secrets, readOnly: true }
{{- if .Values.nats.ca.secret }}
- { name: nats-ca, mountPath: /run/sluice/nats, readOnly: true }
{{- end }}
{{- end }}

{{/* 288 is 0440: the group of the pod may read them. */}}
{{- define "sluice.volumes" -}}
- name: tmp
  emptyDir: { medium: Memory, sizeLimit: 64Mi }
- name: secrets
  secret:
    secretName: {{ .secret }}
    defaultMode: 288
    items:
      {{- range .secretKeys }}
      - { key: {{ . }}, path: {{ . }} }
      {{- end }}
{{- with .root.Values.nats.ca }}
{{- if .secret }}
- name: nats-ca
  secret:
    secretName: {{ .secret }}
    defaultMode: 288
    items: [{ key: {{ .key }}, path: {{ .key }} }]
{{- end }}
{{- end }}
{{- end }}
