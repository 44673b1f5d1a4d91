# SPDX-License-Identifier: Apache-2.0
#
# Stages:
#   base      the Debian packages that run, and the user
#   builder   compiler and headers; installs the virtual environment, without
#             the network, from build/wheelhouse and build/wheels
#   runtime   the base without apt, perl and what needs these
#   trimmed   the environment without tests, with bytecode, and the SBOM
#   keystone  what ships: the files of runtime and the trimmed environment
#   tester    installs what the tests need besides, into a folder of its own
#   test      what ships, with that and the tests of its wheel; never ships
#   (last)    keystone again, for a build that names no stage
#
# `./build.sh image` fills build/ and passes the arguments. Nothing here needs
# BuildKit.

# A Debian image; pins.toml names the one that build.sh passes.
ARG BASE
# What the test stage is on top of: an image that was built, layer for layer.
ARG SHIPPED=keystone

FROM ${BASE} AS base
ENV LANG=C.UTF-8
# The day on which the packages were fetched: another one fetches them anew.
ARG PACKAGES
RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    echo "Debian's packages of ${PACKAGES}"; \
    apt-get update; \
    apt-get upgrade --yes --no-install-recommends; \
    apt-get install --yes --no-install-recommends \
        ca-certificates \
        haproxy \
        libldap-common \
        libldap2 \
        libsasl2-2 \
        python3 \
        tini \
        xmlsec1; \
    apt-get clean; \
    find /usr/share/doc -type f ! -name copyright -delete; \
    find /usr/share/locale -mindepth 1 -delete; \
    python3 -m compileall -q -f --invalidation-mode unchecked-hash \
        /usr/lib/python3*; \
    rm -rf /usr/share/man/* /usr/share/info/* /var/lib/apt/lists/* \
        /var/cache/* /var/log/*; \
    find / -xdev -type f -perm /6000 -exec chmod ug-s {} +; \
    groupadd --system --gid 42425 keystone; \
    useradd --system --uid 42425 --gid 42425 --no-log-init --no-create-home \
        --home-dir /var/lib/keystone --shell /usr/sbin/nologin keystone; \
    install -d -m 0755 /etc/keystone; \
    install -d -m 0770 -o 42425 -g 0 /var/lib/keystone

FROM base AS runtime
# Whatever depends on perl goes first: its scripts are perl's.
RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    purge() { \
        dpkg --purge --force-depends --force-remove-essential \
            --force-remove-protected "$@"; \
    }; \
    for package in adduser apt libapt-pkg7.0 debian-archive-keyring sqv \
            init-system-helpers debconf perl-base; do \
        if dpkg-query --show "$package" > /dev/null 2>&1; then \
            purge "$package"; \
        fi; \
    done; \
    grep --recursive --files-with-matches --null '^#!.*perl' \
        /etc /usr/bin /usr/sbin /usr/share \
        | xargs --null --no-run-if-empty rm; \
    rm -rf /etc/apt /usr/share/perl5 /var/lib/apt /var/lib/dpkg/*-old \
        /var/cache/* /var/log/*

FROM base AS builder
RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    apt-get update; \
    apt-get install --yes --no-install-recommends \
        gcc \
        libc6-dev \
        libldap-dev \
        libsasl2-dev \
        python3-dev \
        python3-venv
# Debugging symbols would name the folder in which pip happens to build.
ENV CFLAGS=-g0 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_FIND_LINKS=/build/wheelhouse \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INDEX=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY build/wheelhouse /build/wheelhouse
COPY requirements/builder.txt requirements/image.txt /build/requirements/
RUN set -eu; \
    python3 -m venv /build/venv; \
    /build/venv/bin/pip install --require-hashes \
        -r /build/requirements/builder.txt; \
    python3 -m venv --without-pip /opt/keystone; \
    /build/venv/bin/pip --python /opt/keystone/bin/python install \
        --no-compile --no-deps --require-hashes \
        -r /build/requirements/image.txt
COPY build/wheels /build/wheels
COPY image /build/image
RUN set -eu; \
    /build/venv/bin/pip --python /opt/keystone/bin/python install \
        --no-compile --no-deps /build/wheels/*.whl /build/image; \
    /build/venv/bin/pip --python /opt/keystone/bin/python check

FROM builder AS trimmed
ARG SOURCE_DATE_EPOCH=0
COPY build/patches.json /usr/share/keystone-crdb/patches.json
COPY --from=runtime /var/lib/dpkg/status /build/dpkg/status
RUN set -eu; \
    /build/venv/bin/python /build/image/sbom.py /opt/keystone/bin/python \
        /build/dpkg/status /usr/share/keystone-crdb/sbom.cdx.json; \
    chmod 0644 /usr/share/keystone-crdb/*; \
    find /opt/keystone -depth -type d \( -name tests -o -name slapdtest \) \
        -exec rm -rf {} +; \
    /opt/keystone/bin/python -m compileall -q -f -j 0 \
        --invalidation-mode unchecked-hash /opt/keystone/lib

# The files alone: nothing that was removed lies in a layer below.
FROM scratch AS keystone
COPY --from=runtime / /
ENV LANG=C.UTF-8 \
    PATH=/opt/keystone/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONWARNINGS=ignore:::oslo_service.backend._eventlet.loopingcall
COPY --from=trimmed /usr/share/keystone-crdb /usr/share/keystone-crdb
COPY --from=trimmed /opt/keystone /opt/keystone
RUN ln -s /opt/keystone/etc/keystone/sso_callback_template.html /etc/keystone/
ARG BASE_NAME
ARG BASE_DIGEST
ARG INPUTS
ARG PACKAGES
ARG REVISION
ARG VERSION
LABEL org.opencontainers.image.title="keystone-crdb" \
      org.opencontainers.image.description="OpenStack Keystone, patched to run on CockroachDB" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://opendev.org/openstack/keystone" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      keystone-crdb.inputs="${INPUTS}" \
      keystone-crdb.packages="${PACKAGES}"
USER 42425:42425
WORKDIR /var/lib/keystone
VOLUME /var/lib/keystone
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python3", "-m", "keystone_crdb_image.health"]
ENTRYPOINT ["tini", "--", "keystone-crdb"]
CMD ["serve"]

FROM builder AS tester
ENV PIP_FIND_LINKS=/build/test-wheelhouse
COPY build/test-wheelhouse /build/test-wheelhouse
COPY requirements/keystone-test.txt /build/requirements/
# What ships is found where it is, as it is: pip installs only what is absent,
# and the last line fails when that includes another version of anything.
RUN set -eu; \
    python3 -m venv --without-pip /opt/test; \
    (cd /opt/keystone/lib/python3*/site-packages; pwd) \
        > "$(echo /opt/test/lib/python3*/site-packages)/keystone.pth"; \
    /build/venv/bin/pip --python /opt/test/bin/python install \
        --no-compile --no-deps --require-hashes \
        -r /build/requirements/keystone-test.txt; \
    /build/venv/bin/pip --python /opt/test/bin/python check; \
    cd /opt/test/lib/python3*/site-packages; \
    rm keystone.pth; \
    for metadata in *.dist-info; do \
        test ! -e /opt/keystone/lib/python3*/site-packages/${metadata%%-*}-*; \
    done
COPY build/src/keystone/etc /opt/test/tree/etc
COPY build/src/keystone/examples /opt/test/tree/examples
COPY build/src/keystone/doc/source/getting-started \
    /opt/test/tree/doc/source/getting-started
COPY keystone_crdb/__init__.py /opt/test/tree/keystone_crdb/
COPY keystone_crdb/keystone/__init__.py keystone_crdb/keystone/worker.py \
    /opt/test/tree/keystone_crdb/keystone/
# The tests lie in a tree like upstream's: some read its documents, or write
# into it.
RUN set -eu; \
    mkdir /opt/test/tree/keystone; \
    cp -R /opt/keystone/lib/python3*/site-packages/keystone/tests \
        /opt/test/tree/keystone/; \
    /opt/test/bin/python -m compileall -q -j 0 \
        --invalidation-mode unchecked-hash /opt/test/lib /opt/test/tree; \
    chown -R 42425:42425 /opt/test/tree

FROM ${SHIPPED} AS test
COPY --from=tester /opt/test /opt/test
USER root
# After what ships, so that nothing there is hidden.
RUN set -eu; \
    cd /opt/keystone/lib/python3*/site-packages; \
    echo /opt/test/lib/python3*/site-packages > test.pth; \
    echo 'import keystone; keystone.__path__.append("/opt/test/tree/keystone")' \
        >> test.pth
ARG TEST_INPUTS
LABEL keystone-crdb.inputs="${TEST_INPUTS}"
ENV HOME=/tmp \
    KEYSTONE_TEST_TEMP_DIR=/tmp \
    PYTHON="/opt/keystone/bin/python -m keystone_crdb.keystone.worker"
USER 42425:42425
WORKDIR /opt/test/tree
HEALTHCHECK NONE
ENTRYPOINT ["tini", "--"]
CMD ["sleep", "infinity"]

FROM keystone
