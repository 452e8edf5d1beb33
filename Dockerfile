# Grafana with Continuum, built from this folder. Needs Docker alone.
ARG GRAFANA_VERSION=12.4.0

FROM golang:1.26-bookworm AS back-end
WORKDIR /continuum
COPY go.mod go.sum ./
RUN go mod download
# The build reads the version in package.json and the names in plugin.json.
COPY Magefile.go package.json ./
COPY src/plugin.json src/
COPY pkg pkg
RUN go tool mage sdk:build:backend

FROM back-end AS examples
COPY examples examples
RUN go install -tags arrow_json_stdlib ./examples/...

FROM node:22-bookworm-slim AS front-end
WORKDIR /continuum
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY .config .config
COPY src src
COPY provisioning/dashboards provisioning/dashboards
COPY docs/img docs/img
COPY tsconfig.json README.md CHANGELOG.md LICENSE ./
RUN npm run build

FROM grafana/grafana:${GRAFANA_VERSION}
# Not in /var/lib/grafana: the volume there would go on showing the plugin of an
# earlier build.
ENV GF_PATHS_PLUGINS=/usr/share/grafana/plugins
COPY --from=front-end /continuum/dist ${GF_PATHS_PLUGINS}/continuum-live-datasource
COPY --from=back-end /continuum/dist ${GF_PATHS_PLUGINS}/continuum-live-datasource
# 472 is Grafana's user, who may not be able to read files as they were checked out.
COPY --chown=472:0 provisioning ${GF_PATHS_PROVISIONING}
COPY --chown=472:0 provisioning/grafana.ini ${GF_PATHS_CONFIG}
