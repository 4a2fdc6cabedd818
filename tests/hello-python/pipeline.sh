#!/usr/bin/env bash
# From a commit to a merge request. IMAGE is the repository to push to, MANIFESTS the Git
# repository that says what runs; credentials are in the environment (see the tools' --help).
set -euo pipefail

tag=$(imgtag)
docker build --build-arg BASE_IMAGE="${BASE_IMAGE:-python:3.13-slim}" --build-arg COMMIT="$(imgtag --length full)" -t "$IMAGE:$tag" .
docker run -d --rm --name "app-$tag" "$IMAGE:$tag"
trap 'docker rm -f "app-$tag" >/dev/null' EXIT
docker exec "app-$tag" pytest --cov=app --cov-report=html
rm -rf public
docker cp "app-$tag:/app/htmlcov" public
covgate --fail-under 80 public
pushed=$(imgpush "$IMAGE:$tag")
mr-push --target demo --branch "argocd/$tag" --title "Runner: $tag" --path manifests "$MANIFESTS" -- \
  manifest-patch --image "$pushed" --container hello-python \
    --template manifests/deployment.yml.tmpl --to manifests/deployment.yml
