"""Referrers: for hosted content the manifests that name a subject are listed; an upstream's list is passed on with its filter header."""

import json
import re

import pytest

from lab import images, raw
from lab.faulty import Fault

pytestmark = pytest.mark.sanitized

NAME = "sample/app"
SBOM, SIGNATURE = "application/spdx+json", "application/vnd.lab.signature"


class Artifact:
    """A manifest of its own, or an index of others, with the given members."""

    def __init__(self, media_type=images.OCI_MANIFEST, others=(), **members):
        self.others = others
        blob = images.Bytes(b"{}", "application/vnd.oci.empty.v1+json")
        self.content = {} if media_type == images.OCI_INDEX else {blob.digest: blob}
        doc = {"schemaVersion": 2, "mediaType": media_type, **members}
        if self.content:
            doc |= {"config": images.descriptor(blob), "layers": [images.descriptor(blob)]}
        self.manifest = self.top = images.Bytes(json.dumps(doc).encode(), media_type)

    def blobs(self):
        return {d: b for part in [self.content, *(o.blobs() for o in self.others)] for d, b in part.items()}

    def manifests(self):
        return {m.digest: m for m in [self.manifest, *(o.manifest for o in self.others)]}


def load(chain, artifact, tag, name=NAME):
    folder = chain.central.folder / f"layout-{tag}"
    images.write_layout(artifact, folder)
    chain.central.command("load", folder, f"{name}:{tag}")


def ask(node, digest, query="", name=NAME):
    reply = raw.ask(node.port, f"/v2/{name}/referrers/{digest}{query}")
    assert reply.status == 200 and reply.headers["content-type"] == images.OCI_INDEX, reply
    doc = reply.json()
    assert doc["schemaVersion"] == 2 and doc["mediaType"] == images.OCI_INDEX
    return reply, {d["digest"]: d for d in doc["manifests"]}


@pytest.fixture(scope="module")
def chain(shared_bench):
    up = shared_bench.faulty()
    made = shared_bench.chain(("docker.io", up.url), central={"hosted": '["sample/**"]'})
    made.upstream = up
    made.subject = images.small("subject")
    subject = images.descriptor(made.subject.manifest)
    # An annotation that is no string would make clients refuse the whole list; a NUL in one is unusual.
    made.sbom = Artifact(subject=subject, artifactType=SBOM, annotations={"org.example.key": "value\0", "number": 5, "list": [1]})
    made.signature = Artifact(subject=subject, artifactType=SIGNATURE)
    made.plain = Artifact(subject=subject)  # its type is its config's
    # What is listed under the referrers tag need not name its subject; and what does tells its type itself.
    made.old = Artifact(annotations={"made": "by a client of old"})
    old = {**images.descriptor(made.old.manifest), "artifactType": SBOM}
    known = {**images.descriptor(made.sbom.manifest), "artifactType": "application/wrong"}
    made.listed = Artifact(images.OCI_INDEX, [made.old, made.sbom], manifests=[old, known])
    # One that refers to the subject without naming it so.
    made.index = Artifact(images.OCI_INDEX, [made.subject], manifests=[subject])
    for tag, artifact in [("v1", made.subject), ("sbom", made.sbom), ("signature", made.signature), ("index", made.index)]:
        load(made, artifact, tag)
    load(made, made.plain, "plain")
    load(made, Artifact(subject=subject, artifactType="application/other"), "other", "sample/other")
    load(made, made.listed, made.subject.digest.replace(":", "-"))
    return made


@pytest.mark.parametrize("node", ["central", "edge"])
def test_a_hosted_manifest_lists_the_manifests_that_name_it_as_subject(chain, node):
    reply, got = ask(getattr(chain, node), chain.subject.digest)
    assert set(got) == {a.manifest.digest for a in (chain.sbom, chain.signature, chain.plain, chain.old)}
    assert got[chain.sbom.manifest.digest] == {
        **images.descriptor(chain.sbom.manifest),
        "artifactType": SBOM,
        "annotations": {"org.example.key": "value\0"},
    }
    assert got[chain.plain.manifest.digest]["artifactType"] == "application/vnd.oci.empty.v1+json"
    assert "oci-filters-applied" not in reply.headers
    assert raw.ask(getattr(chain, node).port, f"/v2/{NAME}/referrers/{chain.subject.digest}", "HEAD").status == 200


@pytest.mark.parametrize("node", ["central", "edge"])
def test_referrers_are_filtered_by_type_and_the_answer_says_so(chain, node):
    reply, got = ask(getattr(chain, node), chain.subject.digest, f"?artifactType={SBOM.replace('+', '%2B')}")
    assert set(got) == {chain.sbom.manifest.digest, chain.old.manifest.digest}
    assert reply.headers["oci-filters-applied"] == "artifactType"


@pytest.mark.parametrize("node", ["central", "edge"])
def test_a_digest_without_referrers_has_an_empty_list(chain, node):
    _, got = ask(getattr(chain, node), "sha256:" + "0" * 64)
    assert got == {}


@pytest.mark.parametrize("node", ["central", "edge"])
@pytest.mark.parametrize("filtered", [True, False])
def test_an_upstreams_filter_header_is_passed_on(chain, node, filtered):
    digest = images.digest_of(f"{node} {filtered}".encode())
    body = json.dumps({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": []}).encode()
    headers = {"OCI-Filters-Applied": "artifactType"} if filtered else {}
    chain.upstream.always(f"/referrers/{digest}", Fault(status=200, body=body, headers=headers))
    reply, _ = ask(getattr(chain, node), digest, f"?artifactType={SBOM}", "library/app")
    assert reply.headers.get("oci-filters-applied") == headers.get("OCI-Filters-Applied")


def test_a_long_list_comes_in_pages(chain):
    subject = images.digest_of(b"of many")
    many = [Artifact(annotations={"number": str(i)}) for i in range(1100)]
    listed = [{**images.descriptor(a.manifest), "artifactType": SBOM if i % 10 else SIGNATURE} for i, a in enumerate(many)]
    load(chain, Artifact(images.OCI_INDEX, many, manifests=listed), subject.replace(":", "-"))

    def pages(target):
        while target:
            reply = raw.ask(chain.central.port, target)
            assert reply.status == 200, reply
            yield [d["digest"] for d in reply.json()["manifests"]]
            link = reply.headers.get("link")
            target = link and re.match(r'^<(/v2/[^>]+)>; rel="next"$', link)[1]

    target = f"/v2/{NAME}/referrers/{subject}"
    first, second = pages(target)
    assert (len(first), len(second)) == (1000, 100)
    assert first + second == sorted(d["digest"] for d in listed)
    of_a_type = [d for page in pages(f"{target}?artifactType={SIGNATURE}") for d in page]
    assert of_a_type == sorted(d["digest"] for d in listed if d["artifactType"] == SIGNATURE)
