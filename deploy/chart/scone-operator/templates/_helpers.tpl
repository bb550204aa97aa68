{{/* Names that others rely on. There can be one installation in a cluster, as with the published chart. */}}
{{- define "scone.name" -}}scone-controller-manager{{- end }}
{{- define "scone.service" -}}scone-webhook-service{{- end }}
{{- define "scone.lease" -}}61d57791.scone.cloud{{- end }}
{{- define "scone.withdrawn" -}}scone-webhooks-withdrawn{{- end }}
{{- define "scone.secret" -}}webhook-server-cert{{- end }}
{{- define "scone.mutating" -}}scone-mutating-webhook-configuration-{{ .Release.Namespace }}{{- end }}
{{- define "scone.validating" -}}scone-validating-webhook-configuration-{{ .Release.Namespace }}{{- end }}
{{- define "scone.certificates" -}}/tmp/k8s-webhook-server/serving-certs{{- end }}

{{- define "scone.image" -}}
{{- required "the operator's image has to be named, since no registry has it for everybody: build it with `cargo xtask image --name REGISTRY/scone-operator:TAG`, push it, or load it into your nodes, and add --set image=REGISTRY/scone-operator:TAG" .Values.image -}}
{{- end }}

{{/* Labels of every object. */}}
{{- define "scone.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: scone-controller
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: scone-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* What the published chart's pods are known by. */}}
{{- define "scone.podLabels" -}}
control-plane: controller-manager
app: scone-controller
app.kubernetes.io/name: scone-controller
{{- end }}

{{/*
The Deployment's selector cannot be changed: one that is there already, such as that of a published chart, is kept.
*/}}
{{- define "scone.selector" -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "scone.name" .) -}}
{{- dig "spec" "selector" "matchLabels" (include "scone.podLabels" . | fromYaml) $live | toYaml -}}
{{- end }}

{{/* What the Pod Security Standard "restricted" asks of a pod, and of a container. */}}
{{- define "scone.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ . | int64 }}
runAsGroup: {{ . | int64 }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "scone.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* A token that ends by itself, in the place where clients look for it. */}}
{{- define "scone.tokenMount" -}}
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}

{{- define "scone.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}

{{/* The CRDs in files/crds by their names, as a map. */}}
{{- define "scone.crds" -}}
{{- $crds := dict -}}
{{- range $path, $_ := .Files.Glob "files/crds/*.yaml" -}}
{{- $crd := $.Files.Get $path | fromYaml -}}
{{- if ne (dig "kind" "" $crd) "CustomResourceDefinition" -}}
{{- fail (printf "%s is no CustomResourceDefinition: %s; run cargo xtask chart" $path (dig "Error" "" $crd)) -}}
{{- end -}}
{{- $_ := set $crds $crd.metadata.name $crd -}}
{{- end -}}
{{- toJson $crds -}}
{{- end }}

{{/* Names of CRDs whose versions the operator converts. */}}
{{- define "scone.converted" -}}
{{- $names := list -}}
{{- range $name, $crd := include "scone.crds" . | fromJson -}}
{{- if eq (dig "spec" "conversion" "strategy" "None" $crd) "Webhook" -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- end -}}
{{- toJson $names -}}
{{- end }}

{{/* The rights of the modules in the image. */}}
{{- define "scone.rights" -}}
{{- $rights := .Files.Get "files/rights.json" | fromJson -}}
{{- if not (hasKey $rights "cluster") -}}
{{- fail "files/rights.json is missing or says nothing of rights; run cargo xtask chart" -}}
{{- end -}}
{{- toJson $rights -}}
{{- end }}
