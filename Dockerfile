# From the root of the repository: docker build -t squall:0.1.0 .
# Without Docker, the same image: cargo xtask image
FROM rust:1.95-alpine AS build
# A C compiler (for ring) and the static C library; on Alpine Rust links statically.
RUN apk add --no-cache build-base
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --package squall --no-default-features

FROM scratch
COPY --from=build /src/target/dist/squall /squall
# Not root: the daemon's manifest makes it root, which it needs on its node.
USER 65532:65532
ENTRYPOINT ["/squall"]
# What a pod runs that says nothing else: a pod-failure gives pods this image, and cannot give them arguments.
CMD ["hold"]
