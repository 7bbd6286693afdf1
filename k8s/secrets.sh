#!/bin/sh
# Makes the secrets that the pods and the stack refer to. Existing secrets are kept, and no value is printed.
#     sh k8s/secrets.sh cluster   # random passwords, before the pods can start
#     sh k8s/secrets.sh zenml     # the same values for ZenML, and a key for the client in the cluster
set -eu

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

make() {  # namespace name key=value...
  namespace=$1 name=$2
  shift 2
  kubectl -n "$namespace" get secret "$name" >/dev/null 2>&1 && return
  literals=
  for pair in "$@"; do literals="$literals --from-literal=$pair"; done
  # shellcheck disable=SC2086
  kubectl -n "$namespace" create secret generic "$name" $literals
}

value() { kubectl -n "$1" get secret "$2" -o "jsonpath={.data.$3}" | base64 -d; }

case "${1:-}" in
cluster)
  make reason2decide object-store "key=$(random)" "secret=$(random)"
  make reason2decide mlflow-database "password=$(random)"
  make reason2decide mlflow username=admin "password=$(random)" "flask-key=$(random)"
  make zenml zenml-database "password=$(random)" "root=$(random)"
  make zenml zenml-server "password=$(random)" "encryption-key=$(random)"
  ;;
zenml)
  zenml secret get object-store >/dev/null 2>&1 || zenml secret create object-store \
    --key="$(value reason2decide object-store key)" --secret="$(value reason2decide object-store secret)"
  zenml secret get mlflow >/dev/null 2>&1 || zenml secret create mlflow \
    --username="$(value reason2decide mlflow username)" --password="$(value reason2decide mlflow password)"
  if ! kubectl -n reason2decide get secret zenml-client >/dev/null 2>&1; then
    key=$(mktemp)
    trap 'rm -f "$key"' EXIT
    zenml service-account create retraining --output-file "$key"
    kubectl -n reason2decide create secret generic zenml-client --from-file=api-key="$key"
  fi
  ;;
*)
  echo "usage: sh k8s/secrets.sh cluster|zenml" >&2
  exit 2
  ;;
esac
