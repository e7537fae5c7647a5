{{- define "zao.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Release and chart name, or one of them alone where it says both already. The name of a Service may have 63 characters, with -metrics. */}}
{{- define "zao.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 55 | trimSuffix "-" -}}
{{- else if hasPrefix (printf "%s-" .Release.Name) $name -}}
{{- $name | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "zao.selectorLabels" -}}
app.kubernetes.io/name: {{ include "zao.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Of two labels with one name, those of the chart come before those of all objects. */}}
{{- define "zao.labels" -}}
{{- $chart := printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $own := dict "helm.sh/chart" $chart "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/managed-by" .Release.Service -}}
{{- toYaml (merge (include "zao.selectorLabels" . | fromYaml) $own .Values.commonLabels) -}}
{{- end -}}

{{/* The same with labels of one object, which come first. The arguments are root and more. */}}
{{- define "zao.labelsAnd" -}}
{{- toYaml (merge (dict) .more (include "zao.labels" .root | fromYaml)) -}}
{{- end -}}

{{- define "zao.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "zao.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "zao.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* "Secret", "ConfigMap" or nothing: where the certificate authorities of the default connection come from. */}}
{{- define "zao.caKind" -}}
{{- $ca := .Values.zitadel.ca -}}
{{- if and $ca.existingSecret $ca.existingConfigMap -}}
{{- fail "set at most one of zitadel.ca.existingSecret and zitadel.ca.existingConfigMap" -}}
{{- end -}}
{{- if .Values.zitadel.url -}}
{{- if $ca.existingSecret -}}Secret{{- else if $ca.existingConfigMap -}}ConfigMap{{- end -}}
{{- end -}}
{{- end -}}

{{/* The URL, refused here where the operator would refuse it and end. */}}
{{- define "zao.url" -}}
{{- if and (hasPrefix "http://" .Values.zitadel.url) (not .Values.zitadel.allowHttp) -}}
{{- fail "zitadel.url is http, so the credential would cross the network in the clear: use https, or set zitadel.allowHttp to true" -}}
{{- end -}}
{{- .Values.zitadel.url -}}
{{- end -}}

{{/* A label selector as kubectl reads it. */}}
{{- define "zao.selector" -}}
{{- $requirements := list -}}
{{- range $key, $value := .matchLabels -}}
{{- $requirements = append $requirements (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- range .matchExpressions -}}
{{- $values := join "," .values -}}
{{- $forms := dict "In" (printf "%s in (%s)" .key $values) "NotIn" (printf "%s notin (%s)" .key $values) "Exists" .key "DoesNotExist" (printf "!%s" .key) -}}
{{- $requirements = append $requirements (get $forms .operator) -}}
{{- end -}}
{{- join "," $requirements -}}
{{- end -}}

{{/* Who may do what with the default connection: for each right, names and a selector as text. */}}
{{- define "zao.policy" -}}
{{- $zitadel := .Values.zitadel -}}
{{- range $right, $allowed := dict "allowed" $zitadel.allowedNamespaces "adoption" $zitadel.adoption.allowedNamespaces "execution" $zitadel.executions.allowedNamespaces }}
{{- $selector := include "zao.selector" (default dict $allowed.selector) }}
{{- if and $selector $.Values.watchNamespaces }}
{{- fail "with watchNamespaces the operator may not read the labels of namespaces: name them in zitadel.*.allowedNamespaces.names, without a selector" }}
{{- end }}
{{ $right }}:
  names: {{ default list $allowed.names | toJson }}
  selector: {{ $selector | quote }}
{{- end }}
{{- end -}}

{{/* Whether the labels of namespaces decide about anything: "true" or nothing. */}}
{{- define "zao.namespaceLabels" -}}
{{- $selected := include "zao.cluster" . -}}
{{- if .Values.zitadel.url -}}
{{- range include "zao.policy" . | fromYaml -}}
{{- if .selector -}}{{- $selected = "true" -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $selected -}}
{{- end -}}

{{/* The port of a URL; without one that of its scheme. */}}
{{- define "zao.port" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) -}}
{{- end -}}

{{/* The file of each key of the credential, as a map from key to file. */}}
{{- define "zao.credentialFiles" -}}
{{- $credentials := .Values.zitadel.credentials -}}
{{- if eq $credentials.type "personalAccessToken" -}}
token: {{ $credentials.personalAccessToken.key | quote }}
{{- else if eq $credentials.type "privateKeyJwt" -}}
key.json: {{ $credentials.privateKeyJwt.key | quote }}
{{- else if eq $credentials.type "systemUser" -}}
tls.key: {{ $credentials.systemUser.key | quote }}
{{- else -}}
client-id: {{ $credentials.clientCredentials.clientIdKey | quote }}
client-secret: {{ $credentials.clientCredentials.clientSecretKey | quote }}
{{- end -}}
{{- end -}}

{{/* Whether ClusterConnections are served: "true" or nothing. */}}
{{- define "zao.cluster" -}}
{{- if and .Values.connections.serveClusterConnections (not .Values.watchNamespaces) -}}true{{- end -}}
{{- end -}}

{{/* What the operator may do in each namespace that it watches. Nothing else: it reads no Secret unless a value says so, creates and deletes no Target, and never writes spec. */}}
{{- define "zao.rules" -}}
# Read Targets. get is for one question: whether an object was replaced while its create call was under way.
# patch adds and removes the finalizer and the annotation with the create claim. It is never used for spec.
- apiGroups: ["zitadel-actions.dev"]
  resources: ["targets"]
  verbs: ["get", "list", "watch", "patch"]
# Read Connections. patch adds and removes their finalizer.
- apiGroups: ["zitadel-actions.dev"]
  resources: ["connections"]
  verbs: ["list", "watch", "patch"]
# Write status, by server-side apply.
- apiGroups: ["zitadel-actions.dev"]
  resources: ["targets/status", "connections/status"]
  verbs: ["patch"]
# Tell what happened, in the namespace of the object. patch counts an Event that repeats.
- apiGroups: ["events.k8s.io"]
  resources: ["events"]
  verbs: ["create", "patch"]
{{- end -}}

{{/* Read the Secrets of connections: by name, without list and watch. */}}
{{- define "zao.secretRules" -}}
# Read the Secrets that connections name: one by one, without list and watch.
- apiGroups: [""]
  resources: ["secrets"]
  {{- with .Values.connections.secretNames }}
  resourceNames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  verbs: ["get"]
{{- end -}}

{{/* One endpoint of a monitor; the argument is its values. */}}
{{- define "zao.endpoint" -}}
path: /metrics
# The labels namespace and name of a Target's series are the Target's.
honorLabels: true
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
