"""Docker's SDK for Python against Restock: its calls for images, and one for containers, which is refused.

    docker_sdk.py REGISTRY TAG      the image demo/web:TAG is in the registry; DOCKER_HOST leads to Restock
"""

import io
import sys
import tarfile

import docker
from docker.errors import APIError, ImageNotFound

registry, tag = sys.argv[1:]
client = docker.from_env()
assert client.ping()
assert client.version()["ApiVersion"] and client.info()["ServerVersion"]

name = f"{registry}/demo/web"
image = client.images.pull(name, tag=tag)
assert f"{name}:{tag}" in image.tags, image.tags
assert any("Digest" in line.get("status", "") for line in client.api.pull(name, tag=tag, stream=True, decode=True))
assert client.images.get(image.id).id == image.id
assert client.images.get(f"{name}:{tag}").labels["org.opencontainers.image.title"] == "demo"
digest = image.attrs["RepoDigests"][0]
assert client.images.get(digest).id == image.id, "the SDK encodes the @"
assert image.history()
assert client.images.list(name=name, filters={"label": "org.opencontainers.image.title=demo"})

mine = f"{registry}/copies/{tag}-python"
assert image.tag(mine, tag="1")
pushed = client.images.push(mine, tag="1", stream=True, decode=True)
assert any("digest: sha256:" in line.get("status", "") for line in pushed)
archive = b"".join(client.images.get(f"{mine}:1").save(named=f"{mine}:1"))
client.images.remove(f"{mine}:1")
loaded = client.images.load(archive)
assert f"{mine}:1" in loaded[0].tags, loaded
assert len(client.images.pull(mine, all_tags=True)) == 1
client.images.remove(f"{mine}:1", force=True, noprune=True)

root = io.BytesIO()
with tarfile.open(fileobj=root, mode="w") as tar:
    tar.addfile(tarfile.TarInfo("file"))
client.api.import_image_from_data(root.getvalue(), repository=f"{tag}-imported", tag="1")
client.images.remove(f"{tag}-imported:1")
assert client.images.prune(filters={"label": "nobody=has"})["SpaceReclaimed"] == 0


def refused(kind, words, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"{call} should have been refused")


refused(ImageNotFound, "nobody-has", client.images.get, "nobody-has")
refused(APIError, "must be lowercase", client.images.get, "UPPER")
refused(APIError, "invalid reference format", client.api.tag, image.id, "")
refused(APIError, "invalid limit specified", client.images.search, "x", limit=-1)
refused(APIError, "is not supported", client.containers.list)
refused(APIError, "is not supported", client.volumes.create)
print("all done")
