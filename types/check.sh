#!/usr/bin/env bash
# Checks src against the types of the oldest Grafana that the plugin supports and of one
# that is newer than the types in node_modules: npm run typecheck:grafana
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# unpack FOLDER PACKAGE@VERSION... puts the packages in the folder's node_modules, where
# its tsconfig.json finds them. It is not npm install, because that brings hundreds of
# others that they depend on; the types of those are taken from the node_modules above.
unpack() {
  local folder=$1 package to tarball
  shift
  rm -rf "$folder/node_modules"
  for package; do
    to=$folder/node_modules/${package%@*}
    mkdir -p "$to"
    tarball=$to/$(npm pack --silent --pack-destination "$to" "$package")
    tar -xzf "$tarball" --strip-components=1 -C "$to"
    rm "$tarball"
  done
}

unpack 12.0 @grafana/{data,runtime,schema,ui}@12.0.0
unpack 13.2 @grafana/{data,i18n,runtime,schema,ui}@13.2.3 @types/react@19.3.3 @types/react-dom@19.3.0

failed=0
for folder in 12.0 13.2; do
  echo "== types of Grafana $folder"
  ../node_modules/.bin/tsc -p "$folder" || failed=1
done
exit $failed
