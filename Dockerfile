# syntax=docker/dockerfile:1
#
# Builds one static binary and puts it into an image without a shell.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg REVISION="$(git rev-parse HEAD)" .
#
# Each platform builds on itself: the C and assembler parts of ring need a compiler for the target. Pin both base
# images by digest with the two arguments, for example --build-arg RUNTIME_IMAGE=gcr.io/distroless/static-debian12@sha256:...
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${RUST_IMAGE} AS build
# Set by BuildKit and buildah: amd64 or arm64.
ARG TARGETARCH
# The distribution is that of the base image, which pins it; versions of musl-tools differ between platforms.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends musl-tools \
    && rm -rf /var/lib/apt/lists/*
ENV CC_x86_64_unknown_linux_musl=musl-gcc \
    CC_aarch64_unknown_linux_musl=musl-gcc
WORKDIR /source
COPY . .
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN case "${TARGETARCH:-$(dpkg --print-architecture)}" in \
        amd64) target=x86_64-unknown-linux-musl ;; \
        arm64) target=aarch64-unknown-linux-musl ;; \
        *) echo "no build for ${TARGETARCH}" >&2; exit 1 ;; \
    esac; \
    rustup target add "$target"; \
    cargo build --locked --release --target "$target" --package zitadel-actions-operator --bin zitadel-actions-operator; \
    cp "target/$target/release/zitadel-actions-operator" /zitadel-actions-operator; \
    if readelf --program-headers /zitadel-actions-operator | grep INTERP; then echo "not static" >&2; exit 1; fi; \
    /zitadel-actions-operator --version

# Holds CA certificates, time zones and /etc/passwd, and no shell.
# hadolint ignore=DL3006
FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="zitadel-actions-operator" \
      org.opencontainers.image.description="Kubernetes operator that owns ZITADEL Actions: a Target manifest becomes a target in ZITADEL and stays equal to it" \
      org.opencontainers.image.source="https://github.com/zitadel-actions/zitadel-actions-operator" \
      org.opencontainers.image.documentation="https://github.com/zitadel-actions/zitadel-actions-operator/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /source/LICENSE /LICENSE
COPY --from=build /zitadel-actions-operator /zitadel-actions-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/zitadel-actions-operator"]
