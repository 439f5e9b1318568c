# The pipeline for NVIDIA GPUs. The host needs NVIDIA's driver and its container toolkit; TensorFlow brings CUDA along.
#
#   docker build -t resnet-pipeline .
#   docker run --gpus all --user "$(id -u):$(id -g)" --shm-size 8g -v /data:/data -v "$PWD/artifacts:/work/artifacts" \
#       resnet-pipeline FullRun --local-scheduler --recipe imagenet-resnet50 --data /data/imagenet
FROM nvidia/cuda:12.5.1-base-ubuntu24.04

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008  # the distribution's own Python, with its security fixes
RUN apt-get update \
    && apt-get install --no-install-recommends --yes python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

RUN python3 -m venv /opt/venv
ENV PATH="/opt/venv/bin:$PATH" PYTHONUNBUFFERED=1

COPY requirements/gpu.lock /src/requirements/gpu.lock
RUN pip install --no-cache-dir --require-hashes --requirement /src/requirements/gpu.lock

COPY . /src
RUN pip install --no-cache-dir --no-deps --no-build-isolation /src \
    && useradd --create-home --uid 10001 resnet \
    && mkdir --parents /work/artifacts \
    && chown --recursive resnet /work

USER 10001
WORKDIR /work
ENTRYPOINT ["luigi", "--module", "pipeline"]
CMD ["FullRun", "--local-scheduler"]
