/* Reads references out of manifests and indexes with jansson, within bounds. Thread: any. */
#include "common/oci/manifest.h"

#include "common/core/alloc.h"
#include "common/core/json.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char MEDIA_OCI_MANIFEST[] = "application/vnd.oci.image.manifest.v1+json";
const char MEDIA_OCI_INDEX[] = "application/vnd.oci.image.index.v1+json";
const char MEDIA_DOCKER_MANIFEST[] = "application/vnd.docker.distribution.manifest.v2+json";
const char MEDIA_DOCKER_LIST[] = "application/vnd.docker.distribution.manifest.list.v2+json";
static const char MEDIA_OCI_ARTIFACT[] = "application/vnd.oci.artifact.manifest.v1+json";
const char MANIFEST_ACCEPT[] = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
                               "application/vnd.docker.distribution.manifest.list.v2+json, "
                               "application/vnd.docker.distribution.manifest.v2+json, */*";

/* Limits on what parsing a document may cost. An empty object is 2 bytes of JSON and some 250 bytes of memory, and the
 * fetch loop waits while it is parsed. jansson needed 1.5 s for a million names in one object and 0.3 s for 250,000. A
 * manifest of 20,000 children with a platform, annotations and urls each (nine values) stays below. */
#define MAX_CONTAINERS 150000
#define MAX_VALUES 250000
/* Sizes are read as doubles so that absurd numbers do not make the whole document unreadable; up to here they are
 * exact. */

static bool media_char(char c) {
    return isalnum((unsigned char)c) || (c && strchr("!#$&^_.+-", c));
}

void media_type_clean(const char *content_type, char out[MEDIA_TYPE_MAX + 1]) {
    out[0] = '\0';
    if (!content_type) return;
    const char *s = content_type + strspn(content_type, " \t");
    size_t len = strcspn(s, "; \t,"), slash = strcspn(s, "/");
    if (len > MEDIA_TYPE_MAX || slash == 0 || slash + 1 >= len) return;
    for (size_t i = 0; i < len; i++) {
        if (i != slash && !media_char(s[i])) return;
    }
    memcpy(out, s, len);
    out[len] = '\0';
}

static bool is_image(const char *t) {
    return strcasecmp(t, MEDIA_OCI_MANIFEST) == 0 || strcasecmp(t, MEDIA_DOCKER_MANIFEST) == 0;
}

static bool is_list(const char *t) {
    return strcasecmp(t, MEDIA_OCI_INDEX) == 0 || strcasecmp(t, MEDIA_DOCKER_LIST) == 0;
}

bool media_is_manifest(const char *media_type) {
    char t[MEDIA_TYPE_MAX + 1];
    media_type_clean(media_type, t);
    return is_image(t) || is_list(t);
}

/* Refuses what would take long before anything is spent on it. */
static int check_cost(const char *s, size_t len) {
    struct json_count n = json_count(s, len);
    return n.containers > MAX_CONTAINERS || n.values > MAX_VALUES ? ERR_TOO_BIG : 0;
}

/* A small document costs 2 MiB at most, and a loop reads one at a time: it must not wait. */
static int open_document(struct json_doc *d, const char *data, size_t len, size_t flags, json_error_t *why) {
    if (len > MANIFEST_QUICK_BYTES) return json_open_wait(d, data, len, flags, why);
    *d = (struct json_doc){.root = json_loadb(data, len, flags, why)};
    return d->root ? 0 : ERR_INVALID;
}

/* A string member without NUL that fits, else "". */
static void take_string(const json_t *obj, const char *key, char *out, size_t cap) {
    out[0] = '\0';
    const json_t *v = json_object_get(obj, key);
    size_t len = json_string_length(v);
    if (!json_is_string(v) || len >= cap || strlen(json_string_value(v)) != len) return;
    memcpy(out, json_string_value(v), len + 1);
}

static void take_media_type(const json_t *obj, const char *key, char out[MEDIA_TYPE_MAX + 1]) {
    char raw[MEDIA_TYPE_MAX + 1];
    take_string(obj, key, raw, sizeof(raw));
    media_type_clean(raw, out);
}

static int64_t take_size(const json_t *desc) {
    const json_t *v = json_object_get(desc, "size");
    if (!json_is_real(v)) return -1;
    double d = json_real_value(v);
    if (!(d >= 0 && d < (double)BLOB_SIZE_MAX)) return -1;
    int64_t n = (int64_t)d;
    return (double)n < d ? -1 : n;
}

static int add_child(struct manifest *m, const json_t *desc, enum child_kind kind, struct error *err) {
    const json_t *d = json_object_get(desc, "digest");
    struct manifest_child c = {.kind = kind};
    if (!json_is_string(d) || digest_parse(&c.digest, json_string_value(d), json_string_length(d)) < 0) return 0;
    if (m->n_children == MANIFEST_MAX_CHILDREN)
        return error_set(err, ERR_TOO_BIG, "the manifest refers to more than %d others", MANIFEST_MAX_CHILDREN);
    c.size = take_size(desc);
    char type[MEDIA_TYPE_MAX + 1];
    take_media_type(desc, "mediaType", type);
    c.foreign = kind == CHILD_LAYER && (strstr(type, ".nondistributable.") || strstr(type, ".foreign."));
    const json_t *platform = json_object_get(desc, "platform");
    if (kind == CHILD_MANIFEST) {
        take_string(platform, "os", c.os, sizeof(c.os));
        take_string(platform, "architecture", c.arch, sizeof(c.arch));
        take_string(platform, "variant", c.variant, sizeof(c.variant));
    }
    if ((m->n_children & (m->n_children - 1)) == 0) {
        size_t cap = m->n_children ? 2 * m->n_children : 1;
        m->children = xrealloc(m->children, cap, sizeof(*m->children));
    }
    m->children[m->n_children++] = c;
    return 0;
}

static int add_children(struct manifest *m, const json_t *list, enum child_kind kind, struct error *err) {
    size_t i;
    const json_t *desc;
    json_array_foreach((json_t *)(uintptr_t)list, i, desc) {
        int r = add_child(m, desc, kind, err);
        if (r < 0) return r;
    }
    return 0;
}

/* Refuses a document that one reader takes for an image and another for an index: that is an attack
 * (CVE-2021-41190). */
static int settle_type(struct manifest *m, const json_t *doc, struct error *err) {
    const json_t *entries = json_object_get(doc, "manifests"), *layers = json_object_get(doc, "layers"),
                 *config = json_object_get(doc, "config");
    bool has_entries = json_array_size(entries) > 0, has_layers = json_array_size(layers) > 0 || json_is_object(config);
    take_media_type(doc, "mediaType", m->media_type);
    bool says_image = is_image(m->media_type), says_list = is_list(m->media_type);
    if (has_entries && (has_layers || says_image))
        return error_set(err, ERR_INVALID, "the manifest is both an image and an index");
    if (says_list && has_layers) return error_set(err, ERR_INVALID, "the index has layers like an image");
    m->is_index = says_list || (json_is_array(entries) && !says_image && !has_layers);
    if (!m->media_type[0] && m->is_index) memcpy(m->media_type, MEDIA_OCI_INDEX, sizeof(MEDIA_OCI_INDEX));
    if (!m->media_type[0] && json_is_object(config) && json_is_array(layers))
        memcpy(m->media_type, MEDIA_OCI_MANIFEST, sizeof(MEDIA_OCI_MANIFEST));
    take_media_type(doc, "artifactType", m->artifact_type);
    if (!m->artifact_type[0] && !m->is_index) take_media_type(config, "mediaType", m->artifact_type);
    return 0;
}

static int read_document(struct manifest *m, const json_t *doc, struct error *err) {
    int r = settle_type(m, doc, err);
    if (r == 0) r = add_child(m, json_object_get(doc, "config"), CHILD_CONFIG, err);
    if (r == 0) r = add_children(m, json_object_get(doc, "layers"), CHILD_LAYER, err);
    /* The short-lived OCI artifact manifest has "blobs" instead. */
    if (r == 0) r = add_children(m, json_object_get(doc, "blobs"), CHILD_LAYER, err);
    if (r == 0) r = add_children(m, json_object_get(doc, "manifests"), CHILD_MANIFEST, err);
    if (r == 0) r = add_child(m, json_object_get(doc, "subject"), CHILD_SUBJECT, err);
    return r;
}

/* By the members that its specification requires: of an image `layers`, with `config` or an image's media type
 * (image-spec manifest.md and Docker's schema 2 require all, but there are images without a config), of an index
 * `manifests`, of the short-lived OCI artifact manifest its media type (its `blobs` are optional), of Docker's schema 1
 * `fsLayers`. A media type or a schema version alone is also in what is no manifest. */
static bool says_what_it_is(const json_t *doc) {
    char type[MEDIA_TYPE_MAX + 1] = "";
    if (doc) take_media_type(doc, "mediaType", type);
    const json_t *version = json_object_get(doc, "schemaVersion");
    bool named = strcasecmp(type, MEDIA_OCI_MANIFEST) == 0 || strcasecmp(type, MEDIA_DOCKER_MANIFEST) == 0;
    bool image =
        json_is_array(json_object_get(doc, "layers")) && (named || json_is_object(json_object_get(doc, "config")));
    bool schema1 = json_number_value(version) == 1 && json_is_array(json_object_get(doc, "fsLayers"));
    bool artifact = strcasecmp(type, MEDIA_OCI_ARTIFACT) == 0;
    return image || json_is_array(json_object_get(doc, "manifests")) || artifact || schema1;
}

static int parse(struct manifest *m, const void *data, size_t len, bool *is_one, struct error *err) {
    memset(m, 0, sizeof(*m));
    *is_one = false;
    if (len > MANIFEST_MAX_BYTES)
        return error_set(err, ERR_TOO_BIG, "the manifest has %zu bytes; the limit is %d", len, MANIFEST_MAX_BYTES);
    if (check_cost(data, len) < 0) return error_set(err, ERR_TOO_BIG, "the manifest holds too many values");
    json_error_t why;
    struct json_doc d;
    int r = open_document(&d, data, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &why);
    if (r == ERR_TOO_BIG) return error_set(err, r, "the manifest would take more memory than memory.json allows");
    if (r < 0) return error_set(err, r, "the manifest is not JSON: line %d: %s", why.line, why.text);
    *is_one = says_what_it_is(d.root);
    r = json_is_object(d.root) ? read_document(m, d.root, err)
                               : error_set(err, ERR_INVALID, "the manifest is not a JSON object");
    json_close(&d);
    return r;
}

int manifest_parse(struct manifest *m, const void *data, size_t len, struct error *err) {
    bool is_one;
    return parse(m, data, len, &is_one, err);
}

int manifest_judge(struct manifest *m, const void *data, size_t len, bool *is_one) {
    int r = parse(m, data, len, is_one, NULL);
    /* A duplicate name makes the document unreadable for us, but it is still a manifest. */
    if (r == ERR_INVALID && !*is_one) *is_one = manifest_is_one(data, len);
    return r;
}

bool manifest_is_one(const void *data, size_t len) {
    if (len > MANIFEST_MAX_BYTES || check_cost(data, len) < 0) return false;
    struct json_doc d;
    int r = open_document(&d, data, len, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    bool is_one = r == 0 && says_what_it_is(d.root);
    json_close(&d);
    return is_one;
}

void manifest_fini(struct manifest *m) {
    free(m->children);
    m->children = NULL;
    m->n_children = 0;
}
