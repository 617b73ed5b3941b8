# cinebold in a container: docker build -t cinebold .
# CPU by default. For a GPU image: --build-arg CONSTRAINTS=/dev/null (pip then takes the CUDA builds of torch).
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS build
RUN apt-get update -q && apt-get install -y -q --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/cinebold
ARG CONSTRAINTS=constraints-cpu.txt
# The dependencies first: they change less often than the program.
COPY pyproject.toml constraints-cpu.txt /src/
RUN cd /src && python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        extras = p['optional-dependencies']; \
        print(*p['dependencies'], *extras['validate'], *extras['transformers'], sep='\n')" > requirements.txt \
    && /opt/cinebold/bin/pip install --no-cache-dir -q -c ${CONSTRAINTS} -r requirements.txt
COPY . /src
RUN cd /src && /opt/cinebold/bin/pip install --no-cache-dir -q --no-deps . \
    && /opt/cinebold/bin/python -m compileall -q /opt/cinebold/lib > /dev/null || true

FROM ${BASE_IMAGE}
RUN apt-get update -q && apt-get install -y -q --no-install-recommends python3 fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/* && useradd --create-home --home-dir /home/cinebold cinebold \
    && mkdir -p /weights /cache && chmod 1777 /cache /home/cinebold
COPY --from=build /opt/cinebold /opt/cinebold
ARG VERSION=unknown
ENV PATH=/opt/cinebold/bin:$PATH \
    HOME=/home/cinebold XDG_CACHE_HOME=/cache MPLCONFIGDIR=/cache/matplotlib NUMBA_CACHE_DIR=/cache/numba \
    TORCH_HOME=/weights TEMPLATEFLOW_HOME=/cache/templateflow \
    PYTHONNOUSERSITE=1 MPLBACKEND=Agg NO_ET=1 CINEBOLD_CONTAINER_TAG=cinebold:${VERSION}
LABEL org.opencontainers.image.title=cinebold \
      org.opencontainers.image.description="Voxelwise encoding models of films, as a BIDS-App" \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.version=${VERSION}
USER cinebold
WORKDIR /tmp
RUN cinebold --version && python3 -c "import bids_app.run, workflows.base, transformers"
ENTRYPOINT ["cinebold"]
