#!/bin/sh
# Makes the secrets that the pods and the stack refer to. Existing secrets are kept; no value is printed, and none is an
# argument of a command, where every user of the machine could read it.
#     sh k8s/secrets.sh cluster   # random passwords and keys, before the pods can start
#     sh k8s/secrets.sh tls       # certificates for a year, where cert-manager (k8s/components/tls) makes none
#     sh k8s/secrets.sh trust [FILE]   # the authorities that pods trust: ours, and those of FILE (a store of your own)
#     sh k8s/secrets.sh zenml     # the same values for ZenML, and a key for the client in the cluster
set -eu
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
exists() { kubectl -n "$1" get secret "$2" >/dev/null 2>&1; }
value() { kubectl -n "$1" get secret "$2" -o "jsonpath={.data.$3}" | base64 -d; }

make() {  # namespace name; its keys are the files of $work/new
  exists "$1" "$2" || kubectl -n "$1" create secret generic "$2" --from-file="$work/new"
  rm -r "$work/new"
}

key() {  # name value: a file of the next secret
  mkdir -p "$work/new"
  printf %s "$2" > "$work/new/$1"
}

store_key() {  # name: a key of the object store, also in the form that botocore reads
  key key "$(random)"
  key secret "$(random)"
  key credentials "$(printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' \
    "$(cat "$work/new/key")" "$(cat "$work/new/secret")")"
  make reason2decide "$1"
}

certificate() {  # namespace name further-names: signed by the authority in $work
  kubectl -n "$1" delete secret "$2-tls" --ignore-not-found
  mkdir "$work/new"
  openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj "/CN=$2" -addext "basicConstraints=critical,CA:FALSE" \
    -addext "subjectAltName=DNS:$2,DNS:$2.$1.svc$3" -CA "$work/ca.crt" -CAkey "$work/ca.key" \
    -keyout "$work/new/tls.key" -out "$work/new/tls.crt" 2>/dev/null
  cp "$work/ca.crt" "$work/new/ca.crt"
  make "$1" "$2-tls"
}

case "${1:-}" in
cluster)
  key user root; key password "$(random)"; make reason2decide minio-root
  for name in object-store mlflow-store backup-store; do store_key "$name"; done
  key password "$(random)"; make reason2decide mlflow-database
  key password "$(random)"; key flask-key "$(random)"; make reason2decide mlflow-server
  key password "$(random)"; make reason2decide mlflow-pipeline
  key token "$(random)"; make reason2decide serving-token
  key password "$(random)"; key root "$(random)"; make zenml zenml-database
  key mysql "$(value zenml zenml-database password)"
  key postgres "$(value reason2decide mlflow-database password)"; make reason2decide backup-databases
  key password "$(random)"; key encryption-key "$(random)"; key jwt-key "$(random)"; make zenml zenml-server
  ;;
tls)  # the authority's key is not kept, so all certificates are made together, and anew where the last is missing
  exists zenml zenml-mysql-tls && exit
  openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=reason2decide \
    -addext "basicConstraints=critical,CA:TRUE" -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
  certificate reason2decide mlflow ""
  certificate reason2decide mlflow-postgres ""
  certificate reason2decide minio ""
  certificate reason2decide serving ""
  certificate zenml zenml ,IP:127.0.0.1
  certificate zenml zenml-mysql ""
  ;;
trust)
  key ca.crt "$(value zenml zenml-tls 'ca\.crt'; cat ${2:+"$2"} < /dev/null)"
  cp -r "$work/new" "$work/again"
  make reason2decide trust
  mv "$work/again" "$work/new"
  make zenml trust
  ;;
zenml)
  if ! zenml secret get object-store >/dev/null 2>&1; then
    printf '{"key": "%s", "secret": "%s"}' "$(value reason2decide object-store key)" \
      "$(value reason2decide object-store secret)" > "$work/object-store.json"
    zenml secret create object-store --values=@"$work/object-store.json"
  fi
  if ! zenml secret get mlflow >/dev/null 2>&1; then
    printf '{"username": "pipeline", "password": "%s"}' "$(value reason2decide mlflow-pipeline password)" > "$work/mlflow.json"
    zenml secret create mlflow --values=@"$work/mlflow.json"
  fi
  if ! exists reason2decide zenml-client; then
    mkdir "$work/new"
    zenml service-account create retraining --output-file "$work/new/api-key"
    make reason2decide zenml-client
  fi
  ;;
*)
  echo "usage: sh k8s/secrets.sh cluster|tls|trust [FILE]|zenml" >&2
  exit 2
  ;;
esac
