{{/* One operator looks after the whole cluster, so nothing is named after the release. */}}

{{- define "cardea.labels" -}}
{{ include "cardea.selector" . }}
app.kubernetes.io/part-of: cardea
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The NetworkPolicy of every server admits the operator by this label (src/operator/src/build/network_policy.rs). */}}
{{- define "cardea.selector" -}}
app.kubernetes.io/name: cardea-operator
{{- end }}

{{/* Takes (list . IMAGE). */}}
{{- define "cardea.image" -}}
{{- $root := index . 0 }}
{{- $image := index . 1 }}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}
