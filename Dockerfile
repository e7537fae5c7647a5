# syntax=docker/dockerfile:1
#
# Builds one static binary and puts it into an image that holds nothing else that runs.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg REVISION="$(git rev-parse HEAD)" .
#
# The compiler runs on the builder's own platform and builds for any of the two: nothing is emulated. docs/image.md says
# how to get the same bytes again.
#
# The base image decides versions of compiler and C compiler, hence its digest. Renew both together:
#   docker buildx imagetools inspect rust:1.95-bookworm
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1

# The image has no tag of its own for linters to see: it is an argument.
# hadolint ignore=DL3006
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# clang builds the C and assembler parts of ring for any platform. Its version is that of the base image's distribution.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends clang \
    && rm -rf /var/lib/apt/lists/*
RUN cargo install --locked --version 0.7.7 cargo-auditable
# amd64 or arm64: set by BuildKit and buildah.
ARG TARGETARCH
WORKDIR /source
COPY . .
RUN .ci/build-static "${TARGETARCH}" /out/zitadel-actions-operator
# All that the last image holds, laid out as there. The user is that of distroless images. No right depends on the umask of
# whoever builds.
RUN install -D --mode=0444 --target-directory=/out/etc/ssl/certs /etc/ssl/certs/ca-certificates.crt \
    && install -D --mode=0444 --target-directory=/out/licenses LICENSE \
    && echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' > /out/etc/passwd \
    && echo 'nonroot:x:65532:' > /out/etc/group \
    && chmod 0444 /out/etc/passwd /out/etc/group \
    && find /out -type d -exec chmod 0755 {} +

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
# When the commit was made, in RFC 3339: not when the image was built, which nothing can reproduce.
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="zitadel-actions-operator" \
      org.opencontainers.image.description="Kubernetes operator that owns ZITADEL Actions: a Target manifest becomes a target in ZITADEL and stays equal to it" \
      org.opencontainers.image.vendor="zitadel-actions" \
      org.opencontainers.image.url="https://github.com/zitadel-actions/zitadel-actions-operator" \
      org.opencontainers.image.source="https://github.com/zitadel-actions/zitadel-actions-operator" \
      org.opencontainers.image.documentation="https://github.com/zitadel-actions/zitadel-actions-operator/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/zitadel-actions-operator"]
